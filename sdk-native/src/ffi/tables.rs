//! Live tables for Kotlin, Swift and Python.

use std::sync::Arc;
use tidewire_core::tables::{ReadyTable, RowChange, RowEvents, TableQuery, TableStatus, TableUpdate, Why};

use tidewire_core::Change;
use tidewire_core::wire::RowOp;

use super::error::TwError;
use super::numbers::{large, small};
use crate::error::{AwaitTxError, TableOpenError};

/// What to ask of a table.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TwTableQuery {
    /// The table, by the name that the server gave it.
    pub table: String,
    /// Which rows, such as `state=eq.open&priority=gt.3`; empty for all that this user may see.
    #[uniffi(default = "")]
    pub filter: String,
    /// Which columns; none for all that this user may see.
    #[uniffi(default = None)]
    pub select: Option<Vec<String>>,
    /// How the rows are ordered, such as `priority.desc,name.asc.nullsfirst`; empty: by the key.
    #[uniffi(default = "")]
    pub order: String,
    /// Only the first so many rows in that order.
    #[uniffi(default = None)]
    pub limit: Option<i32>,
    /// Whether new rows are told.
    #[uniffi(default = true)]
    pub inserts: bool,
    /// Whether rows with other values are told.
    #[uniffi(default = true)]
    pub updates: bool,
    /// Whether rows that are gone are told.
    #[uniffi(default = true)]
    pub deletes: bool,
}

/// Tables that many applications have, by the names that they mostly have.
#[derive(uniffi::Enum)]
pub enum TwReadyTable {
    /// The messages of a session: `chat_messages` by `session_id`, in the order of `created_at`;
    /// new ones are told.
    Messages,
    /// One session: `chat_sessions` by `id`; its changes are told.
    Session,
    /// All rules of the context: `context_rules`; everything is told.
    ContextRules,
    /// A user's configurations of widgets: `widget_configurations` by `user_id`; everything is
    /// told.
    WidgetConfigurations,
    /// A user's notifications: `notifications` by `user_id`, the newest first; new ones are told.
    Notifications,
}

/// What to ask of such a table, of the session or user `of`. `column` is the name of the column
/// that says whose the rows are, if it has another one.
#[uniffi::export(default(column = None))]
pub fn ready_table(ready: TwReadyTable, of: String, column: Option<String>) -> Result<TwTableQuery, TwError> {
    let ready = match ready {
        TwReadyTable::Messages => ReadyTable::Messages,
        TwReadyTable::Session => ReadyTable::Session,
        TwReadyTable::ContextRules => ReadyTable::ContextRules,
        TwReadyTable::WidgetConfigurations => ReadyTable::WidgetConfigurations,
        TwReadyTable::Notifications => ReadyTable::Notifications,
    };
    let query = ready.query(&of, column.as_deref()).map_err(TableOpenError::Refused)?;
    Ok(TwTableQuery {
        table: query.table,
        filter: query.filter,
        select: query.select,
        order: query.order,
        limit: None,
        inserts: query.events.insert,
        updates: query.events.update,
        deletes: query.events.delete,
    })
}

/// How far a view's rows can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwTableStatus {
    /// None are known yet.
    Loading,
    /// They are what the database has.
    Live,
    /// They are what the database had: there is no connection, or they are just being compared.
    Stale,
    /// Refused; there are none. `at` is a place in the filter, in bytes.
    Failed { code: String, detail: String, at: Option<i32> },
}

/// What happened to a row.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum TwRowEvent {
    /// It is new.
    Insert,
    /// It has other values.
    Update,
    /// It is gone.
    Delete,
}

/// How a row's change came about.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum TwRowWhy {
    /// The database committed it.
    Commit,
    /// The row was there before, and now belongs to what was asked for.
    MovedIn,
    /// The row is still there, and no longer belongs to what was asked for.
    MovedOut,
    /// It was found by comparing with a new snapshot.
    Resync,
}

/// One row's change; rows are the JSON texts of objects.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TwRowChange {
    /// What happened.
    pub event: TwRowEvent,
    /// The row after it.
    pub row: Option<String>,
    /// The row before it.
    pub before: Option<String>,
    /// How it came about.
    pub why: TwRowWhy,
}

/// One change of the list of the rows that are shown, which are the JSON texts of objects. Indexes
/// count from 0 in the list as the changes before left it.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwTableListChange {
    /// The list is now this.
    Reset { rows: Vec<String> },
    /// A row was inserted before what stood at `index`.
    Insert { index: i32, row: String },
    /// The row at `index` is now this.
    Update { index: i32, row: String },
    /// The row at `from` was taken out, and put before what stood at `to` then.
    Move { from: i32, to: i32 },
    /// The row at `index` is gone.
    Remove { index: i32 },
}

/// Something that a view of a table should know.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwTableUpdate {
    /// How far the rows can be trusted changed.
    Status { status: TwTableStatus },
    /// All rows anew: those that are shown, and those beyond the limit.
    Rows { key: Vec<String>, rows: Vec<String>, beyond: Vec<String> },
    /// Rows changed, all at once: what changed in the list of those that are shown, and what
    /// happened to which row. Without `tx` it was found by comparing with a new snapshot.
    Changes {
        list: Vec<TwTableListChange>,
        changes: Vec<TwRowChange>,
        tx: Option<String>,
        at_ms: Option<i64>,
    },
    /// A transaction that was waited for has been applied, or not: then `code` says why.
    Seen { tx: String, code: Option<String> },
}

impl From<TwTableQuery> for TableQuery {
    fn from(query: TwTableQuery) -> TableQuery {
        TableQuery {
            table: query.table,
            filter: query.filter,
            select: query.select,
            order: query.order,
            limit: query.limit.map(|limit| usize::try_from(limit).unwrap_or(0)),
            events: RowEvents { insert: query.inserts, update: query.updates, delete: query.deletes },
        }
    }
}

impl From<TableStatus> for TwTableStatus {
    fn from(state: TableStatus) -> TwTableStatus {
        match state {
            TableStatus::Loading => TwTableStatus::Loading,
            TableStatus::Live => TwTableStatus::Live,
            TableStatus::Stale => TwTableStatus::Stale,
            TableStatus::Failed { code, message, at } => {
                TwTableStatus::Failed { code, detail: message, at: at.map(small) }
            }
        }
    }
}

impl From<RowChange> for TwRowChange {
    fn from(change: RowChange) -> TwRowChange {
        TwRowChange {
            event: match change.event {
                RowOp::Insert => TwRowEvent::Insert,
                RowOp::Update => TwRowEvent::Update,
                RowOp::Delete => TwRowEvent::Delete,
            },
            row: change.new.as_deref().map(str::to_owned),
            before: change.old.as_deref().map(str::to_owned),
            why: match change.why {
                Why::Commit => TwRowWhy::Commit,
                Why::MovedIn => TwRowWhy::MovedIn,
                Why::MovedOut => TwRowWhy::MovedOut,
                Why::Resync => TwRowWhy::Resync,
            },
        }
    }
}

pub(super) fn texts(rows: &[Arc<str>]) -> Vec<String> {
    rows.iter().map(|row| row.to_string()).collect()
}

/// None of what only rows of dialogs do.
fn list_change(change: Change<Arc<str>>) -> Option<TwTableListChange> {
    Some(match change {
        Change::Reset(rows) => TwTableListChange::Reset { rows: texts(&rows) },
        Change::Insert { index, row } => {
            TwTableListChange::Insert { index: small(index), row: row.to_string() }
        }
        Change::Update { index, row } => {
            TwTableListChange::Update { index: small(index), row: row.to_string() }
        }
        Change::Move { from, to } => TwTableListChange::Move { from: small(from), to: small(to) },
        Change::Remove { index } => TwTableListChange::Remove { index: small(index) },
        Change::Append { .. } => return None,
    })
}

impl From<TableUpdate> for TwTableUpdate {
    fn from(update: TableUpdate) -> TwTableUpdate {
        match update {
            TableUpdate::Status(status) => TwTableUpdate::Status { status: status.into() },
            TableUpdate::Rows(all) => {
                TwTableUpdate::Rows { key: all.key, rows: texts(&all.rows), beyond: texts(&all.beyond) }
            }
            TableUpdate::Changes { list, changes, tx, at } => TwTableUpdate::Changes {
                list: list.into_iter().filter_map(list_change).collect(),
                changes: changes.into_iter().map(TwRowChange::from).collect(),
                tx,
                at_ms: at.map(large),
            },
            TableUpdate::Seen { tx, code } => TwTableUpdate::Seen { tx, code },
        }
    }
}

impl From<TableOpenError> for TwError {
    fn from(error: TableOpenError) -> TwError {
        let (code, detail) = (error.code().to_owned(), error.to_string());
        match error {
            TableOpenError::Closed => TwError::Closed { code, detail },
            TableOpenError::Refused(_) => TwError::Refused { code, detail, retryable: false },
        }
    }
}

impl From<AwaitTxError> for TwError {
    fn from(error: AwaitTxError) -> TwError {
        let (code, detail) = (error.code().to_owned(), error.to_string());
        match error {
            AwaitTxError::Closed => TwError::Closed { code, detail },
            AwaitTxError::Refused(_) => TwError::Refused { code, detail, retryable: false },
            AwaitTxError::NotSeen { .. } => TwError::Refused { code, detail, retryable: true },
        }
    }
}
