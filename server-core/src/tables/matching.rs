//! Whether a row belongs to a subscription, by its filter and permission. If the database left out
//! a column that matters, the answer is "unknown", never a guess.

use super::{Cell, Change, Schema};
use std::sync::Arc;
use tidewire_core::tables::filter::Predicate;
use tidewire_core::tables::{Type, Value};

/// Predicates that must all be true.
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

    /// Whether a row belongs; `None` if that depends on a cell that the database left out.
    pub(super) fn matches(&self, row: &mut RowView<'_>) -> Option<bool> {
        for column in &self.columns {
            row.value(*column)?;
        }
        Some(self.predicates.iter().all(|predicate| predicate.holds(&row.values)))
    }

    /// A column that must have one of some values, with these values, if there is one. Of several,
    /// the column with the fewest values.
    pub(super) fn indexable(&self) -> Option<(usize, Vec<Value>)> {
        let required = self.predicates.iter().flat_map(Predicate::required);
        let (column, values) = required.min_by_key(|(_, values)| values.len())?;
        Some((column, values.to_vec()))
    }

    /// Whether the matcher is nothing but that condition.
    pub(super) fn is_equality(&self) -> bool {
        matches!(&self.predicates[..], [only] if only.is_equality())
    }
}

/// A row whose cells are decoded on first use.
pub(super) struct RowView<'a> {
    schema: Arc<Schema>,
    cells: &'a [Cell],
    /// The row before the change, which has the cells that this one leaves out.
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

    /// A cell; `None` if it is not known.
    pub(super) fn cell(&self, column: usize) -> Option<&'a Cell> {
        let said = |cells: &'a [Cell]| cells.get(column).filter(|cell| **cell != Cell::Unchanged);
        said(self.cells).or_else(|| said(self.before?))
    }

    /// A cell's value; `None` if it is not known. Text that is not valid for the column's type
    /// becomes a value that is not null and compares with nothing.
    pub(super) fn value(&mut self, column: usize) -> Option<&Value> {
        if !*self.read.get(column)? {
            let value = match self.cell(column)? {
                Cell::Text(text) => match self.schema.columns.get(column)?.kind {
                    // Taken as it is, because `Value::parse` refuses a NUL, which SQLite's texts
                    // may have.
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

/// Whether a row belonged before a change, and whether it belongs after it; `None` if unknown.
pub(super) type Membership = Option<(bool, bool)>;

/// A row before and after a change.
pub(super) struct RowChange<'a> {
    /// `None` for an insert.
    pub(super) old: Option<RowView<'a>>,
    /// `None` for a delete.
    pub(super) new: Option<RowView<'a>>,
}

impl<'a> RowChange<'a> {
    /// The rows of a change; `None` for a change that loses the whole table.
    pub(super) fn of(schema: &Arc<Schema>, change: &'a Change) -> Option<RowChange<'a>> {
        let Change::Row { old, new, .. } = change else { return None };
        Some(RowChange {
            old: old.as_deref().map(|cells| RowView::new(schema, cells, None)),
            new: new.as_deref().map(|cells| RowView::new(schema, cells, old.as_deref())),
        })
    }

    /// Whether the row belonged before the change and belongs after it.
    pub(super) fn matches(&mut self, matcher: &Matcher) -> Membership {
        let belongs = |row: &mut Option<RowView<'a>>| match row {
            Some(row) => matcher.matches(row),
            None => Some(false),
        };
        Some((belongs(&mut self.old)?, belongs(&mut self.new)?))
    }
}
