//! The shape shared by identical subscriptions, and the changes that a commit produces for it.

use super::access::Permission;
use super::matching::{Matcher, Membership, RowChange, RowView};
use super::{Cell, Change, Commit, Schema, cells, cursor};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::tables::filter::{Compare, Filter, Group, Join, Node, Test};
use tidewire_core::wire::{RowOp, TableChange, TableColumn};

/// The table, filter, columns and permission of a group.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) table: usize,
    pub(super) schema: Arc<Schema>,
    pub(super) matcher: Matcher,
    /// The text of the permission; equal permissions have equal texts.
    pub(super) permission: String,
    /// Equal for equal shapes only.
    pub(super) name: String,
    /// A hash of the whole shape, for cursors.
    pub(super) hash: u64,
    /// The indexes of the columns that are sent, ascending; those of the key are among them.
    selected: Vec<usize>,
    pub(super) filters: Vec<Filter>,
    /// How many patterns (`like`, `ilike`) each row is compared with.
    patterns: usize,
}

/// Why a shape can't be made.
pub(super) enum ShapeError {
    /// A column that does not exist, or can't be filtered by.
    Column(String),
    /// The filter is not valid.
    Filter(tidewire_core::tables::filter::FilterError),
    /// The permission does not fit this user's claims.
    Forbidden,
}

/// What a commit means for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It does not concern the group.
    Nothing,
    /// Changes, as a JSON array.
    Changes(Arc<str>),
    /// The group's subscriptions are reset, for this reason.
    Reset(&'static str),
}

/// A column, and the values of which it must have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredValues {
    /// The column's index in the schema.
    pub column: usize,
    /// The values as the client or the token wrote them.
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

    /// How many patterns each row is compared with.
    pub(super) fn patterns(&self) -> usize {
        self.patterns
    }

    /// The columns as clients are told them.
    pub(super) fn columns(&self) -> Vec<TableColumn> {
        let columns = self.selected.iter().filter_map(|at| self.schema.columns.get(*at));
        columns
            .map(|column| TableColumn { name: column.name.clone(), kind: column.declared.clone() })
            .collect()
    }

    /// The indexes of the key's columns among the selected ones.
    pub(super) fn key(&self) -> Vec<usize> {
        let place = |key: &usize| self.selected.iter().position(|at| at == key);
        self.schema.key.iter().filter_map(place).collect()
    }

    /// A snapshot's row as JSON; `None` if it does not belong to the group.
    pub(super) fn row(&self, row: &[Cell]) -> Option<String> {
        let mut view = RowView::new(&self.schema, row, None);
        self.matcher.matches(&mut view)?.then(|| self.encode(&view).0)
    }

    /// Whether a row belongs to the group.
    pub(super) fn row_belongs(&self, row: &[Cell]) -> bool {
        self.matcher.matches(&mut RowView::new(&self.schema, row, None)) == Some(true)
    }

    /// What the changes of a commit after a position mean for the group. More than `most` bytes of
    /// JSON are a reset.
    pub(super) fn outcome(&self, commit: &Commit, after: u64, most: usize) -> Outcome {
        let all = (0..commit.changes.len()).map(|at| (at, None));
        self.outcome_of(commit, &mut BTreeMap::new(), all, after, most)
    }

    /// As [`Shape::outcome`], for some of the changes. Their membership may be known already, and
    /// decoded rows are shared between groups in `pairs`.
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

    /// Appends what a change means for the group; false if the database left out a column that is
    /// needed.
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
        // The subscriber does not have the row, so no cell can be "the same as before".
        let moved = existed && !was;
        push(out, TableChange { op: RowOp::Insert, cells, same: Vec::new(), moved });
        same.is_empty()
    }

    /// The selected cells of a row as JSON, and the indexes of those that the database left out.
    fn encode(&self, row: &RowView<'_>) -> (String, Vec<usize>) {
        let (mut out, mut same) = (String::from("["), Vec::new());
        for (place, at) in self.selected.iter().enumerate() {
            let Some(column) = self.schema.columns.get(*at) else { continue };
            if place > 0 {
                out.push(',');
            }
            let cell = row.cell(*at).unwrap_or(&Cell::Unchanged);
            if *cell == Cell::Unchanged {
                same.push(place);
            }
            cells::push(&mut out, cell, column);
        }
        out.push(']');
        (out, same)
    }

    /// The key's cells as JSON; `None` if the database left one out.
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

    /// Conditions that every row of the group meets, with the values as they were written.
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

/// Recursion is as deep as the filter, which has a limit.
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

/// The indexes of the selected columns and of the key's, ascending.
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
