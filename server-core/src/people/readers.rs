//! Who is told how far a channel was read.

use crate::lock::Mutex;
use crate::outgoing::{Due, Outgoing};
use crate::store::Positions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, MAX_RECEIPTS, Marks, Offset, Receipt, ServerFrame, Unread};

/// The connections that follow the read positions of one channel.
pub(crate) struct Readers {
    /// The channel's row.
    channel: i64,
    name: ChannelName,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Whether the channel's rule tells the positions of others.
    receipts: bool,
    /// By the number of the connection.
    followers: BTreeMap<u64, Follower>,
    /// Users who have a position ([`crate::Identity::key`]), up to one more than are told.
    known: BTreeSet<String>,
}

struct Follower {
    /// [`crate::Identity::key`].
    key: String,
    outgoing: Arc<Outgoing>,
}

impl Inner {
    fn know(&mut self, key: &str) {
        if !self.is_crowded() && !self.known.contains(key) {
            self.known.insert(key.to_owned());
        }
    }

    fn is_crowded(&self) -> bool {
        self.known.len() > MAX_RECEIPTS
    }
}

impl Readers {
    /// Nobody follows yet. `receipts` says whether the channel's rule tells the positions of others.
    pub(crate) fn new(channel: i64, name: ChannelName, receipts: bool) -> Arc<Readers> {
        let inner = Inner { receipts, ..Inner::default() };
        Arc::new(Readers { channel, name, inner: Mutex::new(inner) })
    }

    /// The channel's row.
    pub(super) fn channel(&self) -> i64 {
        self.channel
    }

    /// The channel's name.
    pub(super) fn name(&self) -> &ChannelName {
        &self.name
    }

    /// From now on the channel's rule tells the positions of others, or does not.
    pub(crate) fn set_receipts(&self, receipts: bool) {
        self.inner.lock().receipts = receipts;
    }

    /// A connection of this user follows from now on.
    pub(crate) fn follow(&self, key: &str, outgoing: &Arc<Outgoing>) {
        let follower = Follower { key: key.to_owned(), outgoing: outgoing.clone() };
        self.inner.lock().followers.insert(outgoing.id(), follower);
    }

    /// A connection follows no more.
    pub(crate) fn leave(&self, conn: u64) {
        self.inner.lock().followers.remove(&conn);
    }

    /// Tells a connection that has begun to follow what the store has; events up to `head` are
    /// counted.
    pub(crate) fn tell(&self, conn: u64, found: Positions, head: Offset) {
        let Positions { own, unread, more, others, .. } = found;
        let mut inner = self.inner.lock();
        if own > Offset::ZERO
            && let Some(key) = inner.followers.get(&conn).map(|follower| follower.key.clone())
        {
            inner.know(&key);
        }
        others.iter().for_each(|(key, _)| inner.know(key));
        let receipts = inner.receipts;
        let crowded = receipts && inner.is_crowded();
        let users = others.into_iter().map(|(_, receipt)| receipt);
        let frame = Marks {
            offset: Some(own),
            unread: Some(Unread { count: unread, more, head }),
            users: users.filter(|_| receipts && !crowded).collect(),
            crowded,
            ..Marks::new(self.name.clone())
        };
        let mut due = Due::default();
        if let Some(follower) = inner.followers.get(&conn) {
            let text = ServerFrame::Marks(frame).encode().into();
            follower.outgoing.put_of(self.channel, text, &mut due);
        }
        drop(inner);
        due.give();
    }

    /// Tells those who follow what was stored, and whoever `asked` of it.
    pub(super) fn stored(&self, stored: &[(String, Receipt)], asked: &[(Arc<Outgoing>, Offset)]) {
        let mut due = Due::default();
        let mut inner = self.inner.lock();
        let was_crowded = inner.is_crowded();
        stored.iter().for_each(|(key, _)| inner.know(key));
        let (crowded, receipts) = (inner.is_crowded(), inner.receipts);
        for follower in inner.followers.values() {
            let own = stored.iter().find(|(key, _)| *key == follower.key);
            let others = stored.iter().filter(|(key, _)| receipts && !crowded && *key != follower.key);
            let frame = Marks {
                offset: own.map(|(_, receipt)| receipt.offset),
                users: others.map(|(_, receipt)| receipt.clone()).collect(),
                crowded: receipts && crowded && !was_crowded,
                ..Marks::new(self.name.clone())
            };
            if frame.offset.is_some() || !frame.users.is_empty() || frame.crowded {
                let text = ServerFrame::Marks(frame).encode().into();
                follower.outgoing.put_of(self.channel, text, &mut due);
            }
        }
        for (outgoing, offset) in asked {
            if !inner.followers.contains_key(&outgoing.id()) {
                let frame = Marks { offset: Some(*offset), ..Marks::new(self.name.clone()) };
                outgoing.put_of(self.channel, ServerFrame::Marks(frame).encode().into(), &mut due);
            }
        }
        drop(inner);
        due.give();
    }
}
