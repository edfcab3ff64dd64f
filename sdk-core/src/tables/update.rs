//! What an application is told of a table that it opened.

use crate::list::Change;
use crate::wire::RowOp;
use std::sync::Arc;

/// What is told of a view of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEvent {
    /// What [`crate::Client::open_table`] gave.
    pub view: u32,
    /// What it is.
    pub update: TableUpdate,
}

/// Something that a view of a table should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableUpdate {
    /// How far the rows can be trusted changed.
    Status(TableStatus),
    /// The rows are known from here on, or are known no longer, and then there are none: another
    /// user signed in, or the server refused them.
    Rows(TableRows),
    /// Rows changed, all at once.
    Changes {
        /// What changed in the list of the rows that are shown, in their order.
        list: Vec<Change<Arc<str>>>,
        /// What happened to which row, whether it is shown or not; of the kinds that were asked
        /// for.
        changes: Vec<RowChange>,
        /// The transaction, as the database calls it; none if it was found by comparing with a new
        /// snapshot.
        tx: Option<String>,
        /// When it was committed, ms since the Unix epoch.
        at: Option<u64>,
    },
    /// A transaction that was waited for has been applied: its changes came before this.
    Seen {
        /// The transaction.
        tx: String,
        /// Why it was not: `unknown_tx`, `aborted_tx`, `timeout`, or the code with which the
        /// subscription failed.
        code: Option<String>,
    },
}

/// The rows of a view, each the JSON text of an object of its columns. `Debug` says how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TableRows {
    /// The names of the columns that tell rows apart, the table's primary key.
    pub key: Vec<String>,
    /// Those that are shown: in the view's order, up to its limit.
    pub rows: Vec<Arc<str>>,
    /// Those beyond the limit.
    pub beyond: Vec<Arc<str>>,
}

impl TableRows {
    /// All of them, whatever the limit.
    pub fn all(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rows.iter().chain(&self.beyond)
    }
}

impl std::fmt::Debug for TableRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableRows")
            .field("key", &self.key)
            .field("rows", &self.rows.len())
            .field("beyond", &self.beyond.len())
            .finish()
    }
}

/// How far a view's rows can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableStatus {
    /// None are known yet.
    Loading,
    /// They are what the database has; changes follow as they are committed.
    Live,
    /// They are what the database had: there is no connection, or they are just being compared.
    Stale,
    /// Refused; there are none.
    Failed {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
        /// Where in the filter, in bytes of its canonical text.
        at: Option<u64>,
    },
}

impl TableStatus {
    /// The word that every binding uses.
    pub fn as_str(&self) -> &'static str {
        match self {
            TableStatus::Loading => "loading",
            TableStatus::Live => "live",
            TableStatus::Stale => "stale",
            TableStatus::Failed { .. } => "failed",
        }
    }
}

/// One row's change. Rows are JSON objects of their columns. `Debug` leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct RowChange {
    /// What happened.
    pub event: RowOp,
    /// The row after it; none of a delete.
    pub new: Option<Arc<str>>,
    /// The row before it; none of an insert.
    pub old: Option<Arc<str>>,
    /// How it came about.
    pub why: Why,
}

impl std::fmt::Debug for RowChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowChange")
            .field("event", &self.event)
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

/// How a row's change came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The database committed it.
    Commit,
    /// The row was there before, and now belongs to what was asked for.
    MovedIn,
    /// The row is still there, and no longer belongs to what was asked for.
    MovedOut,
    /// It was found by comparing with a new snapshot; there may have been several changes, or none
    /// for that row alone.
    Resync,
}

impl Why {
    /// The word that every binding uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Commit => "commit",
            Why::MovedIn => "moved_in",
            Why::MovedOut => "moved_out",
            Why::Resync => "resync",
        }
    }
}
