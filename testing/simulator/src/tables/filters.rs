//! Filters and permissions, with the rows that a SELECT would give for them.

use crate::tables::database::{Cells, Rows};

/// A filter, and its predicate in Rust.
pub(super) struct Asked {
    pub(super) filter: &'static str,
    pub(super) holds: fn(&Cells) -> bool,
}

fn number(cell: Option<&String>) -> Option<u64> {
    cell.and_then(|text| text.parse().ok())
}

fn is(cell: Option<&String>, text: &str) -> bool {
    cell.is_some_and(|cell| cell == text)
}

pub(super) const FILTERS: &[Asked] = &[
    Asked { filter: "", holds: |_| true },
    Asked { filter: "owner = ada", holds: |row| is(row[1].as_ref(), "ada") },
    Asked {
        filter: "state=in.(open,held)",
        holds: |row| is(row[2].as_ref(), "open") || is(row[2].as_ref(), "held"),
    },
    Asked { filter: "n>5", holds: |row| number(row[3].as_ref()).is_some_and(|n| n > 5) },
    Asked {
        filter: "n<8&state!=closed",
        holds: |row| {
            number(row[3].as_ref()).is_some_and(|n| n < 8)
                && row[2].as_ref().is_some_and(|state| state != "closed")
        },
    },
    Asked {
        filter: "or=(owner.is.null,n.gte.9)",
        holds: |row| row[1].is_none() || number(row[3].as_ref()).is_some_and(|n| n >= 9),
    },
    Asked { filter: "id = 3", holds: |row| is(row[0].as_ref(), "3") },
    Asked {
        filter: "state=not.is.null&owner=eq.bob",
        holds: |row| row[2].is_some() && is(row[1].as_ref(), "bob"),
    },
];

/// The permissions: users see open rows, and rows of the owner that their token names; operators
/// see all.
pub(super) const ACCESS: &str = r#"or=(owner.eq."{claim:org}",state.eq.open)"#;

fn may_see(claim: &str, row: &Cells) -> bool {
    claim == "*" || is(row[1].as_ref(), claim) || is(row[2].as_ref(), "open")
}

/// The rows that a SELECT would give.
pub(super) fn select<'a>(rows: &'a Rows, asked: &Asked, claim: &str) -> Vec<&'a Cells> {
    rows.values().filter(|row| (asked.holds)(row) && may_see(claim, row)).collect()
}
