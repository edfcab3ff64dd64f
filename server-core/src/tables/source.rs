//! What tables and a database that watches them say to each other.
//!
//! A source gives commits in the order in which the database made them, and snapshots. Cells are
//! texts as PostgreSQL writes them (`DateStyle` ISO, `TimeZone` UTC, `bytea_output` hex,
//! `extra_float_digits` 1), whatever the database.

use std::sync::Arc;
use tidewire_core::tables::{Type, filter};

/// A table as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The columns that clients may see, in the order of a row's cells.
    pub columns: Vec<Column>,
    /// The primary key's columns, by their places among `columns`; never empty.
    pub key: Vec<usize>,
}

impl Schema {
    /// The columns as filters see them.
    pub(super) fn filtered(&self) -> Vec<filter::Column<'_>> {
        let columns = self.columns.iter();
        columns.map(|column| filter::Column { name: &column.name, kind: column.kind }).collect()
    }

    /// The row before an update that changed neither the key nor any tracked column, as far as
    /// `new` says it.
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
    /// What filters make of it.
    pub kind: Type,
    /// Whether old rows always say it. Only of such columns can it be told that a row left a
    /// subscription, so filters and permissions may name no others.
    pub tracked: bool,
}

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cell {
    /// SQL's `NULL`.
    Null,
    /// In PostgreSQL's text form.
    Text(Box<str>),
    /// A value that the column's type does not have, which SQLite allows, as the JSON that is shown
    /// of it: it equals nothing, whatever it looks like.
    Foreign(Box<str>),
    /// The database did not say it, because it is as it was before (PostgreSQL's "unchanged TOASTed
    /// value").
    Unchanged,
}

/// A cell for each of the schema's columns. Of an old row the source may say only the key and the
/// columns that are
/// [`Column::tracked`]; the others are [`Cell::Unchanged`] then.
pub type Row = Arc<[Cell]>;

/// A change in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A row was inserted (no `old`), updated, or deleted (no `new`).
    Row {
        /// The table, by its place in the registry.
        table: usize,
        /// Before; none only of an insert. If the database says of an update no more than that key
        /// and tracked columns are as they were, it is [`Schema::before`].
        old: Option<Row>,
        /// After.
        new: Option<Row>,
    },
    /// All rows are gone, or the commit is greater than the source may hold: what follows needs a
    /// new snapshot.
    Lost {
        /// The table.
        table: usize,
        /// `truncated` or `too_big`.
        reason: &'static str,
    },
}

impl Change {
    /// The table that it is about.
    pub(super) fn table(&self) -> usize {
        match self {
            Change::Row { table, .. } | Change::Lost { table, .. } => *table,
        }
    }
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
    /// For a database that does not tell transactions apart, where these are several: the place of
    /// each change, ascending up to `position`. A snapshot or a subscription may lie between two.
    /// Otherwise empty.
    pub places: Vec<u64>,
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
    /// Those that PostgreSQL's snapshot sees. Positions say nothing while commits become visible
    /// after they are logged.
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
    /// Whether it is told by a position.
    pub(super) fn is_position(&self) -> bool {
        matches!(self, Seen::UpTo(_))
    }

    /// From which position of the stream on the snapshot no longer matters.
    pub(super) fn end(&self) -> u64 {
        match self {
            Seen::UpTo(position) => *position,
            Seen::Transactions { until, .. } => until.saturating_sub(1),
        }
    }

    /// Whether the snapshot contains a commit, all of it.
    pub fn contains(&self, commit: &Commit) -> bool {
        match self {
            Seen::UpTo(position) => commit.position <= *position,
            Seen::Transactions { until, .. } if commit.position >= *until => false,
            Seen::Transactions { xmin, xmax, running, .. } => {
                // A commit without a number can't be told apart; one twice is mended by the key,
                // one less is not.
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
    /// More bytes.
    TooBig,
    /// It took longer than one question may take.
    TooSlow,
    /// Nobody waits for it any more.
    Cancelled,
    /// The transaction is not known, or is too old to be.
    UnknownTx,
    /// The transaction was rolled back.
    AbortedTx,
    /// The database can't be asked now.
    Unavailable,
}
