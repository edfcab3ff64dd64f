//! What tables and a database that watches them say to each other.
//!
//! A source gives commits in the order in which the database made them, and snapshots. Cells are texts as PostgreSQL writes them
//! (`DateStyle` ISO, `TimeZone` UTC, `bytea_output` hex, `extra_float_digits` 1), whatever the database.

use std::sync::Arc;
use tidewire_core::tables::Type;

/// A table as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The columns that clients may see, in the order of a row's cells.
    pub columns: Vec<Column>,
    /// The primary key's columns, by their places among `columns`; never empty.
    pub key: Vec<usize>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the database spells it.
    pub name: String,
    /// Its type, as PostgreSQL's `format_type` writes it without modifiers.
    pub declared: String,
    /// What filters make of it.
    pub kind: Type,
}

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// SQL's `NULL`.
    Null,
    /// In PostgreSQL's text form.
    Text(Box<str>),
    /// The database did not say it, because it is as it was before (PostgreSQL's "unchanged TOASTed value").
    Unchanged,
}

/// A cell for each of the schema's columns. Of an old row the source may say only the columns of filters, permissions and the
/// key ([`Change::Row`]); the others are [`Cell::Unchanged`] then.
pub type Row = Arc<[Cell]>;

/// A change in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A row was inserted (no `old`), updated, or deleted (no `new`).
    Row {
        /// The table, by its place in the registry.
        table: usize,
        /// Before; for an update none if no column that identifies it changed, and then it is as `new` says.
        old: Option<Row>,
        /// After.
        new: Option<Row>,
    },
    /// All rows are gone, or the commit is greater than the source may hold: what follows needs a new snapshot.
    Lost {
        /// The table.
        table: usize,
        /// `truncated` or `too_big`.
        reason: &'static str,
    },
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its place in the order of commits; they ascend, not densely.
    pub position: u64,
    /// The database's number of it, where snapshots are told apart by it.
    pub xid: Option<u64>,
    /// What the database calls it towards applications.
    pub tx: String,
    /// When, ms since the Unix epoch.
    pub at: u64,
    /// In the order in which they were made.
    pub changes: Vec<Change>,
}

/// A table's rows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Those that were wanted.
    pub rows: Vec<Row>,
    /// Which commits they contain.
    pub seen: Seen,
}

/// Which commits a snapshot contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All up to this position.
    UpTo(u64),
    /// Those that PostgreSQL's snapshot sees. Positions say nothing while commits become visible after they are logged.
    Transactions {
        /// All transactions below it are over.
        xmin: u64,
        /// None from here on had begun to be over.
        xmax: u64,
        /// Those between the two that were still running.
        running: Vec<u64>,
        /// From this position on no commit is contained.
        until: u64,
    },
}

impl Seen {
    /// Whether the snapshot contains a commit.
    pub fn contains(&self, commit: &Commit) -> bool {
        match self {
            Seen::UpTo(position) => commit.position <= *position,
            Seen::Transactions { until, .. } if commit.position >= *until => false,
            Seen::Transactions { xmin, xmax, running, .. } => {
                // A commit without a number can't be told apart; one twice is mended by the key, one less is not.
                commit.xid.is_some_and(|xid| xid < *xmin || xid < *xmax && !running.contains(&xid))
            }
        }
    }
}

/// Why a source could not say something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// More rows than a subscription may have.
    TooManyRows,
    /// The transaction is not known, or is too old to be.
    UnknownTx,
    /// The transaction was rolled back.
    AbortedTx,
    /// The database can't be asked now.
    Unavailable,
}
