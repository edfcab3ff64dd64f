//! The subscriptions of one connection, where others can end them too: whoever takes its place, and
//! whoever revokes access.

use crate::dialog::{Channel, Subscriber};
use crate::lock::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A connection's seats by the channels' names.
#[derive(Default)]
pub(crate) struct Subscriptions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_channel: BTreeMap<String, Subscriber>,
    /// The connection is over: no seat is kept any more.
    over: bool,
}

impl Subscriptions {
    /// The channel of a subscription.
    pub(crate) fn channel(&self, ch: &str) -> Option<Arc<Channel>> {
        self.inner.lock().by_channel.get(ch).map(|subscriber| subscriber.channel.clone())
    }

    /// Whether there is such a subscription.
    pub(crate) fn has(&self, ch: &str) -> bool {
        self.inner.lock().by_channel.contains_key(ch)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.inner.lock().by_channel.len()
    }

    /// Begins a subscription; nothing happens once the connection is over.
    pub(crate) fn insert(&self, ch: String, subscriber: Subscriber) {
        let mut inner = self.inner.lock();
        if !inner.over {
            inner.by_channel.insert(ch, subscriber);
        }
    }

    /// Ends a subscription; false when there was none.
    pub(crate) fn remove(&self, ch: &str) -> bool {
        self.inner.lock().by_channel.remove(ch).is_some()
    }

    /// Ends those whose channel is not wanted; their names and rows. It is asked with no lock inner:
    /// a seat that is taken meanwhile is for the one who takes it to look at.
    pub(crate) fn retain(&self, keep: impl Fn(&Channel) -> bool) -> Vec<(String, i64)> {
        let inner = self.inner.lock();
        let of = |(ch, subscriber): (&String, &Subscriber)| (ch.clone(), subscriber.channel.clone());
        let all: Vec<(String, Arc<Channel>)> = inner.by_channel.iter().map(of).collect();
        drop(inner);
        let ended = all.into_iter().filter(|(_, channel)| !keep(channel));
        ended
            .filter(|(ch, channel)| self.remove_if(ch, channel))
            .map(|(ch, channel)| (ch, channel.id))
            .collect()
    }

    /// Ends a subscription if it is to this channel; false if it is not.
    fn remove_if(&self, ch: &str, channel: &Arc<Channel>) -> bool {
        let mut inner = self.inner.lock();
        let is = inner.by_channel.get(ch).is_some_and(|subscriber| Arc::ptr_eq(&subscriber.channel, channel));
        is && inner.by_channel.remove(ch).is_some()
    }

    /// Ends all of them for good.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.over = true;
        inner.by_channel.clear();
    }
}
