//! The query of a view: what an application asks of a table.

use super::filter::{Filter, FilterError, MAX_COLUMN};
use super::order::OrderBy;
use crate::wire::{MAX_TABLE_COLUMNS, MAX_TABLE_NAME, codes, json};
use thiserror::Error;

/// The query of a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableQuery {
    /// The table's name at the server.
    pub table: String,
    /// Which rows ([`super::filter`]); empty for all rows that this user may see.
    pub filter: String,
    /// Which columns; none for all columns that this user may see.
    pub select: Option<Vec<String>>,
    /// How the rows are ordered: PostgREST's `order`, such as `priority.desc,name.asc.nullsfirst`.
    /// Rows that are equal in it are ordered by their keys; if it is empty, all rows are.
    pub order: String,
    /// The maximum number of rows in that order. Changes are emitted for all rows.
    pub limit: Option<usize>,
    /// Which kinds of changes are emitted.
    pub events: RowEvents,
}

/// Which kinds of changes are emitted. The default is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEvents {
    /// Inserted rows.
    pub insert: bool,
    /// Updated rows.
    pub update: bool,
    /// Deleted rows.
    pub delete: bool,
}

impl Default for RowEvents {
    fn default() -> Self {
        RowEvents { insert: true, update: true, delete: true }
    }
}

/// Why a table was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum TableError {
    /// The name is empty or too long.
    BadTable,
    /// A selected column's name is empty or too long, or there are too many.
    BadSelect,
    /// The order is not a list of columns.
    BadOrder,
    /// The filter is not valid.
    Filter(FilterError),
    /// This client has the most table subscriptions it may have: 100.
    TooMany,
    /// There is no such view.
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

    /// The message for people.
    pub fn message(self) -> String {
        let text = match self {
            TableError::BadTable => "the table's name must have 1 to 127 bytes",
            TableError::BadSelect => {
                "a selected column's name must have 1 to 63 bytes, and at most 256 may be selected"
            }
            TableError::BadOrder => {
                "expected an order such as `priority.desc,name.asc.nullsfirst` of at most 8 columns"
            }
            TableError::Filter(error) => return error.message(),
            TableError::TooMany => "too many table subscriptions; end one first",
            TableError::Closed => "this view of a table was closed",
        };
        text.to_owned()
    }

    /// The position in the filter, in bytes.
    pub fn at(self) -> Option<usize> {
        match self {
            TableError::Filter(error) => Some(error.at),
            _ => None,
        }
    }
}

/// The part of a query that the server answers. Queries with an equal question share one
/// subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) table: String,
    pub(crate) filter: String,
    pub(crate) select: Option<Vec<String>>,
}

impl TableQuery {
    /// Splits a query into the question for the server and the order, which is applied here.
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
        let filter = match json::trim(&self.filter) {
            "" => String::new(),
            _ => Filter::parse(&self.filter).map_err(TableError::Filter)?.encode(),
        };
        let order = OrderBy::parse(&self.order).ok_or(TableError::BadOrder)?;
        let question = Question { table: self.table.clone(), filter, select: self.select.clone() };
        Ok((question, order))
    }
}
