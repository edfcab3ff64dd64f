//! A view of a table: its rows, how far they can be trusted, and what happens to them.

use std::sync::Arc;

use tidewire_core::tables::{TableQuery, TableStatus, TableUpdate};

use crate::error::{AwaitTxError, TableOpenError};
use crate::shared::{Closed, Shared};
use crate::table_queue::TableQueue;

/// A view of a table, open for as long as this lives.
pub struct Table {
    shared: Arc<Shared>,
    view: u32,
    updates: Arc<TableQueue>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Table {
    pub(crate) fn open(shared: &Arc<Shared>, query: &TableQuery) -> Result<Table, TableOpenError> {
        let (view, updates) = shared.command(|core, hub, now| {
            let view = core.open_table(now, query)?;
            Ok::<_, TableOpenError>((view, hub.add_table(view)))
        })??;
        Ok(Table { shared: Arc::clone(shared), view, updates })
    }

    /// The rows as they are, each the text of a JSON object, in the view's order and up to its
    /// limit.
    pub fn rows(&self) -> Vec<Arc<str>> {
        self.shared.look(|core| core.table_rows(self.view)).rows
    }

    /// How far the rows can be trusted.
    pub fn status(&self) -> TableStatus {
        self.shared.look(|core| core.table_status(self.view)).unwrap_or(TableStatus::Loading)
    }

    /// Waits for the next update; `None` once the client is closed. Dropping the future loses
    /// nothing. A reader that is too slow gets [`TableUpdate::Rows`] in the place of what was left
    /// out.
    pub async fn next(&mut self) -> Option<TableUpdate> {
        self.updates.next().await
    }

    /// Waits until a transaction of the database has been applied here, so that who wrote by
    /// another way can read it: see
    /// [`tidewire_core::Client::await_tx`]. Offline it waits for a connection.
    ///
    /// # Errors
    /// [`AwaitTxError`].
    pub async fn await_tx(&self, tx: &str) -> Result<(), AwaitTxError> {
        let seen = self.shared.command(|core, hub, now| {
            core.await_tx(now, self.view, tx)?;
            Ok::<_, AwaitTxError>(hub.add_wait(self.view, tx))
        })??;
        seen.await.unwrap_or(Err(AwaitTxError::Closed))
    }
}

/// For bindings, which hear of it by an event.
#[cfg(feature = "ffi")]
impl Table {
    pub(crate) fn view(&self) -> i32 {
        i32::try_from(self.view).unwrap_or(i32::MAX)
    }

    pub(crate) fn ask_for_tx(&self, tx: &str) -> Result<(), AwaitTxError> {
        Ok(self.shared.command(|core, _, now| core.await_tx(now, self.view, tx))??)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // A closed client has nothing to end.
        let _ = self.shared.command(|core, hub, now| {
            hub.remove_table(self.view);
            core.close_table(now, self.view);
        });
    }
}

impl From<Closed> for TableOpenError {
    fn from(_: Closed) -> TableOpenError {
        TableOpenError::Closed
    }
}

impl From<Closed> for AwaitTxError {
    fn from(_: Closed) -> AwaitTxError {
        AwaitTxError::Closed
    }
}
