//! Who may see which rows of a table: a filter whose values may name what a token says.

use super::Schema;
use crate::access::Identity;
use std::collections::BTreeSet;
use tidewire_core::tables::filter::{self, Compare, Filter, Group, Node, Predicate, Term, Test};

/// The text that lets all rows be seen.
const ALL: &str = "*";

/// A permission as it is configured.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// None for all rows.
    filter: Option<Filter>,
}

/// A permission as it is for one user.
#[derive(Debug, Clone)]
pub(super) struct Permission {
    /// Equal permissions have equal texts.
    pub(super) text: String,
    /// None for all rows.
    pub(super) filter: Option<Filter>,
}

/// What stands in the place of a value.
enum Named<'a> {
    Sub,
    Name,
    Claim(&'a str),
}

/// What a value names; none if it is just a value.
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
    /// Reads a permission and checks it against the table, as far as that is possible without a
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

    /// Whether it names the user's name, which is a claim too.
    pub(super) fn names_name(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| node_names_name(filter.root()))
    }

    /// The claims that it names.
    pub(super) fn claims(&self, into: &mut BTreeSet<String>) {
        if let Some(filter) = &self.filter {
            collect_claims(filter.root(), into);
        }
    }

    /// What it allows this user; none if it names a claim that the token does not have: then it
    /// allows nothing.
    pub(super) fn bind(&self, identity: &Identity) -> Option<Permission> {
        let Some(template) = &self.filter else {
            return Some(Permission { text: ALL.to_owned(), filter: None });
        };
        let filter = Filter::of(bind(template.root(), identity)?);
        Some(Permission { text: filter.encode(), filter: Some(filter) })
    }
}

/// As deep as the tree, which has a limit.
fn node_names_name(node: &Node) -> bool {
    match node {
        Node::Group(group) => group.members.iter().any(node_names_name),
        Node::Term(term) => values_of(&term.test)
            .iter()
            .any(|value| matches!(named(value), Some(Ok(Named::Name | Named::Claim("name"))))),
    }
}

/// As deep as the tree.
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

/// The same with what the user's token says in the place of what names it. As deep as the tree.
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
            // Permissions that let the same through are equal, whatever order a token has.
            bound.sort_unstable();
            bound.dedup();
            // Of more than a filter may have some would be left out, or all of them weigh on every
            // change.
            (bound.len() <= filter::MAX_VALUES).then_some(Test::In(bound))?
        }
        Test::Is(is) => Test::Is(*is),
    };
    Some(Node::Term(Term { test, ..term.clone() }))
}

/// What stands for a value; none if the token does not have it.
fn values_for(value: &str, identity: &Identity) -> Option<Vec<String>> {
    match named(value) {
        None => Some(vec![value.to_owned()]),
        Some(Ok(Named::Sub)) => Some(vec![identity.user.id.clone()]),
        Some(Ok(Named::Name)) => Some(vec![identity.user.name.clone()]),
        Some(Ok(Named::Claim(claim))) => identity.claims.get(claim).cloned(),
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
    /// Its predicate; an error if a claim is no value of its column, and then it allows nothing.
    pub(super) fn predicate(&self, schema: &Schema) -> Result<Option<Predicate>, ()> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let predicate = filter.bind(&schema.filtered()).map_err(|_| ())?;
        Ok(Some(predicate))
    }
}

/// Checks columns, and values that no token changes.
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
    // A filter of this term alone: its values are what can still be wrong.
    let alone = Node::Term(term.clone());
    Filter::of(alone)
        .bind(&[filter::Column { name: &column.name, kind: column.kind }])
        .map(|_| ())
        .map_err(|error| format!("`{}`: {}", term.column, error.expected))
}
