//! Reading a channel's events without a timeline.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::channel_item::ChannelItem;
use crate::error::SubscribeError;
use crate::shared::Shared;

/// A subscription to a channel. Dropping the last one of a channel ends the subscription at the
/// server.
pub struct Subscription {
    shared: Arc<Shared>,
    channel: String,
    items: broadcast::Receiver<ChannelItem>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Subscription {
    pub(crate) fn open(shared: &Arc<Shared>, channel: &str) -> Result<Subscription, SubscribeError> {
        let items = shared.command(|core, hub, now| {
            core.subscribe(now, channel)?;
            Ok::<_, SubscribeError>(hub.add_channel(channel))
        })??;
        Ok(Subscription { shared: Arc::clone(shared), channel: channel.to_owned(), items })
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Waits for the next item; `None` once the client is closed. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<ChannelItem> {
        match self.items.recv().await {
            Ok(item) => Some(item),
            Err(RecvError::Lagged(missed)) => Some(ChannelItem::Lagged { missed }),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // A closed client has no subscriptions.
        let _ = self.shared.command(|core, hub, now| {
            hub.remove_channel(&self.channel);
            core.unsubscribe(now, &self.channel);
        });
    }
}
