//! A dialog: its rows, and what is written into it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::dialog_state::DialogState;
use crate::error::{OpError, SendError, SubscribeError};
use crate::hub::{Hub, Rows};
use crate::promise::Promise;
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
    state: watch::Receiver<DialogState>,
}

impl std::fmt::Debug for Dialog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialog").field("id", &self.handle.id).finish_non_exhaustive()
    }
}

impl Dialog {
    pub(crate) fn open(shared: &Arc<Shared>, id: &str) -> Result<Dialog, SubscribeError> {
        let (rows, state) = shared.command(|core, hub, now| {
            core.open_dialog(now, id)?;
            Ok::<_, SubscribeError>(hub.add_dialog(id))
        })??;
        let handle = Handle { shared: Arc::clone(shared), id: id.to_owned(), rows, state };
        Ok(Dialog { handle: Arc::new(handle) })
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

    /// How the dialog stands: whether its rows are those of now, which answer is growing, what was
    /// left out.
    pub fn state(&self) -> DialogState {
        self.handle.state.borrow().clone()
    }

    /// The newest state, and a way to wait for newer ones. It ends when the client is closed.
    pub fn watch_state(&self) -> watch::Receiver<DialogState> {
        self.handle.state.clone()
    }

    /// Writes a message. It is sent as soon as possible, after a restart of the process too if the
    /// client has a store.
    ///
    /// # Errors
    /// [`SendError`]; the message is not taken then.
    pub fn send(&self, text: &str) -> Result<Outgoing, SendError> {
        Outgoing::text(&self.handle.shared, &self.handle.id, text)
    }

    /// Asks the server to end the newest answer under way; what it said so far stays.
    ///
    /// # Errors
    /// [`SendError`] with the code `run_not_found` if there is none.
    pub fn stop(&self) -> Result<Outgoing, SendError> {
        self.handle.shared.command(|core, hub, now| {
            let id = core.stop(now, &self.handle.id)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// Sends a failed message again; false when there is no failed message of this id.
    pub fn retry(&self, id: &str) -> bool {
        self.handle.shared.command(|core, _, now| core.retry(now, id)).unwrap_or(false)
    }

    /// Gives a message up that waits or failed. False when there is none of this id, or when it may
    /// have reached the server: then nobody can say whether it arrived.
    pub fn discard(&self, id: &str) -> bool {
        self.handle.shared.command(|core, _, now| core.discard(now, id)).unwrap_or(false)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A closed client has nothing to end.
        let _ = self.shared.command(|core, hub, now| {
            hub.remove_dialog(&self.id);
            core.close_dialog(now, &self.id);
        });
    }
}

/// A message on its way. Cheap to clone; each wait can be repeated, and dropping it changes nothing
/// about the message.
#[derive(Debug, Clone)]
pub struct Outgoing {
    id: String,
    promise: Promise,
}

impl Outgoing {
    pub(crate) fn new(hub: &mut Hub, id: String) -> Outgoing {
        Outgoing { promise: hub.add_promise(&id), id }
    }

    pub(crate) fn text(shared: &Shared, dialog: &str, text: &str) -> Result<Outgoing, SendError> {
        shared.command(|core, hub, now| {
            let id = core.send_text(now, dialog, text)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// Its id, which is its row's too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until it can't be lost by the end of this program any more: it is in the store on
    /// disk, or the server has it. With [`Storage::Memory`](crate::Storage::Memory), and for what
    /// is sent in the session lane, only the latter counts.
    ///
    /// # Errors
    /// [`OpError`]: refused, discarded, or the client was closed before it was safe. While a disk is full it waits until
    /// the message is stored or committed after all; the row says `saving` meanwhile.
    pub async fn stored(&self) -> Result<(), OpError> {
        self.promise.stored().await
    }

    /// Waits until the server has committed it, and returns its offset in the channel.
    ///
    /// # Errors
    /// [`OpError`]: refused for now or for good, discarded, or not acknowledged before the client was closed.
    pub async fn acked(&self) -> Result<u64, OpError> {
        self.promise.settled().await
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
