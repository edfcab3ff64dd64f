//! What an application asks of a table, and in which order it wants the rows.

use super::filter::{Filter, FilterError, MAX_COLUMN};
use super::order::OrderBy;
use crate::wire::{MAX_TABLE_COLUMNS, MAX_TABLE_NAME, codes};
use thiserror::Error;

/// What an application asks of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableQuery {
    /// The table, by the name that the server gave it.
    pub table: String,
    /// Which rows ([`super::filter`]); empty for all that this user may see.
    pub filter: String,
    /// Which columns; none for all that this user may see.
    pub select: Option<Vec<String>>,
    /// How the rows are ordered: PostgREST's `order`, such as `priority.desc,name.asc.nullsfirst`.
    /// Those that are equal in it, and all if it is empty, by their keys.
    pub order: String,
    /// Only the first so many rows in that order; changes are told of all.
    pub limit: Option<usize>,
    /// Which changes are told.
    pub events: RowEvents,
}

/// Which changes of rows are told. The default is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEvents {
    /// New rows.
    pub insert: bool,
    /// Rows with other values.
    pub update: bool,
    /// Rows that are gone.
    pub delete: bool,
}

impl Default for RowEvents {
    fn default() -> Self {
        RowEvents { insert: true, update: true, delete: true }
    }
}

/// Why a table was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// The name is empty or too long.
    #[error("the table's name must have 1 to 127 bytes")]
    BadTable,
    /// A selected column's name is empty or too long, or there are too many.
    #[error("a selected column's name must have 1 to 63 bytes, and at most 256 may be selected")]
    BadSelect,
    /// The order is not a list of columns.
    #[error("expected an order such as `priority.desc,name.asc.nullsfirst` of at most 8 columns")]
    BadOrder,
    /// The filter is not one.
    #[error(transparent)]
    Filter(FilterError),
    /// This client has all the table subscriptions it may have: 100.
    #[error("too many table subscriptions; end one first")]
    TooMany,
    /// There is no such view.
    #[error("this view of a table was closed")]
    Closed,
}

impl TableError {
    /// The code, the same string in every language.
    pub fn code(self) -> &'static str {
        match self {
            TableError::BadTable => codes::BAD_TABLE,
            TableError::BadSelect => codes::BAD_SELECT,
            TableError::BadOrder => codes::BAD_ORDER,
            TableError::Filter(error) => error.code(),
            TableError::TooMany => codes::TOO_MANY_SUBSCRIPTIONS,
            TableError::Closed => codes::CLOSED,
        }
    }

    /// Where in the filter, in bytes.
    pub fn at(self) -> Option<usize> {
        match self {
            TableError::Filter(error) => Some(error.at),
            _ => None,
        }
    }
}

/// What of a query the server is asked; queries that are equal in it share one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) table: String,
    pub(crate) filter: String,
    pub(crate) select: Option<Vec<String>>,
}

impl TableQuery {
    /// The parts for the server and for here.
    pub(super) fn check(&self) -> Result<(Question, Vec<OrderBy>), TableError> {
        if !(1..=MAX_TABLE_NAME).contains(&self.table.len()) {
            return Err(TableError::BadTable);
        }
        if let Some(select) = &self.select {
            let bad = |name: &String| !(1..=MAX_COLUMN).contains(&name.len());
            if select.len() > MAX_TABLE_COLUMNS || select.iter().any(bad) {
                return Err(TableError::BadSelect);
            }
        }
        let filter = match self.filter.trim_matches([' ', '\t', '\n', '\r']) {
            "" => String::new(),
            _ => Filter::parse(&self.filter).map_err(TableError::Filter)?.encode(),
        };
        let order = OrderBy::parse(&self.order).ok_or(TableError::BadOrder)?;
        let question = Question { table: self.table.clone(), filter, select: self.select.clone() };
        Ok((question, order))
    }
}
