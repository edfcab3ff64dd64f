//! Live tables for Kotlin, Swift and Python.

use std::sync::Arc;
use tidewire_core::tables::{RowEvents, Why};

use tidewire_core::wire::RowOp;

use super::error::TidewireError;
use super::numbers::{large, small};
use crate::error::{AwaitTxError, TableOpenError};

/// The query of a view of a table.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TableQuery {
    /// The table's name at the server.
    pub table: String,
    /// Which rows, such as `state=eq.open&priority=gt.3`; empty for all rows that this user may
    /// see.
    #[uniffi(default = "")]
    pub filter: String,
    /// Which columns; none for all columns that this user may see.
    #[uniffi(default = None)]
    pub select: Option<Vec<String>>,
    /// The order of the rows, such as `priority.desc,name.asc.nullsfirst`; empty: by the key.
    #[uniffi(default = "")]
    pub order: String,
    /// The maximum number of rows in that order.
    #[uniffi(default = None)]
    pub limit: Option<i32>,
    /// Whether inserts are emitted.
    #[uniffi(default = true)]
    pub inserts: bool,
    /// Whether updates are emitted.
    #[uniffi(default = true)]
    pub updates: bool,
    /// Whether deletes are emitted.
    #[uniffi(default = true)]
    pub deletes: bool,
}

/// Tables that many applications have, by their usual names.
#[derive(uniffi::Enum)]
pub enum ReadyTable {
    /// The messages of a session: `chat_messages` by `session_id`, ordered by `created_at`. Emits
    /// inserts.
    Messages,
    /// One session: `chat_sessions` by `id`. Emits updates.
    Session,
    /// All rules of the context: `context_rules`. Emits all changes.
    ContextRules,
    /// A user's configurations of widgets: `widget_configurations` by `user_id`. Emits all changes.
    WidgetConfigurations,
    /// A user's notifications: `notifications` by `user_id`, the newest first. Emits inserts.
    Notifications,
}

/// The query of a ready-made table, for the session or user `of`. `column` replaces the name of the
/// column that `of` is compared with.
#[uniffi::export(default(column = None))]
pub fn ready_table(
    ready: ReadyTable,
    of: String,
    column: Option<String>,
) -> Result<TableQuery, TidewireError> {
    let ready = match ready {
        ReadyTable::Messages => tidewire_core::tables::ReadyTable::Messages,
        ReadyTable::Session => tidewire_core::tables::ReadyTable::Session,
        ReadyTable::ContextRules => tidewire_core::tables::ReadyTable::ContextRules,
        ReadyTable::WidgetConfigurations => tidewire_core::tables::ReadyTable::WidgetConfigurations,
        ReadyTable::Notifications => tidewire_core::tables::ReadyTable::Notifications,
    };
    let query = ready.query(&of, column.as_deref()).map_err(TableOpenError::Refused)?;
    Ok(TableQuery {
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

/// The status of a view.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TableStatus {
    /// No rows are known yet.
    Loading,
    /// The rows follow the database as changes are committed.
    Live,
    /// The rows may be old: there is no connection, or they are being compared with a new snapshot.
    Stale,
    /// Refused; there are no rows. `at` is the position in the filter, in bytes.
    Failed { code: String, detail: String, at: Option<i32> },
}

/// The kind of a row's change.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum RowEvent {
    /// The row is new.
    Insert,
    /// The row has other values.
    Update,
    /// The row was removed.
    Delete,
}

/// Why a row changed.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum RowWhy {
    /// The database committed the change.
    Commit,
    /// The row existed before and now matches the query.
    MovedIn,
    /// The row still exists and no longer matches the query.
    MovedOut,
    /// The change was found by comparing with a new snapshot.
    Resync,
}

/// One row's change; rows are the JSON texts of objects.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct RowChange {
    /// The kind of change.
    pub event: RowEvent,
    /// The row after the change; none for a delete.
    pub row: Option<String>,
    /// The row before the change; none for an insert.
    pub before: Option<String>,
    /// Why the row changed.
    pub why: RowWhy,
}

/// One change of the list of the rows that are shown, which are the JSON texts of objects. Indexes
/// count from 0 in the list as the changes before left it.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TableListChange {
    /// The list is now this.
    Reset { rows: Vec<String> },
    /// A row was inserted at `index`.
    Insert { index: i32, row: String },
    /// The row at `index` is now this.
    Update { index: i32, row: String },
    /// The row at `from_index` was removed, then inserted at `to_index`.
    Move { from_index: i32, to_index: i32 },
    /// The row at `index` was removed.
    Remove { index: i32 },
}

/// An update of a view.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TableUpdate {
    /// The status changed.
    Status { status: TableStatus },
    /// All rows: those that are shown, and those beyond the limit.
    Rows { key: Vec<String>, rows: Vec<String>, beyond: Vec<String> },
    /// Rows changed together: the changes of the list of shown rows, and the changed rows. Without
    /// `tx` they were found by comparing with a new snapshot.
    Changes { list: Vec<TableListChange>, changes: Vec<RowChange>, tx: Option<String>, at_ms: Option<i64> },
    /// A transaction that was waited for has been applied. If `code` is set, the wait failed.
    Seen { tx: String, code: Option<String> },
}

impl From<TableQuery> for tidewire_core::tables::TableQuery {
    fn from(query: TableQuery) -> tidewire_core::tables::TableQuery {
        tidewire_core::tables::TableQuery {
            table: query.table,
            filter: query.filter,
            select: query.select,
            order: query.order,
            limit: query.limit.map(|limit| usize::try_from(limit).unwrap_or(0)),
            events: RowEvents { insert: query.inserts, update: query.updates, delete: query.deletes },
        }
    }
}

impl From<tidewire_core::tables::TableStatus> for TableStatus {
    fn from(state: tidewire_core::tables::TableStatus) -> TableStatus {
        match state {
            tidewire_core::tables::TableStatus::Loading => TableStatus::Loading,
            tidewire_core::tables::TableStatus::Live => TableStatus::Live,
            tidewire_core::tables::TableStatus::Stale => TableStatus::Stale,
            tidewire_core::tables::TableStatus::Failed { code, message, at } => {
                TableStatus::Failed { code, detail: message, at: at.map(small) }
            }
        }
    }
}

impl From<tidewire_core::tables::RowChange> for RowChange {
    fn from(change: tidewire_core::tables::RowChange) -> RowChange {
        RowChange {
            event: match change.event {
                RowOp::Insert => RowEvent::Insert,
                RowOp::Update => RowEvent::Update,
                RowOp::Delete => RowEvent::Delete,
            },
            row: change.new.as_deref().map(str::to_owned),
            before: change.old.as_deref().map(str::to_owned),
            why: match change.why {
                Why::Commit => RowWhy::Commit,
                Why::MovedIn => RowWhy::MovedIn,
                Why::MovedOut => RowWhy::MovedOut,
                Why::Resync => RowWhy::Resync,
            },
        }
    }
}

pub(super) fn texts(rows: &[Arc<str>]) -> Vec<String> {
    rows.iter().map(|row| row.to_string()).collect()
}

/// None for changes that only rows of dialogs have.
fn list_change(change: tidewire_core::Change<Arc<str>>) -> Option<TableListChange> {
    Some(match change {
        tidewire_core::Change::Reset(rows) => TableListChange::Reset { rows: texts(&rows) },
        tidewire_core::Change::Insert { index, row } => {
            TableListChange::Insert { index: small(index), row: row.to_string() }
        }
        tidewire_core::Change::Update { index, row } => {
            TableListChange::Update { index: small(index), row: row.to_string() }
        }
        tidewire_core::Change::Move { from, to } => {
            TableListChange::Move { from_index: small(from), to_index: small(to) }
        }
        tidewire_core::Change::Remove { index } => TableListChange::Remove { index: small(index) },
        tidewire_core::Change::Append { .. } => return None,
    })
}

impl From<tidewire_core::tables::TableUpdate> for TableUpdate {
    fn from(update: tidewire_core::tables::TableUpdate) -> TableUpdate {
        match update {
            tidewire_core::tables::TableUpdate::Status(status) => {
                TableUpdate::Status { status: status.into() }
            }
            tidewire_core::tables::TableUpdate::Rows(all) => {
                TableUpdate::Rows { key: all.key, rows: texts(&all.rows), beyond: texts(&all.beyond) }
            }
            tidewire_core::tables::TableUpdate::Changes { list, changes, tx, at } => TableUpdate::Changes {
                list: list.into_iter().filter_map(list_change).collect(),
                changes: changes.into_iter().map(RowChange::from).collect(),
                tx,
                at_ms: at.map(large),
            },
            tidewire_core::tables::TableUpdate::Seen { tx, code } => TableUpdate::Seen { tx, code },
        }
    }
}

impl From<TableOpenError> for TidewireError {
    fn from(error: TableOpenError) -> TidewireError {
        let (code, detail) = (error.code().to_owned(), error.to_string());
        match error {
            TableOpenError::Closed => TidewireError::Closed { code, detail },
            TableOpenError::Refused(_) => TidewireError::Refused { code, detail, retryable: false },
        }
    }
}

impl From<AwaitTxError> for TidewireError {
    fn from(error: AwaitTxError) -> TidewireError {
        let (code, detail) = (error.code().to_owned(), error.to_string());
        match error {
            AwaitTxError::Closed => TidewireError::Closed { code, detail },
            AwaitTxError::Refused(_) => TidewireError::Refused { code, detail, retryable: false },
            AwaitTxError::NotSeen { .. } => TidewireError::Refused { code, detail, retryable: true },
        }
    }
}
