//! The updates of a view, for the application.

use crate::list::Change;
use crate::wire::RowOp;
use std::sync::Arc;

/// An update of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEvent {
    /// The number that [`crate::Client::open_table`] returned.
    pub view: u32,
    /// The update.
    pub update: TableUpdate,
}

/// An update of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableUpdate {
    /// The status changed.
    Status(TableStatus),
    /// All rows. They are empty after another user signed in or the server refused the table.
    Rows(TableRows),
    /// Rows changed together.
    Changes {
        /// The changes of the list of shown rows, to be applied in order.
        list: Vec<Change<Arc<str>>>,
        /// The changed rows, whether they are shown or not, of the kinds in the query.
        changes: Vec<RowChange>,
        /// The transaction's id in the database; none if the changes were found by comparing with a
        /// new snapshot.
        tx: Option<String>,
        /// When it was committed, ms since the Unix epoch.
        at: Option<u64>,
    },
    /// A transaction that was waited for has been applied; its changes came before this. Or the
    /// wait failed.
    Seen {
        /// The transaction.
        tx: String,
        /// Why the wait failed: `unknown_tx`, `aborted_tx`, `timeout`, or the code with which the
        /// subscription failed.
        code: Option<String>,
    },
}

/// The rows of a view, each the JSON text of an object of its columns. `Debug` shows their number
/// only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TableRows {
    /// The names of the columns of the table's primary key.
    pub key: Vec<String>,
    /// The rows that are shown, in the view's order and up to its limit.
    pub rows: Vec<Arc<str>>,
    /// The rows beyond the limit.
    pub beyond: Vec<Arc<str>>,
}

impl TableRows {
    /// All rows, whatever the limit.
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

/// The status of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableStatus {
    /// No rows are known yet.
    Loading,
    /// The rows follow the database as changes are committed.
    Live,
    /// The rows may be old: there is no connection, or they are being compared with a new snapshot.
    Stale,
    /// Refused; there are no rows.
    Failed {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
        /// The position in the filter, in bytes of its canonical text.
        at: Option<u64>,
    },
}

impl TableStatus {
    /// The name in every language.
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
    /// The kind of change.
    pub event: RowOp,
    /// The row after the change; none for a delete.
    pub new: Option<Arc<str>>,
    /// The row before the change; none for an insert.
    pub old: Option<Arc<str>>,
    /// Why the row changed.
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

/// Why a row changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The database committed the change.
    Commit,
    /// The row existed before and now matches the query.
    MovedIn,
    /// The row still exists and no longer matches the query.
    MovedOut,
    /// The change was found by comparing with a new snapshot. It may stand for several changes.
    Resync,
}

impl Why {
    /// The name in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Commit => "commit",
            Why::MovedIn => "moved_in",
            Why::MovedOut => "moved_out",
            Why::Resync => "resync",
        }
    }
}
