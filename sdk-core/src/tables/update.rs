//! What an application is told of a table that it opened.

use crate::wire::RowOp;

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
    State(TableState),
    /// The rows are known from here on, or are gone because another user signed in: look at all of
    /// them. Changes that are told before the client is polled empty are among them already.
    Rows,
    /// Rows changed, all at once.
    Changes {
        /// In their order; of the kinds that were asked for.
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

/// How far a view's rows can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableState {
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

impl TableState {
    /// The word that every binding uses.
    pub fn as_str(&self) -> &'static str {
        match self {
            TableState::Loading => "loading",
            TableState::Live => "live",
            TableState::Stale => "stale",
            TableState::Failed { .. } => "failed",
        }
    }
}

/// One row's change. Rows are JSON objects of their columns. `Debug` leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct RowChange {
    /// What happened.
    pub event: RowOp,
    /// The row after it; none of a delete.
    pub new: Option<String>,
    /// The row before it; none of an insert.
    pub old: Option<String>,
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
