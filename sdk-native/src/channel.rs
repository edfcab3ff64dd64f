//! A channel: its events as they come, and the methods that write.

use std::sync::Arc;

use serde::Serialize;
use tidewire_core::Offset;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::channel_item::ChannelItem;
use crate::dialog::Outgoing;
use crate::error::{SendError, SubscribeError};
use crate::people::People;
use crate::presence::Presence;
use crate::reads::Reads;
use crate::shared::Shared;

/// A handle of a channel. Dropping the last one of a channel ends the subscription.
///
/// The first handle begins after the last event that the client's store knows of, otherwise with
/// the newest events of the channel ([`Config::tail`](crate::Config::tail)). Another handle gets
/// what comes after it was opened. With a store, the place in the channel is kept until the next
/// start if the client is closed before the handle is dropped.
///
/// ```no_run
/// # async fn example(client: tidewire::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use tidewire::ChannelItem;
///
/// let mut channel = client.channel("guild:7")?;
/// channel.publish("poll.vote", r#"{"option":"red"}"#)?.acked().await?;
/// while let Some(item) = channel.next().await {
///     if let ChannelItem::Event(event) = item {
///         println!("{} {} {}: {}", event.offset, event.kind, event.by.name, event.body);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Channel {
    holder: Holder,
    items: Items,
}

/// A holder of the subscription in the core; dropping it removes the holder.
pub(crate) struct Holder {
    shared: Arc<Shared>,
    presence: Presence,
}

/// The items of a channel from when it was opened.
pub(crate) struct Items(broadcast::Receiver<ChannelItem>);

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.holder.name()).finish_non_exhaustive()
    }
}

impl Channel {
    pub(crate) fn open(shared: &Arc<Shared>, name: &str) -> Result<Channel, SubscribeError> {
        let (number, items) = shared.command(|core, hub, now| {
            core.subscribe(now, name)?;
            Ok::<_, SubscribeError>((hub.number(), hub.add_channel(name)))
        })??;
        let presence = Presence::new(shared, name.to_owned(), number);
        let holder = Holder { shared: Arc::clone(shared), presence };
        Ok(Channel { holder, items: Items(items) })
    }

    /// The channel's name.
    pub fn name(&self) -> &str {
        self.holder.name()
    }

    /// Waits for the next item; `None` once the client is closed. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<ChannelItem> {
        self.items.next().await
    }

    /// Publishes an event, as soon as there is a connection; `body` is the JSON text of an object.
    /// With a store it is sent even after a restart of the process, and it is committed once. If
    /// the server refuses it, [`Outgoing::acked`] reports why, and it is discarded; in a dialog, a
    /// refused `message` has a row that can be retried.
    ///
    /// # Errors
    /// [`SendError`]; then the event is not sent.
    pub fn publish(&self, kind: &str, body: &str) -> Result<Outgoing, SendError> {
        self.holder.publish(kind, body)
    }

    /// As [`Channel::publish`], with a value that serde writes as a JSON object.
    ///
    /// # Errors
    /// [`SendError`], with the code `bad_body` for a value that is no JSON object.
    pub fn publish_json<T: Serialize>(&self, kind: &str, body: &T) -> Result<Outgoing, SendError> {
        let bad = |_| SendError::Refused(tidewire_core::SendError::BadBody);
        self.publish(kind, &serde_json::to_string(body).map_err(bad)?)
    }

    /// Requests at most `most` events (1 to 256) from before an offset, by default before the newest
    /// ones that this client knows of. They come as [`ChannelItem::Older`] with the offset that is
    /// returned, as soon as there is a connection.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn load_older(&self, before: Option<Offset>, most: u64) -> Result<Offset, SubscribeError> {
        self.holder.load_older(before, most)
    }

    /// Sends an ephemeral signal to the current subscribers, who get it as
    /// [`ChannelItem::Signal`]: see [`tidewire_core::Client::signal`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn signal(&self, kind: &str, key: Option<&str>, body: &str) -> Result<(), SendError> {
        self.holder.signal(kind, key, body)
    }

    /// Follows who is in the channel and what they do there. Several followers may exist at a time.
    ///
    /// # Errors
    /// [`SubscribeError`]. If the channel's rule has no people, [`People::state`] says so with the
    /// code `people_off`.
    pub fn people(&self) -> Result<People, SubscribeError> {
        self.holder.people()
    }

    /// Says that this client's user has read the channel up to the event at this offset; `None` for the
    /// newest one that is here. A position never goes back. The server is told at most once a
    /// second, and what it could not be told yet waits, with a store also for the next start.
    ///
    /// # Errors
    /// [`SendError`] with the code `bad_offset` if the event is not here yet, or `closed`.
    pub fn mark_read(&self, offset: Option<Offset>) -> Result<(), SendError> {
        self.holder.presence.mark_read(offset)
    }

    /// Follows how far the channel was read: what is unread, and how far others have read. Several
    /// followers may exist at a time.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn reads(&self) -> Result<Reads, SubscribeError> {
        self.holder.reads()
    }

    /// Says that this client's user is writing, or has stopped; others see it as a lease `typing`.
    /// Call it with each change of the text: it is told at most every 3 s, and after 6 s without
    /// another call, or with the user's next message, it ends. Without a connection it does nothing.
    ///
    /// # Errors
    /// [`SendError`] with the code `closed`.
    pub fn typing(&self, on: bool) -> Result<(), SendError> {
        self.holder.presence.typing(on)
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
        self.holder.presence.hold(kind, body)
    }

    /// Gives a lease up, unless another handle of the channel holds it. Does nothing if this handle
    /// does not hold it.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn release(&self, kind: &str) -> Result<(), SendError> {
        self.holder.presence.release(kind)
    }
}

/// Bindings read from one thread and write from others.
#[cfg(feature = "ffi")]
impl Channel {
    pub(crate) fn into_parts(self) -> (Holder, Items) {
        (self.holder, self.items)
    }
}

impl Holder {
    pub(crate) fn name(&self) -> &str {
        self.presence.channel()
    }

    #[cfg(feature = "ffi")]
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(crate) fn people(&self) -> Result<People, SubscribeError> {
        Ok(People::new(self.presence.follow()?))
    }

    pub(crate) fn reads(&self) -> Result<Reads, SubscribeError> {
        Ok(Reads::new(self.presence.follow()?))
    }

    pub(crate) fn publish(&self, kind: &str, body: &str) -> Result<Outgoing, SendError> {
        self.shared.command(|core, hub, now| {
            let id = core.send(now, self.name(), kind, body)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    pub(crate) fn load_older(&self, before: Option<Offset>, most: u64) -> Result<Offset, SubscribeError> {
        Ok(self.shared.command(|core, _, now| core.load_older(now, self.name(), before, most))??)
    }

    pub(crate) fn signal(&self, kind: &str, key: Option<&str>, body: &str) -> Result<(), SendError> {
        Ok(self.shared.command(|core, _, now| core.signal(now, self.name(), kind, key, body))??)
    }
}

impl Items {
    pub(crate) async fn next(&mut self) -> Option<ChannelItem> {
        match self.0.recv().await {
            Ok(item) => Some(item),
            Err(RecvError::Lagged(missed)) => Some(ChannelItem::Lagged { missed }),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // A closed client has no subscriptions.
        let _ = self.shared.command(|core, hub, now| {
            hub.remove_channel(self.name());
            core.unsubscribe(now, self.name());
        });
    }
}
