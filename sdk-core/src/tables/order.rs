//! The order of a view's rows.

use super::filter::MAX_COLUMN;
use super::value::boolean;
use super::{Numeric, Type, datetime};
use crate::wire::{TableShape, json};
use std::cmp::Ordering;

/// Most columns of an order.
const MAX_ORDER: usize = 8;

/// A column of an order, with its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderBy {
    column: String,
    descending: bool,
    nulls_first: bool,
}

impl OrderBy {
    /// Parses PostgREST's `order`: columns, each with its direction and the position of nulls.
    pub(super) fn parse(text: &str) -> Option<Vec<OrderBy>> {
        let text = json::trim(text);
        if text.is_empty() {
            return Some(Vec::new());
        }
        let mut terms = Vec::new();
        for term in text.split(',') {
            terms.push(OrderBy::parse_one(term)?);
        }
        (terms.len() <= MAX_ORDER).then_some(terms)
    }

    fn parse_one(text: &str) -> Option<OrderBy> {
        let mut parts = json::trim(text).split('.');
        let column = parts.next().filter(|name| (1..=MAX_COLUMN).contains(&name.len()))?.to_owned();
        let (mut descending, mut nulls_first, mut step) = (false, None, 0);
        for part in parts {
            // The direction comes before the position of nulls, each at most once.
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
        // PostgreSQL's default: nulls are greater than all other values.
        Some(OrderBy { column, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }
}

/// An order for rows of one shape. The default compares no columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// The column's index.
    at: usize,
    kind: Type,
    descending: bool,
    nulls_first: bool,
}

impl Order {
    /// The order of these columns, then of the key. None if a column does not exist or can't be
    /// ordered.
    pub(super) fn of(shape: &TableShape, by: &[OrderBy]) -> Option<Order> {
        let mut terms = Vec::with_capacity(by.len() + shape.key.len());
        for OrderBy { column, descending, nulls_first } in by {
            let at = shape.columns.iter().position(|other| other.name == *column)?;
            let kind = Type::named(&shape.columns[at].kind);
            if matches!(kind, Type::Other | Type::Bytea) {
                return None;
            }
            terms.push(Term { at, kind, descending: *descending, nulls_first: *nulls_first });
        }
        for at in &shape.key {
            let kind = shape.columns.get(*at).map_or(Type::Other, |column| Type::named(&column.kind));
            terms.push(Term { at: *at, kind, descending: false, nulls_first: false });
        }
        Some(Order { terms })
    }

    /// The values that a row is compared by; `row` is a JSON array of cells.
    pub(super) fn ranks(&self, row: &str) -> Vec<Rank> {
        let cells = json::elements(row).unwrap_or_default();
        let rank = |term: &Term| cells.get(term.at).map_or(Rank::Null, |cell| Rank::read(cell, term.kind));
        self.terms.iter().map(rank).collect()
    }

    /// Compares two rows.
    pub(super) fn compare(&self, one: &[Rank], another: &[Rank]) -> Ordering {
        let nulls = |first: bool| if first { Ordering::Less } else { Ordering::Greater };
        let pairs = one.iter().zip(another);
        let orders = self.terms.iter().zip(pairs).map(|(term, pair)| match pair {
            (Rank::Null, Rank::Null) => Ordering::Equal,
            (Rank::Null, _) => nulls(term.nulls_first),
            (_, Rank::Null) => nulls(!term.nulls_first),
            (one, another) if term.descending => another.cmp(one),
            (one, another) => one.cmp(another),
        });
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

/// A cell as an order compares it. All cells of a column have the same variant, except nulls and
/// cells that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// SQL's `NULL`.
    Null,
    Bool(bool),
    /// For all types of numbers. Databases write a floating-point number as the shortest decimal
    /// that reads back as the same number, so the decimals have the same order.
    Number(Numeric),
    /// For dates and times.
    Moment(i64),
    Text(String),
    /// For key columns of a type that can't be ordered, and for values that are not of their type.
    Opaque,
}

impl Rank {
    /// Reads a cell in the form of the protocol.
    fn read(cell: &str, kind: Type) -> Rank {
        if cell == "null" {
            return Rank::Null;
        }
        let text = if cell.starts_with('"') { json::unescape(cell) } else { cell.into() };
        let read = match kind {
            Type::Bool => boolean(&text).map(Rank::Bool),
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric | Type::Float4 | Type::Float8 => {
                Numeric::parse(&text).map(Rank::Number)
            }
            Type::Date => datetime::date(&text).map(Rank::Moment),
            Type::Timestamp => datetime::timestamp(&text, false).map(Rank::Moment),
            Type::Timestamptz => datetime::timestamp(&text, true).map(Rank::Moment),
            // A UUID is written in lower case, so that its text orders as its bytes do.
            Type::Text | Type::Uuid => Some(Rank::Text(text.into_owned())),
            Type::Bytea | Type::Other => None,
        };
        read.unwrap_or(Rank::Opaque)
    }
}
