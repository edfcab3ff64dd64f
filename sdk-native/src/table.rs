//! A view of a table: its rows, its status and its updates.

use std::sync::Arc;

use tidewire_core::tables::{TableQuery, TableStatus, TableUpdate};

use crate::error::{AwaitTxError, TableOpenError};
use crate::shared::{Closed, Shared};
use crate::table_queue::TableQueue;

/// A view of a table. Dropping it closes the view.
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

    /// The current rows, each the text of a JSON object, in the view's order and up to its limit.
    pub fn rows(&self) -> Vec<Arc<str>> {
        self.shared.look(|core| core.table_rows(self.view)).rows
    }

    /// The status of the view.
    pub fn status(&self) -> TableStatus {
        self.shared.look(|core| core.table_status(self.view)).unwrap_or(TableStatus::Loading)
    }

    /// Waits for the next update; `None` once the client is closed. Dropping the future loses
    /// nothing. A reader that is too slow gets [`TableUpdate::Rows`] instead of the updates that
    /// were left out.
    pub async fn next(&mut self) -> Option<TableUpdate> {
        self.updates.next().await
    }

    /// Waits until a transaction of the database has been applied here, so that a write made
    /// directly to the database can be read: see [`tidewire_core::Client::await_tx`]. Offline it
    /// waits for a connection.
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

/// Methods for bindings, which get the updates of a view as events.
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
        // A closed client has no views.
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
