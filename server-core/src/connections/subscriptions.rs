//! The subscriptions of one connection. They are shared, because a newer connection of the same
//! client or a revocation may end them from outside.

use crate::access::Identity;
use crate::dialog::{Channel, Subscriber};
use crate::lock::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::ChannelName;

/// A connection's subscriptions by the channels' names.
#[derive(Default)]
pub(crate) struct Subscriptions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_channel: BTreeMap<ChannelName, Subscriber>,
    /// The connection has ended: no subscription is added any more.
    over: bool,
}

impl Subscriptions {
    /// The channel with this name, if the connection is subscribed to it.
    pub(crate) fn channel(&self, ch: &str) -> Option<Arc<Channel>> {
        self.inner.lock().by_channel.get(ch).map(|subscriber| subscriber.channel.clone())
    }

    /// Whether the connection is subscribed to this channel.
    pub(crate) fn has(&self, ch: &str) -> bool {
        self.inner.lock().by_channel.contains_key(ch)
    }

    /// The channels that the connection is subscribed to, in the order of their names.
    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        self.inner.lock().by_channel.values().map(|subscriber| subscriber.channel.clone()).collect()
    }

    /// Whether the connection holds a lease in a channel, besides being there.
    pub(crate) fn has_leases(&self, conn: u64) -> bool {
        self.channels().iter().any(|channel| channel.people.has_leases(conn))
    }

    /// The number of subscriptions.
    pub(crate) fn count(&self) -> usize {
        self.inner.lock().by_channel.len()
    }

    /// Adds a subscription. Does nothing once the connection has ended.
    pub(crate) fn insert(&self, ch: ChannelName, subscriber: Subscriber) {
        let mut inner = self.inner.lock();
        if !inner.over {
            inner.by_channel.insert(ch, subscriber);
        }
    }

    /// The user is in a channel that the connection is subscribed to.
    pub(crate) fn enter(&self, ch: &str, conn: u64, identity: &Identity, now: Now) {
        // Under the lock, because whoever ends the subscription meanwhile makes the user leave.
        if let Some(subscriber) = self.inner.lock().by_channel.get(ch) {
            subscriber.channel.people.enter(conn, &identity.key(), &identity.shown(), now);
        }
    }

    /// Does something in a channel that the connection is subscribed to; none if it is not.
    pub(crate) fn within<R>(&self, ch: &str, act: impl FnOnce(&Channel) -> R) -> Option<R> {
        // Under the lock, because whoever ends the subscription meanwhile ends what is held by it.
        self.inner.lock().by_channel.get(ch).map(|subscriber| act(&subscriber.channel))
    }

    /// Others see the user differently from now on, in all channels of the connection.
    pub(crate) fn show_as(&self, identity: &Identity) {
        let inner = self.inner.lock();
        let all: Vec<Arc<Channel>> =
            inner.by_channel.values().map(|subscriber| subscriber.channel.clone()).collect();
        drop(inner);
        let (key, user) = (identity.key(), identity.shown());
        all.iter().for_each(|channel| channel.people.show_as(&key, &user));
    }

    /// Ends the leases of the connection in channels where `may_hold` is false.
    pub(crate) fn release(&self, conn: u64, may_hold: impl Fn(&Channel) -> bool) {
        let inner = self.inner.lock();
        let all: Vec<Arc<Channel>> =
            inner.by_channel.values().map(|subscriber| subscriber.channel.clone()).collect();
        drop(inner);
        for channel in all.iter().filter(|channel| !may_hold(channel)) {
            channel.people.may_not_hold(conn);
        }
    }

    /// Ends a subscription that the client will begin again.
    pub(crate) fn end(&self, ch: &str) {
        self.inner.lock().by_channel.remove(ch);
    }

    /// Ends a subscription, because the user leaves or may not be there; false if there was none.
    pub(crate) fn leave(&self, ch: &str) -> bool {
        self.inner.lock().by_channel.remove(ch).map(Subscriber::leave).is_some()
    }

    /// Ends the subscriptions for whose channel `keep` is false, and returns the channels' names
    /// and row ids. `keep` is called with no lock held, so it does not see a subscription that is
    /// added meanwhile: whoever adds one checks it.
    pub(crate) fn retain(&self, keep: impl Fn(&Channel) -> bool) -> Vec<(ChannelName, i64)> {
        let inner = self.inner.lock();
        let of = |(ch, subscriber): (&ChannelName, &Subscriber)| (ch.clone(), subscriber.channel.clone());
        let all: Vec<(ChannelName, Arc<Channel>)> = inner.by_channel.iter().map(of).collect();
        drop(inner);
        let ended = all.into_iter().filter(|(_, channel)| !keep(channel));
        ended
            .filter(|(ch, channel)| self.remove_if(ch, channel))
            .map(|(ch, channel)| (ch, channel.id))
            .collect()
    }

    /// Ends the subscription if it is to this channel; false if it is not.
    fn remove_if(&self, ch: &str, channel: &Arc<Channel>) -> bool {
        let mut inner = self.inner.lock();
        let is = inner.by_channel.get(ch).is_some_and(|subscriber| Arc::ptr_eq(&subscriber.channel, channel));
        is && inner.by_channel.remove(ch).map(Subscriber::leave).is_some()
    }

    /// Ends all subscriptions, because the user leaves or may be nowhere, and lets no new ones begin.
    pub(crate) fn leave_all(&self) {
        let mut inner = self.inner.lock();
        inner.over = true;
        std::mem::take(&mut inner.by_channel).into_values().for_each(Subscriber::leave);
    }

    /// Ends all subscriptions, and lets no new ones begin.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.over = true;
        inner.by_channel.clear();
    }
}
