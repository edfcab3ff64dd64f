//! Permissions: which rows of a table a user may see. A permission is a filter with placeholders
//! for what the user's token says.

use super::Schema;
use crate::access::Identity;
use std::collections::BTreeSet;
use tidewire_core::tables::filter::{self, Compare, Filter, Group, Node, Predicate, Term, Test};

/// The permission to see all rows.
const ALL: &str = "*";

/// A permission as it is configured, with placeholders.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// None for all rows.
    filter: Option<Filter>,
}

/// A permission for one user.
#[derive(Debug, Clone)]
pub(super) struct Permission {
    /// Equal permissions have equal texts.
    pub(super) text: String,
    /// None for all rows.
    pub(super) filter: Option<Filter>,
}

/// A placeholder in the place of a value.
enum Named<'a> {
    Sub,
    Name,
    Claim(&'a str),
}

/// The placeholder that a value stands for; `None` for an ordinary value.
fn named(value: &str) -> Option<Result<Named<'_>, String>> {
    let inner = value.strip_prefix('{')?.strip_suffix('}')?;
    Some(match inner {
        "sub" => Ok(Named::Sub),
        "name" => Ok(Named::Name),
        _ => match inner.strip_prefix("claim:") {
            Some(claim) if !claim.is_empty() => Ok(Named::Claim(claim)),
            _ => Err(format!("{value} is none of {{sub}}, {{name}} and {{claim:NAME}}")),
        },
    })
}

impl Template {
    /// Parses a permission and checks it against the table, as far as that is possible without a
    /// user.
    pub(super) fn parse(text: &str, schema: &Schema) -> Result<Template, String> {
        if text.trim() == ALL {
            return Ok(Template { filter: None });
        }
        let filter =
            Filter::parse(text).map_err(|error| format!("`{text}`: {error}; for all rows say \"*\""))?;
        check(filter.root(), schema)?;
        Ok(Template { filter: Some(filter) })
    }

    /// Whether it uses the user's name, which is a claim too.
    pub(super) fn names_name(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| node_names_name(filter.root()))
    }

    /// Adds the claims that it uses.
    pub(super) fn claims(&self, into: &mut BTreeSet<String>) {
        if let Some(filter) = &self.filter {
            collect_claims(filter.root(), into);
        }
    }

    /// The permission for this user; `None` if the token lacks a claim that it uses. The user may
    /// see no rows then.
    pub(super) fn bind(&self, identity: &Identity) -> Option<Permission> {
        let Some(template) = &self.filter else {
            return Some(Permission { text: ALL.to_owned(), filter: None });
        };
        let filter = Filter::of(bind(template.root(), identity)?);
        Some(Permission { text: filter.encode(), filter: Some(filter) })
    }
}

/// Recursion is as deep as the filter, which has a limit.
fn node_names_name(node: &Node) -> bool {
    match node {
        Node::Group(group) => group.members.iter().any(node_names_name),
        Node::Term(term) => values_of(&term.test)
            .iter()
            .any(|value| matches!(named(value), Some(Ok(Named::Name | Named::Claim("name"))))),
    }
}

/// Recursion is as deep as the filter.
fn collect_claims(node: &Node, into: &mut BTreeSet<String>) {
    match node {
        Node::Group(group) => group.members.iter().for_each(|member| collect_claims(member, into)),
        Node::Term(term) => {
            for value in values_of(&term.test) {
                if let Some(Ok(Named::Claim(claim))) = named(value) {
                    into.insert(claim.to_owned());
                }
            }
        }
    }
}

/// Replaces the placeholders by what the user's token says. Recursion is as deep as the filter.
fn bind(node: &Node, identity: &Identity) -> Option<Node> {
    let term = match node {
        Node::Group(group) => {
            let members: Option<Vec<Node>> =
                group.members.iter().map(|member| bind(member, identity)).collect();
            return Some(Node::Group(Group { members: members?, ..group.clone() }));
        }
        Node::Term(term) => term,
    };
    let test = match &term.test {
        Test::Compare(compare, value) => {
            let [only] = values_for(value, identity)?.try_into().ok()?;
            Test::Compare(*compare, only)
        }
        Test::In(values) => {
            let bound: Option<Vec<Vec<String>>> =
                values.iter().map(|value| values_for(value, identity)).collect();
            let mut bound = bound?.concat();
            // Sorted, so that tokens with the same values in another order give equal permissions.
            bound.sort_unstable();
            bound.dedup();
            // With too many values the user may see nothing: leaving some out would be wrong, and
            // all of them would slow down every change.
            (bound.len() <= filter::MAX_VALUES).then_some(Test::In(bound))?
        }
        Test::Is(is) => Test::Is(*is),
    };
    Some(Node::Term(Term { test, ..term.clone() }))
}

/// The values for a placeholder; `None` if the token lacks the claim.
fn values_for(value: &str, identity: &Identity) -> Option<Vec<String>> {
    match named(value) {
        None => Some(vec![value.to_owned()]),
        Some(Ok(Named::Sub)) => Some(vec![identity.user.id.clone()]),
        Some(Ok(Named::Name)) => Some(vec![identity.user.name.clone()]),
        Some(Ok(Named::Claim(claim))) => identity.values(claim),
        Some(Err(_)) => None,
    }
}

fn values_of(test: &Test) -> &[String] {
    match test {
        Test::Compare(_, value) => std::slice::from_ref(value),
        Test::In(values) => values,
        Test::Is(_) => &[],
    }
}

impl Permission {
    /// The predicate. An error if a claim's value does not fit its column; the user may see no rows
    /// then.
    pub(super) fn predicate(&self, schema: &Schema) -> Result<Option<Predicate>, ()> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let predicate = filter.bind(&schema.filtered()).map_err(|_| ())?;
        Ok(Some(predicate))
    }
}

/// Checks the columns, and the values that are not placeholders.
fn check(node: &Node, schema: &Schema) -> Result<(), String> {
    let term = match node {
        Node::Group(group) => {
            return group.members.iter().try_for_each(|member| check(member, schema));
        }
        Node::Term(term) => term,
    };
    let Some(column) = schema.columns.iter().find(|column| column.name == term.column) else {
        return Err(format!("the table has no column `{}` that clients may see", term.column));
    };
    if !column.tracked {
        let name = &term.column;
        return Err(format!(
            "the database does not say what `{name}` was before an update; track the column"
        ));
    }
    let mut names = 0;
    for value in values_of(&term.test) {
        if let Some(named) = named(value) {
            named?;
            names += 1;
        }
    }
    if names > 0 && matches!(term.test, Test::Compare(Compare::Like | Compare::Ilike, _)) {
        return Err(format!("`{}`: a pattern can't come from a token; compare with eq", term.column));
    }
    if names > 0 {
        return Ok(());
    }
    // A filter with this term alone, to check its values.
    let alone = Node::Term(term.clone());
    Filter::of(alone)
        .bind(&[filter::Column { name: &column.name, kind: column.kind }])
        .map(|_| ())
        .map_err(|error| format!("`{}`: {}", term.column, error.expected))
}
