//! A channel as an object: its items one by one, and the methods that write.

use parking_lot::Mutex;
use std::sync::Arc;

use tidewire_core::Offset;
use tidewire_core::wire::EventFrame;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::error::TidewireError;
use super::events::ChannelState;
use super::numbers::{count, large, place};
use super::people::People;
use super::reads::Reads;
use super::user::User;
use super::{DISPATCH, Outgoing};
use crate::channel::{Holder, Items};

/// A handle of a channel. Closing or dropping the last one ends the subscription. It does not keep
/// the client open.
#[derive(uniffi::Object)]
pub struct Channel {
    name: String,
    /// None once it is closed.
    holder: Mutex<Option<Holder>>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<crate::ChannelItem>>,
    dispatch: AbortHandle,
}

/// An event of a channel. Its text form leaves out what people wrote.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct ChannelEvent {
    /// The kind.
    pub kind: String,
    /// The JSON text of an object.
    pub body: String,
    /// The id under which it was published.
    pub id: String,
    /// Its place in the channel.
    pub offset: i64,
    /// When it was committed, ms since the Unix epoch.
    pub at_ms: i64,
    /// The author.
    pub by: User,
}

/// An item of a channel. Its text form leaves out what people wrote.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum ChannelItem {
    /// The next event. Its offset is that of the event before plus one, unless a reset or a lag is
    /// between them.
    Event { event: ChannelEvent },
    /// The answer to `load_older`: the events just before this offset, the oldest first, and whether
    /// there may be more before them. True without events: the request was dropped, because the
    /// channel begins anew or may not be read.
    Older { before: i64, events: Vec<ChannelEvent>, more: bool },
    /// The subscription changed.
    State { state: ChannelState },
    /// Somebody sent an ephemeral signal; `body` is the JSON text of an object.
    Signal { kind: String, key: Option<String>, body: String, by: User },
    /// The reader was too slow: this many items were left out here.
    Lagged { missed: i64 },
}

#[uniffi::export]
impl Channel {
    /// The channel's name.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Waits for the next item; none once the channel or the client is closed. One reader at a
    /// time. A cancelled call loses no items.
    pub async fn next(&self) -> Option<ChannelItem> {
        let item = self.inbox.lock().await.recv().await?;
        self.holder.lock().is_some().then(|| item.into())
    }

    /// Publishes an event, as soon as there is a connection; `body` is the JSON text of an object.
    /// With a store it is sent even after a restart of the process, and it is committed once. If the
    /// server refuses it, `acked` fails, and it is discarded; in a dialog, a refused `message` has a
    /// row that can be retried.
    pub fn publish(&self, kind: String, body: String) -> Result<Arc<Outgoing>, TidewireError> {
        let holder = self.holder.lock();
        let outgoing = holder.as_ref().ok_or_else(closed)?.publish(&kind, &body)?;
        Ok(Arc::new(Outgoing { outgoing }))
    }

    /// Requests at most `most` events (1 to 256) from before an offset, by default before the newest
    /// ones that this client knows of. They come as `Older` with the offset that is returned.
    pub fn load_older(&self, before: Option<i64>, most: i64) -> Result<i64, TidewireError> {
        let before = before.map(|before| Offset(count(before)));
        let holder = self.holder.lock();
        Ok(large(holder.as_ref().ok_or_else(closed)?.load_older(before, count(most))?.0))
    }

    /// Sends an ephemeral signal to the current readers of the channel; `body` is the JSON text of
    /// an object. A newer signal of the same kind and key replaces one that still waits.
    pub fn signal(&self, kind: String, key: Option<String>, body: String) -> Result<(), TidewireError> {
        let holder = self.holder.lock();
        Ok(holder.as_ref().ok_or_else(closed)?.signal(&kind, key.as_deref(), &body)?)
    }

    /// Follows who is in the channel and what they do there. Each call gives another handle.
    pub fn people(&self) -> Result<Arc<People>, TidewireError> {
        let holder = self.holder.lock();
        Ok(People::new(holder.as_ref().ok_or_else(closed)?.people()?))
    }

    /// Says that this client's user has read the channel up to the event at this offset, by default
    /// up to the newest one that is here. A position never goes back. The server is told at most once
    /// a second, and what it could not be told yet waits, with a store also for the next start. Fails
    /// with `bad_offset` if the event is not here yet.
    #[uniffi::method(default(offset = None))]
    pub fn mark_read(&self, offset: Option<i64>) -> Result<(), TidewireError> {
        let holder = self.holder.lock();
        Ok(holder.as_ref().ok_or_else(closed)?.presence().mark_read(offset.map(place))?)
    }

    /// Follows how far the channel was read. Each call gives another handle.
    pub fn reads(&self) -> Result<Arc<Reads>, TidewireError> {
        let holder = self.holder.lock();
        Ok(Reads::new(holder.as_ref().ok_or_else(closed)?.reads()?))
    }

    /// Says that this client's user is writing, or has stopped. Call it with each change of the
    /// text: others are told at most every 3 s, and after 6 s without another call, or with the
    /// user's next message, it ends. Without a connection it does nothing.
    pub fn typing(&self, on: bool) -> Result<(), TidewireError> {
        let holder = self.holder.lock();
        Ok(holder.as_ref().ok_or_else(closed)?.presence().typing(on)?)
    }

    /// Holds a lease: something of the application's own that the user is or does there, such
    /// as `status`, which others see. `kind` has 1 to 64 bytes and is neither `here` nor `typing`;
    /// `body` is the JSON text of an object of up to 1,024 bytes, and a newer one replaces it. It
    /// lasts until `release`, or until this handle is closed.
    pub fn hold(&self, kind: String, body: String) -> Result<(), TidewireError> {
        let holder = self.holder.lock();
        Ok(holder.as_ref().ok_or_else(closed)?.presence().hold(&kind, &body)?)
    }

    /// Gives a lease up, unless another handle of the channel holds it.
    pub fn release(&self, kind: String) -> Result<(), TidewireError> {
        let holder = self.holder.lock();
        Ok(holder.as_ref().ok_or_else(closed)?.presence().release(&kind)?)
    }

    /// Closes this handle: `next` gives none from then on. Closing it again does nothing. Kotlin's
    /// name for it is `closeNow`, because `close` is `AutoCloseable`'s there.
    pub fn close(&self) {
        let holder = self.holder.lock().take();
        drop(holder);
        self.dispatch.abort();
    }
}

impl Channel {
    pub(super) fn new(channel: crate::channel::Channel) -> Channel {
        let (holder, items) = channel.into_parts();
        let (sender, inbox) = mpsc::channel(1);
        let dispatch = DISPATCH.spawn(dispatch(items, sender)).abort_handle();
        let (name, inbox) = (holder.name().to_owned(), tokio::sync::Mutex::new(inbox));
        Channel { name, holder: Mutex::new(Some(holder)), inbox, dispatch }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.close();
    }
}

/// Passes items to the reader, one ahead. The reader is not woken by whoever made the item: that is
/// the task that drives the sockets.
async fn dispatch(mut items: Items, reader: mpsc::Sender<crate::ChannelItem>) {
    while let Ok(place) = reader.reserve().await
        && let Some(item) = items.next().await
    {
        place.send(item);
    }
}

fn closed() -> TidewireError {
    TidewireError::Closed { code: String::from("closed"), detail: String::from("the channel is closed") }
}

impl From<&EventFrame> for ChannelEvent {
    fn from(frame: &EventFrame) -> ChannelEvent {
        ChannelEvent {
            kind: frame.kind.clone(),
            body: frame.body.clone(),
            id: frame.id.to_string(),
            offset: large(frame.offset.0),
            at_ms: large(frame.at),
            by: frame.by.clone().into(),
        }
    }
}

impl From<crate::ChannelItem> for ChannelItem {
    fn from(item: crate::ChannelItem) -> ChannelItem {
        match item {
            crate::ChannelItem::Event(frame) => ChannelItem::Event { event: (&*frame).into() },
            crate::ChannelItem::Older { before, events, more } => ChannelItem::Older {
                before: large(before.0),
                events: events.iter().map(ChannelEvent::from).collect(),
                more,
            },
            crate::ChannelItem::State(state) => ChannelItem::State { state: state.into() },
            crate::ChannelItem::Signal { signal, by } => {
                ChannelItem::Signal { kind: signal.kind, key: signal.key, body: signal.body, by: by.into() }
            }
            crate::ChannelItem::Lagged { missed } => ChannelItem::Lagged { missed: large(missed) },
        }
    }
}
