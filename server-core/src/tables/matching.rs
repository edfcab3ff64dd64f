//! Whether a row belongs to a subscription: filter and permission together, and never a guess about
//! what the database did not say.

use super::{Cell, Change, Schema};
use std::sync::Arc;
use tidewire_core::tables::filter::Predicate;
use tidewire_core::tables::{Type, Value};

/// The predicates that must all hold.
#[derive(Debug)]
pub(super) struct Matcher {
    predicates: Vec<Predicate>,
    columns: Vec<usize>,
}

impl Matcher {
    pub(super) fn new(predicates: Vec<Predicate>) -> Matcher {
        let mut columns: Vec<usize> = predicates.iter().flat_map(Predicate::columns).collect();
        columns.sort_unstable();
        columns.dedup();
        Matcher { predicates, columns }
    }

    /// Whether a row belongs; none if that depends on a cell that was not said.
    pub(super) fn matches(&self, row: &mut RowView<'_>) -> Option<bool> {
        for column in &self.columns {
            row.value(*column)?;
        }
        Some(self.predicates.iter().all(|predicate| predicate.holds(&row.values)))
    }

    /// A column whose value must be one of few, if there is one: of several, the one with the
    /// fewest.
    pub(super) fn indexable(&self) -> Option<(usize, Vec<Value>)> {
        let required = self.predicates.iter().flat_map(Predicate::required);
        let (column, values) = required.min_by_key(|(_, values)| values.len())?;
        Some((column, values.to_vec()))
    }

    /// Whether that is all there is to say of a row.
    pub(super) fn is_equality(&self) -> bool {
        matches!(&self.predicates[..], [only] if only.is_equality())
    }
}

/// A row whose cells are read when they are asked for.
pub(super) struct RowView<'a> {
    schema: Arc<Schema>,
    cells: &'a [Cell],
    /// The row before, which says what this one leaves out.
    before: Option<&'a [Cell]>,
    values: Vec<Value>,
    read: Vec<bool>,
}

impl<'a> RowView<'a> {
    pub(super) fn new(schema: &Arc<Schema>, cells: &'a [Cell], before: Option<&'a [Cell]>) -> RowView<'a> {
        let width = schema.columns.len();
        let (values, read) = (vec![Value::Null; width], vec![false; width]);
        RowView { schema: schema.clone(), cells, before, values, read }
    }

    /// A cell as far as it is known.
    pub(super) fn cell(&self, column: usize) -> Option<&'a Cell> {
        let said = |cells: &'a [Cell]| cells.get(column).filter(|cell| **cell != Cell::Unchanged);
        said(self.cells).or_else(|| said(self.before?))
    }

    /// A cell's value; none if it is not known. What is none of its column's type compares with
    /// nothing, and is not null.
    pub(super) fn value(&mut self, column: usize) -> Option<&Value> {
        if !*self.read.get(column)? {
            let value = match self.cell(column)? {
                Cell::Text(text) => match self.schema.columns.get(column)?.kind {
                    // As it is: one with a NUL, which a literal can't have, is a text too.
                    Type::Text => Value::Text(text.to_string()),
                    kind => Value::parse(text, kind).unwrap_or(Value::Opaque),
                },
                Cell::Foreign(_) => Value::Opaque,
                Cell::Null | Cell::Unchanged => Value::Null,
            };
            *self.values.get_mut(column)? = value;
            *self.read.get_mut(column)? = true;
        }
        self.values.get(column)
    }
}

/// Whether a row belonged before a change and belongs after it, if that is known.
pub(super) type Membership = Option<(bool, bool)>;

/// A row before and after a change.
pub(super) struct RowChange<'a> {
    /// None of an insert.
    pub(super) old: Option<RowView<'a>>,
    /// None of a delete.
    pub(super) new: Option<RowView<'a>>,
}

impl<'a> RowChange<'a> {
    /// What a change does to a row; none of one that loses the whole table.
    pub(super) fn of(schema: &Arc<Schema>, change: &'a Change) -> Option<RowChange<'a>> {
        let Change::Row { old, new, .. } = change else { return None };
        Some(RowChange {
            old: old.as_deref().map(|cells| RowView::new(schema, cells, None)),
            new: new.as_deref().map(|cells| RowView::new(schema, cells, old.as_deref())),
        })
    }

    /// Whether the row belonged before and belongs after; none if that can't be told.
    pub(super) fn matches(&mut self, matcher: &Matcher) -> Membership {
        let belongs = |row: &mut Option<RowView<'a>>| match row {
            Some(row) => matcher.matches(row),
            None => Some(false),
        };
        Some((belongs(&mut self.old)?, belongs(&mut self.new)?))
    }
}
