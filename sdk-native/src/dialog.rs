//! A dialog: its rows, and the methods that write.

use std::sync::Arc;

use tidewire_core::wire::DIALOG_PREFIX;
use tidewire_core::{Offset, OpId};
use tokio::sync::watch;

use crate::dialog_state::DialogState;
use crate::error::{OpError, SendError, SubscribeError};
use crate::hub::{Hub, Rows};
use crate::people::People;
use crate::presence::Presence;
use crate::promise::Promise;
use crate::reads::Reads;
use crate::shared::{Closed, Shared};
use tidewire_core::wire::Step as HandOffStep;

/// A handle of a dialog, which is kept up to date as long as a handle exists. Cheap to clone.
#[derive(Clone)]
pub struct Dialog {
    handle: Arc<Handle>,
}

/// A holder of the dialog in the core; dropping it removes the holder.
struct Handle {
    shared: Arc<Shared>,
    id: String,
    presence: Presence,
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
        let (number, (rows, state)) = shared.command(|core, hub, now| {
            core.open_dialog(now, id)?;
            Ok::<_, SubscribeError>((hub.number(), hub.add_dialog(id)))
        })??;
        let presence = Presence::new(shared, format!("{DIALOG_PREFIX}{id}"), number);
        let handle = Handle { shared: Arc::clone(shared), id: id.to_owned(), presence, rows, state };
        Ok(Dialog { handle: Arc::new(handle) })
    }

    /// The dialog's id.
    pub fn id(&self) -> &str {
        &self.handle.id
    }

    /// The current rows. They contain a message as soon as [`Dialog::send`] returns.
    pub fn rows(&self) -> Rows {
        self.handle.rows.borrow().clone()
    }

    /// The rows, as a channel that also signals changes. It ends when the client is closed.
    pub fn watch(&self) -> watch::Receiver<Rows> {
        self.handle.rows.clone()
    }

    /// The state of the dialog: whether its rows are up to date, which answer is growing, how many
    /// events were skipped.
    pub fn state(&self) -> DialogState {
        self.handle.state.borrow().clone()
    }

    /// The state, as a channel that also signals changes. It ends when the client is closed.
    pub fn watch_state(&self) -> watch::Receiver<DialogState> {
        self.handle.state.clone()
    }

    /// Sends a message, as soon as there is a connection. With a store it is sent even after a
    /// restart of the process.
    ///
    /// # Errors
    /// [`SendError`]; then the message is not sent.
    pub fn send(&self, text: &str) -> Result<Outgoing, SendError> {
        Outgoing::text(&self.handle.shared, &self.handle.id, text)
    }

    /// Stops the newest answer under way; its text so far stays.
    ///
    /// # Errors
    /// [`SendError`] with the code `run_not_found` if there is none.
    pub fn stop(&self) -> Result<Outgoing, SendError> {
        self.handle.shared.command(|core, hub, now| {
            let id = core.stop(now, &self.handle.id)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// Takes a step of a hand-off: asks for an operator, takes the dialog, gives it on or back, or
    /// closes it. [`DialogState::handler`] says who answers. Asking for an operator waits for the next
    /// connection like a message; any other step is given up with the client. A step that the dialog's
    /// state does not allow is refused by the server with the code `handoff_conflict`.
    ///
    /// # Errors
    /// [`SendError`]; then nothing is sent.
    pub fn hand_off(&self, step: &HandOffStep) -> Result<Outgoing, SendError> {
        self.handle.shared.command(|core, hub, now| {
            let id = core.hand_off(now, &self.handle.id, step)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// Requests older rows, of at most `most` events (1 to 256). They come before the first row, and
    /// the rows that are shown stay as they are; [`DialogState::has_older`] says whether there may
    /// be any.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn load_older(&self, most: u64) -> Result<(), SubscribeError> {
        let channel = self.handle.presence.channel();
        self.handle.shared.command(|core, _, now| core.load_older(now, channel, None, most))??;
        Ok(())
    }

    /// Follows who is in the dialog and what they do there. Several followers may exist at a time.
    ///
    /// # Errors
    /// [`SubscribeError`]. If the channel's rule has no people, [`People::state`] says so with the
    /// code `people_off`.
    pub fn people(&self) -> Result<People, SubscribeError> {
        Ok(People::new(self.handle.presence.follow()?))
    }

    /// Says that this client's user has read the dialog up to the event at this offset; `None` for the
    /// newest one that is here. A position never goes back. The server is told at most once a
    /// second, and what it could not be told yet waits, with a store also for the next start.
    ///
    /// # Errors
    /// [`SendError`] with the code `bad_offset` if the event is not here yet, or `closed`.
    pub fn mark_read(&self, offset: Option<Offset>) -> Result<(), SendError> {
        self.handle.presence.mark_read(offset)
    }

    /// Follows how far the dialog was read: what is unread, and how far others have read. Several
    /// followers may exist at a time.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn reads(&self) -> Result<Reads, SubscribeError> {
        Ok(Reads::new(self.handle.presence.follow()?))
    }

    /// Says that this client's user is writing, or has stopped; others see it as a lease `typing`.
    /// Call it with each change of the text: it is told at most every 3 s, and after 6 s without
    /// another call, or with the user's next message, it ends. Without a connection it does nothing.
    ///
    /// # Errors
    /// [`SendError`] with the code `closed`.
    pub fn typing(&self, on: bool) -> Result<(), SendError> {
        self.handle.presence.typing(on)
    }

    /// Holds a lease: something of the application's own that the user is or does here, such as
    /// `status` or `viewing`, which others see. `kind` has 1 to 64 bytes and is neither `here` nor
    /// `typing`; `body` is the JSON text of an object of up to 1,024 bytes, and a newer one replaces
    /// it. The lease lasts until each handle that holds it has released it or is gone, also over
    /// lost connections. A client holds up to 8 in a channel.
    ///
    /// # Errors
    /// [`SendError`]; then nothing changes.
    pub fn hold(&self, kind: &str, body: &str) -> Result<(), SendError> {
        self.handle.presence.hold(kind, body)
    }

    /// Gives a lease up, unless another handle of the dialog holds it. Does nothing if this handle
    /// does not hold it.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn release(&self, kind: &str) -> Result<(), SendError> {
        self.handle.presence.release(kind)
    }

    /// Sends a failed message again. False if there is no failed message with this id.
    pub fn retry(&self, id: &str) -> bool {
        self.handle.shared.command(|core, _, now| core.retry(now, &id.into())).unwrap_or(false)
    }

    /// Discards a message that waits or has failed. False if there is none with this id, or if it
    /// may have reached the server, so that nobody can say whether it arrived.
    pub fn discard(&self, id: &str) -> bool {
        self.handle.shared.command(|core, _, now| core.discard(now, &id.into())).unwrap_or(false)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A closed client has no dialogs.
        let _ = self.shared.command(|core, hub, now| {
            hub.remove_dialog(&self.id);
            core.close_dialog(now, &self.id);
        });
    }
}

/// A message that was sent. Cheap to clone. Each wait can be repeated; dropping this does not
/// affect the message.
#[derive(Debug, Clone)]
pub struct Outgoing {
    id: OpId,
    promise: Promise,
}

impl Outgoing {
    pub(crate) fn new(hub: &mut Hub, id: OpId) -> Outgoing {
        Outgoing { promise: hub.add_promise(&id), id }
    }

    pub(crate) fn text(shared: &Shared, dialog: &str, text: &str) -> Result<Outgoing, SendError> {
        shared.command(|core, hub, now| {
            let id = core.send_text(now, dialog, text)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// The message's id, which is also its row's.
    pub fn id(&self) -> &OpId {
        &self.id
    }

    /// Waits until the message survives the end of this program: it is in the store on disk, or the
    /// server has committed it. With [`Storage::Memory`](crate::Storage::Memory), and in the
    /// session lane, only the latter counts.
    ///
    /// # Errors
    /// [`OpError`]: refused, discarded, or the client was closed before the message was safe. While
    /// the disk is full this waits until the message is stored or committed after all; the row is
    /// `saving` meanwhile.
    pub async fn stored(&self) -> Result<(), OpError> {
        self.promise.stored().await
    }

    /// Waits until the server has committed the message, and returns its offset in the channel.
    ///
    /// # Errors
    /// [`OpError`]: refused, discarded, or not acknowledged before the client was closed.
    pub async fn acked(&self) -> Result<Offset, OpError> {
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
