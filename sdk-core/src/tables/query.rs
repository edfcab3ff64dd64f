//! What an application asks of a table, and in which order it wants the rows.

use super::filter::{Filter, FilterError, MAX_COLUMN};
use super::rows::Shape;
use super::{Type, Value};
use crate::wire::json;
use crate::wire::{MAX_TABLE_COLUMNS, MAX_TABLE_NAME};
use std::cmp::Ordering;
use thiserror::Error;

/// Most columns by which rows are ordered.
const MAX_ORDER: usize = 8;

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
            TableError::BadTable => "bad_table",
            TableError::BadSelect => "bad_select",
            TableError::BadOrder => "bad_order",
            TableError::Filter(error) => error.code(),
            TableError::TooMany => "too_many_subscriptions",
            TableError::Closed => "closed",
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
    pub(crate) fn check(&self) -> Result<(Question, Vec<OrderBy>), TableError> {
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

/// A column by which rows are ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderBy {
    column: String,
    descending: bool,
    nulls_first: bool,
}

impl OrderBy {
    fn parse(text: &str) -> Option<Vec<OrderBy>> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Vec::new());
        }
        let terms: Option<Vec<OrderBy>> = text.split(',').map(OrderBy::parse_one).collect();
        terms.filter(|terms| terms.len() <= MAX_ORDER)
    }

    fn parse_one(text: &str) -> Option<OrderBy> {
        let mut parts = text.trim().split('.');
        let column = parts.next().filter(|name| (1..=MAX_COLUMN).contains(&name.len()))?.to_owned();
        let (mut descending, mut nulls_first, mut step) = (false, None, 0);
        for part in parts {
            // The direction comes before what is said of nulls, each at most once.
            let at = match part {
                "asc" | "desc" => 1,
                "nullsfirst" | "nullslast" => 2,
                _ => return None,
            };
            if at <= step {
                return None;
            }
            step = at;
            match part {
                "desc" => descending = true,
                "nullsfirst" => nulls_first = Some(true),
                "nullslast" => nulls_first = Some(false),
                _ => {}
            }
        }
        // PostgreSQL's defaults: nulls are greater than all else.
        Some(OrderBy { column, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }
}

/// Whether rows of this shape can be ordered so.
pub(crate) fn can_order(shape: &Shape, order: &[OrderBy]) -> bool {
    order.iter().all(|by| {
        let column = shape.columns.iter().find(|column| column.name == by.column);
        column.is_some_and(|column| !matches!(Type::named(&column.kind), Type::Other | Type::Bytea))
    })
}

/// Puts rows into an order; those that are equal in it are ordered by their keys.
pub(crate) fn sort(shape: &Shape, order: &[OrderBy], rows: &mut [&str]) {
    let place_of = |by: &OrderBy| shape.columns.iter().position(|column| column.name == by.column);
    let mut terms: Vec<(usize, bool, bool)> = Vec::with_capacity(order.len() + shape.key.len());
    for by in order {
        terms.extend(place_of(by).map(|at| (at, by.descending, by.nulls_first)));
    }
    terms.extend(shape.key.iter().map(|at| (*at, false, false)));
    rows.sort_by_cached_key(|row| {
        let cells = json::elements(row).unwrap_or_default();
        let mut ranks = Vec::with_capacity(terms.len());
        for (at, descending, nulls_first) in &terms {
            let kind = Type::named(&shape.columns[*at].kind);
            let value = cells.get(*at).map_or(Value::Null, |cell| read_cell(cell, kind));
            ranks.push(Rank { value, descending: *descending, nulls_first: *nulls_first });
        }
        ranks
    });
}

/// A cell's value: what the protocol writes, section 12, is what PostgreSQL reads.
fn read_cell(cell: &str, kind: Type) -> Value {
    if cell == "null" {
        return Value::Null;
    }
    let text = if cell.starts_with('"') { json::unescape(cell) } else { cell.into() };
    Value::parse(&text, kind).unwrap_or(Value::Opaque)
}

/// A value in its place of the order.
struct Rank {
    value: Value,
    descending: bool,
    nulls_first: bool,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let nulls = |first: bool| if first { Ordering::Less } else { Ordering::Greater };
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => nulls(self.nulls_first),
            (_, Value::Null) => nulls(!self.nulls_first),
            (one, another) => {
                let order = one.compare(another).unwrap_or(Ordering::Equal);
                if self.descending { order.reverse() } else { order }
            }
        }
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}
