//! A dialog: its rows, and what is written into it.

use std::sync::Arc;

use tidewire_core::RowState;
use tokio::sync::{oneshot, watch};

use crate::error::{OpError, SendError, SubscribeError};
use crate::hub::{Rows, Settled};
use crate::shared::{Closed, Shared};

/// A dialog that is kept up to date for as long as a handle to it exists. Cheap to clone.
#[derive(Clone)]
pub struct Dialog {
    handle: Arc<Handle>,
}

/// Open for the server as long as this lives.
struct Handle {
    shared: Arc<Shared>,
    id: String,
    rows: watch::Receiver<Rows>,
}

impl std::fmt::Debug for Dialog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialog").field("id", &self.handle.id).finish_non_exhaustive()
    }
}

impl Dialog {
    pub(crate) fn open(shared: &Arc<Shared>, id: &str) -> Result<Dialog, SubscribeError> {
        let rows = shared.command(|core, hub, now| {
            if hub.add_dialog(id)
                && let Err(error) = core.open_dialog(now, id)
            {
                hub.remove_dialog(id);
                return Err(SubscribeError::from(error));
            }
            hub.watch_dialog(id).ok_or(SubscribeError::Closed)
        })??;
        Ok(Dialog { handle: Arc::new(Handle { shared: Arc::clone(shared), id: id.to_owned(), rows }) })
    }

    /// The dialog's id.
    pub fn id(&self) -> &str {
        &self.handle.id
    }

    /// The rows as they are. A message is among them when [`Dialog::send`] returns.
    pub fn rows(&self) -> Rows {
        self.handle.rows.borrow().clone()
    }

    /// The newest rows, and a way to wait for newer ones. It ends when the client is closed.
    pub fn watch(&self) -> watch::Receiver<Rows> {
        self.handle.rows.clone()
    }

    /// Writes a message. It is sent as soon as possible, after a restart of the process too if the client has a store.
    ///
    /// # Errors
    /// [`SendError`]; the message is not taken then.
    pub fn send(&self, text: &str) -> Result<Outgoing, SendError> {
        Outgoing::text(&self.handle.shared, &self.handle.id, text)
    }

    /// Asks the server to end the newest answer that is still growing; `None` when there is none.
    ///
    /// # Errors
    /// [`SendError`]; nothing is asked then.
    pub fn stop(&self) -> Result<Option<Outgoing>, SendError> {
        let rows = self.rows();
        let Some(run) = rows.iter().rev().find(|row| row.state == RowState::Streaming) else {
            return Ok(None);
        };
        self.handle.shared.command(|core, hub, now| {
            let id = core.stop(now, &self.handle.id, &run.id)?;
            Ok(Some(Outgoing { settled: hub.add_promise(&id), id }))
        })?
    }

    /// Sends a failed message again; false when there is no failed message of this id.
    pub fn retry(&self, id: &str) -> bool {
        self.handle.shared.command(|core, _, now| core.retry(now, id)).unwrap_or(false)
    }

    /// Gives a message up that is not acknowledged; false when there is none of this id. One that was already sent may
    /// still have reached the server, and then comes back as a row.
    pub fn discard(&self, id: &str) -> bool {
        self.handle.shared.command(|core, _, now| core.discard(now, id)).unwrap_or(false)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A closed client has nothing to end.
        let _ = self.shared.command(|core, hub, now| {
            if hub.remove_dialog(&self.id) {
                core.close_dialog(now, &self.id);
            }
        });
    }
}

/// A message on its way.
#[derive(Debug)]
pub struct Outgoing {
    pub(crate) id: String,
    pub(crate) settled: oneshot::Receiver<Settled>,
}

impl Outgoing {
    pub(crate) fn text(shared: &Shared, dialog: &str, text: &str) -> Result<Outgoing, SendError> {
        shared.command(|core, hub, now| {
            let id = core.send_text(now, dialog, text)?;
            Ok(Outgoing { settled: hub.add_promise(&id), id })
        })?
    }

    /// Its id, which is its row's too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until the server has committed it, and returns its offset in the channel.
    ///
    /// # Errors
    /// [`OpError`]: refused for now or for good, discarded, or not acknowledged before the client was closed.
    pub async fn acked(self) -> Result<u64, OpError> {
        self.settled.await.unwrap_or(Err(OpError::Closed))
    }
}

impl From<Closed> for SendError {
    fn from(_: Closed) -> SendError {
        SendError::Closed
    }
}

impl From<Closed> for SubscribeError {
    fn from(_: Closed) -> SubscribeError {
        SubscribeError::Closed
    }
}
