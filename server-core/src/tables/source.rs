//! The interface between tables and the database that holds them, the source.
//!
//! A source publishes commits in the database's order, and reads snapshots. Cells are texts in
//! PostgreSQL's format (`DateStyle` ISO, `TimeZone` UTC, `bytea_output` hex, `extra_float_digits`
//! 1), whatever the database.

use std::sync::Arc;
use tidewire_core::tables::{Type, filter};

/// A table as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The columns that clients may see, in the order of a row's cells.
    pub columns: Vec<Column>,
    /// The primary key's columns, as indexes in `columns`; never empty.
    pub key: Vec<usize>,
}

impl Schema {
    /// The columns as filters see them.
    pub(super) fn filtered(&self) -> Vec<filter::Column<'_>> {
        let columns = self.columns.iter();
        columns.map(|column| filter::Column { name: &column.name, kind: column.kind }).collect()
    }

    /// The row before an update that changed neither the key nor any tracked column; the other
    /// cells are unknown.
    pub fn before(&self, new: &[Cell]) -> Row {
        let known = |at: usize, column: &Column| column.tracked || self.key.contains(&at);
        let cells = self.columns.iter().enumerate().map(|(at, column)| match new.get(at) {
            Some(cell) if known(at, column) => cell.clone(),
            _ => Cell::Unchanged,
        });
        cells.collect()
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the database spells it.
    pub name: String,
    /// Its type, as PostgreSQL's `format_type` writes it without modifiers.
    pub declared: String,
    /// The type by which filters compare its values.
    pub kind: Type,
    /// Whether old rows always include it. Only such columns tell that a row left a subscription,
    /// so filters and permissions may use no others.
    pub tracked: bool,
}

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cell {
    /// SQL's `NULL`.
    Null,
    /// In PostgreSQL's text form.
    Text(Box<str>),
    /// A value that does not fit the column's type, which SQLite allows, as the JSON that is shown
    /// for it. It equals nothing.
    Foreign(Box<str>),
    /// The database left it out because it did not change (PostgreSQL's "unchanged TOASTed value").
    Unchanged,
}

/// One cell for each of the schema's columns. An old row may have only the key and the columns that
/// are [`Column::tracked`]; its other cells are [`Cell::Unchanged`].
pub type Row = Arc<[Cell]>;

/// A change in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A row was inserted (no `old`), updated, or deleted (no `new`).
    Row {
        /// The table, by its index in the registry.
        table: usize,
        /// The row before; `None` only for an insert. If the database reports of an update only
        /// that the key and the tracked columns did not change, use [`Schema::before`].
        old: Option<Row>,
        /// The row after; `None` only for a delete.
        new: Option<Row>,
    },
    /// All rows are gone, or the commit is too large for the source: a new snapshot is needed.
    Lost {
        /// The table.
        table: usize,
        /// `truncated` or `too_big`.
        reason: &'static str,
    },
}

impl Change {
    /// The table that it changes.
    pub(super) fn table(&self) -> usize {
        match self {
            Change::Row { table, .. } | Change::Lost { table, .. } => *table,
        }
    }
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its position in the order of commits. Positions ascend, with gaps.
    pub position: u64,
    /// The database's transaction id, if its snapshots are described by such ids.
    pub xid: Option<u64>,
    /// The transaction's name towards applications.
    pub tx: String,
    /// The time of the commit, ms since the Unix epoch.
    pub at: u64,
    /// The changes in the order in which they were made.
    pub changes: Vec<Change>,
    /// For a source that can't separate transactions: the place of each change, ascending up to
    /// `position`. A snapshot or a cursor may lie between two changes. Otherwise empty.
    pub places: Vec<u64>,
}

/// A table's rows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The requested rows.
    pub rows: Vec<Row>,
    /// The commits that they contain.
    pub seen: Seen,
}

/// Which commits a snapshot contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All commits up to this position.
    UpTo(u64),
    /// The transactions that are visible in PostgreSQL's snapshot. A position can't describe them,
    /// as commits become visible some time after they are logged.
    Transactions {
        /// All transactions below this id had ended.
        xmin: u64,
        /// No transaction from this id on had ended.
        xmax: u64,
        /// Transactions between the two that were running.
        running: Vec<u64>,
        /// No commit from this position on is contained.
        until: u64,
    },
}

impl Seen {
    /// Whether it is described by a position.
    pub(super) fn is_position(&self) -> bool {
        matches!(self, Seen::UpTo(_))
    }

    /// The position from which on no commit is contained.
    pub(super) fn end(&self) -> u64 {
        match self {
            Seen::UpTo(position) => *position,
            Seen::Transactions { until, .. } => until.saturating_sub(1),
        }
    }

    /// Whether the snapshot contains all of a commit.
    pub fn contains(&self, commit: &Commit) -> bool {
        match self {
            Seen::UpTo(position) => commit.position <= *position,
            Seen::Transactions { until, .. } if commit.position >= *until => false,
            Seen::Transactions { xmin, xmax, running, .. } => {
                // Without an id this is not known. Sending a commit twice is harmless, because rows
                // have keys; leaving one out is not.
                commit.xid.is_some_and(|xid| xid < *xmin || xid < *xmax && !running.contains(&xid))
            }
        }
    }
}

/// Why a source could not answer a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// More rows than a subscription may have.
    TooManyRows,
    /// More bytes than a subscription may have.
    TooBig,
    /// It took longer than one request may take.
    TooSlow,
    /// The answer is no longer needed.
    Cancelled,
    /// The transaction is unknown, or too old.
    UnknownTx,
    /// The transaction was rolled back.
    AbortedTx,
    /// The database is unavailable.
    Unavailable,
}
