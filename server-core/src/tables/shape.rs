//! What equal subscriptions have in common, and what a commit is to them.

use super::access::Permission;
use super::matching::{Matcher, Membership, RowChange, RowView};
use super::{Cell, Change, Commit, Schema, cells, cursor};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::tables::filter::{Compare, Filter, Group, Join, Node, Test};
use tidewire_core::wire::{RowOp, TableChange, TableColumn};

/// Table, filter, columns and permission of a group.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) table: usize,
    pub(super) schema: Arc<Schema>,
    pub(super) matcher: Matcher,
    /// What the permission is; equal ones have equal texts.
    pub(super) permission: String,
    /// The same for all that are equal, and for no others.
    pub(super) name: String,
    /// Stands in cursors for all that is here.
    pub(super) hash: u64,
    /// The columns that are sent, in the schema's order; the key's are among them.
    selected: Vec<usize>,
    pub(super) filters: Vec<Filter>,
    /// How many patterns a row is compared with.
    patterns: usize,
}

/// Why there is no such shape.
pub(super) enum ShapeError {
    /// A column that is not there, or can't be compared.
    Column(String),
    /// The filter, and where.
    Filter(tidewire_core::tables::filter::FilterError),
    /// The permission does not fit this user.
    Forbidden,
}

/// What a commit is to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Nothing,
    /// Changes, as a JSON array.
    Changes(Arc<str>),
    /// Its subscriptions can't go on, for this reason.
    Reset(&'static str),
}

/// A column and texts of the values one of which it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredValues {
    /// By its place in the schema.
    pub column: usize,
    /// As the client or a token wrote them.
    pub values: Vec<String>,
}

impl Shape {
    pub(super) fn new(
        (table, name): (usize, &str),
        schema: &Arc<Schema>,
        permission: Permission,
        filter: Option<Filter>,
        select: Option<&[String]>,
    ) -> Result<Shape, ShapeError> {
        let mut predicates = Vec::new();
        predicates.extend(permission.predicate(schema).map_err(|()| ShapeError::Forbidden)?);
        if let Some(filter) = &filter {
            let predicate = filter.bind(&schema.filtered()).map_err(ShapeError::Filter)?;
            let tracked = |column: &usize| schema.columns.get(*column).is_some_and(|column| column.tracked);
            if let Some(column) = predicate.columns().into_iter().find(|column| !tracked(column)) {
                let name = schema.columns.get(column).map_or("", |column| column.name.as_str());
                return Err(ShapeError::Column(format!(
                    "rows can't be filtered by `{name}`: the database does not say what it was before an update"
                )));
            }
            predicates.push(predicate);
        }
        let selected = select_columns(schema, select)?;
        let text = filter.as_ref().map(Filter::encode).unwrap_or_default();
        let key = format!("{:?}", schema.key);
        let names: Vec<&str> =
            selected.iter().filter_map(|at| schema.columns.get(*at)).map(|c| c.name.as_str()).collect();
        let described =
            schema.columns.iter().flat_map(|column| [column.name.as_str(), column.declared.as_str()]);
        let parts = [name, text.as_str(), permission.text.as_str(), key.as_str()];
        let hash = cursor::hash(parts.iter().chain(&names).copied().chain(described));
        let filters: Vec<Filter> = permission.filter.into_iter().chain(filter).collect();
        Ok(Shape {
            table,
            name: format!("{table}\0{text}\0{}\0{}", permission.text, names.join("\0")),
            schema: schema.clone(),
            matcher: Matcher::new(predicates),
            permission: permission.text,
            hash,
            selected,
            patterns: filters.iter().map(|filter| patterns(filter.root())).sum(),
            filters,
        })
    }

    /// How many patterns a row is compared with.
    pub(super) fn patterns(&self) -> usize {
        self.patterns
    }

    /// What clients are told of the columns.
    pub(super) fn columns(&self) -> Vec<TableColumn> {
        let columns = self.selected.iter().filter_map(|at| self.schema.columns.get(*at));
        columns
            .map(|column| TableColumn { name: column.name.clone(), kind: column.declared.clone() })
            .collect()
    }

    /// The key's places among them.
    pub(super) fn key(&self) -> Vec<u64> {
        let place = |key: &usize| self.selected.iter().position(|at| at == key);
        self.schema.key.iter().filter_map(place).map(|place| place as u64).collect()
    }

    /// A row of a snapshot, if it belongs: as JSON; none also if it can't be told, which no
    /// snapshot leaves open.
    pub(super) fn row(&self, row: &[Cell]) -> Option<String> {
        let mut view = RowView::new(&self.schema, row, None);
        self.matcher.matches(&mut view)?.then(|| self.encode(&view).0)
    }

    /// Whether a row belongs.
    pub(super) fn row_belongs(&self, row: &[Cell]) -> bool {
        self.matcher.matches(&mut RowView::new(&self.schema, row, None)) == Some(true)
    }

    /// What of a commit that lies after a position is to the group, in at most so many bytes.
    pub(super) fn outcome(&self, commit: &Commit, after: u64, most: usize) -> Outcome {
        let all = (0..commit.changes.len()).map(|at| (at, None));
        self.outcome_of(commit, &mut BTreeMap::new(), all, after, most)
    }

    /// The same for some of its changes, of which it may be known what they are to the group, with
    /// rows that others may have read.
    pub(super) fn outcome_of<'a>(
        &self,
        commit: &'a Commit,
        pairs: &mut BTreeMap<usize, Box<RowChange<'a>>>,
        places: impl Iterator<Item = (usize, Membership)>,
        after: u64,
        most: usize,
    ) -> Outcome {
        let mut out = String::from("[");
        for (at, belongs) in places {
            let Some(change) = commit.changes.get(at).filter(|change| change.table() == self.table) else {
                continue;
            };
            if commit.places.get(at).is_some_and(|place| *place <= after) {
                continue;
            }
            if let Change::Lost { reason, .. } = change {
                return Outcome::Reset(reason);
            }
            if let std::collections::btree_map::Entry::Vacant(place) = pairs.entry(at)
                && let Some(pair) = RowChange::of(&self.schema, change)
            {
                place.insert(Box::new(pair));
            }
            let Some(pair) = pairs.get_mut(&at) else { continue };
            let Some((was, is)) = belongs.or_else(|| pair.matches(&self.matcher)) else {
                return Outcome::Reset("missed");
            };
            if !self.change(&mut out, pair, was, is) {
                return Outcome::Reset("missed");
            }
            if out.len() > most {
                return Outcome::Reset("too_big");
            }
        }
        if out.len() == 1 {
            return Outcome::Nothing;
        }
        out.push(']');
        Outcome::Changes(out.into())
    }

    /// Appends what a change is to the group; false if the database did not say enough.
    fn change(&self, out: &mut String, pair: &RowChange<'_>, was: bool, is: bool) -> bool {
        let old_key = pair.old.as_ref().map(|row| self.key_of(row));
        let new_key = pair.new.as_ref().map(|row| self.key_of(row));
        let existed = pair.old.is_some();
        let same_key = old_key == new_key;
        if was && !(is && same_key) {
            let Some(Some(key)) = old_key.clone() else { return false };
            let moved = pair.new.is_some() && !is;
            push(out, TableChange { op: RowOp::Delete, cells: key, same: Vec::new(), moved });
        }
        let Some(new) = pair.new.as_ref().filter(|_| is) else { return true };
        let (cells, same) = self.encode(new);
        if new_key.flatten().is_none() {
            return false;
        }
        if was && same_key {
            push(out, TableChange { op: RowOp::Update, cells, same, moved: false });
            return true;
        }
        // It is new to the subscriber, who has nothing that a cell could be the same as.
        let moved = existed && !was;
        push(out, TableChange { op: RowOp::Insert, cells, same: Vec::new(), moved });
        same.is_empty()
    }

    /// A row's selected cells, and the places of those that were not said.
    fn encode(&self, row: &RowView<'_>) -> (String, Vec<u64>) {
        let (mut out, mut same) = (String::from("["), Vec::new());
        for (place, at) in self.selected.iter().enumerate() {
            let Some(column) = self.schema.columns.get(*at) else { continue };
            if place > 0 {
                out.push(',');
            }
            let cell = row.cell(*at).unwrap_or(&Cell::Unchanged);
            if *cell == Cell::Unchanged {
                same.push(place as u64);
            }
            cells::push(&mut out, cell, column);
        }
        out.push(']');
        (out, same)
    }

    /// The key's cells as JSON; none if one was not said.
    fn key_of(&self, row: &RowView<'_>) -> Option<String> {
        let mut out = String::from("[");
        for (place, at) in self.schema.key.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            cells::push(&mut out, row.cell(*at)?, self.schema.columns.get(*at)?);
        }
        out.push(']');
        Some(out)
    }

    /// What must hold of a row for it to belong, in the words that it came in.
    pub(super) fn required_values(&self) -> Vec<RequiredValues> {
        let mut found = Vec::new();
        for filter in &self.filters {
            match filter.root() {
                Node::Group(Group { negated: false, join: Join::And, members }) => {
                    found.extend(members.iter().filter_map(|member| self.required(member)));
                }
                node => found.extend(self.required(node)),
            }
        }
        found
    }

    fn required(&self, node: &Node) -> Option<RequiredValues> {
        let Node::Term(term) = node else { return None };
        let column = self.schema.columns.iter().position(|column| column.name == term.column)?;
        match &term.test {
            _ if term.negated => None,
            Test::Compare(Compare::Eq, value) => Some(RequiredValues { column, values: vec![value.clone()] }),
            Test::In(values) => Some(RequiredValues { column, values: values.clone() }),
            _ => None,
        }
    }
}

/// As deep as the tree.
fn patterns(node: &Node) -> usize {
    match node {
        Node::Group(group) => group.members.iter().map(patterns).sum(),
        Node::Term(term) => {
            usize::from(matches!(term.test, Test::Compare(Compare::Like | Compare::Ilike, _)))
        }
    }
}

fn push(out: &mut String, change: TableChange) {
    if out.len() > 1 {
        out.push(',');
    }
    out.push_str(&change.encode());
}

/// The places of the selected columns and of the key's, in order.
fn select_columns(schema: &Schema, select: Option<&[String]>) -> Result<Vec<usize>, ShapeError> {
    let Some(names) = select else { return Ok((0..schema.columns.len()).collect()) };
    let mut selected = schema.key.clone();
    for name in names {
        match schema.columns.iter().position(|column| column.name == *name) {
            Some(at) => selected.push(at),
            None => {
                let message = "a selected column is not one of the table that this subscription may see";
                return Err(ShapeError::Column(message.to_owned()));
            }
        }
    }
    selected.sort_unstable();
    selected.dedup();
    Ok(selected)
}
