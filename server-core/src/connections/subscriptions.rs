//! The subscriptions of one connection, where others can end them too: whoever takes its place, and
//! whoever revokes access.

use crate::dialog::{Channel, Seat};
use crate::lock::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A connection's seats by the channels' names.
#[derive(Default)]
pub(crate) struct Seats {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    seats: BTreeMap<String, Seat>,
    /// The connection is over: no seat is kept any more.
    over: bool,
}

impl Seats {
    /// The channel of a subscription.
    pub(crate) fn channel(&self, ch: &str) -> Option<Arc<Channel>> {
        self.held.lock().seats.get(ch).map(|seat| seat.channel.clone())
    }

    /// Whether there is such a subscription.
    pub(crate) fn has(&self, ch: &str) -> bool {
        self.held.lock().seats.contains_key(ch)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.held.lock().seats.len()
    }

    /// Begins a subscription; nothing happens once the connection is over.
    pub(crate) fn keep(&self, ch: String, seat: Seat) {
        let mut held = self.held.lock();
        if !held.over {
            held.seats.insert(ch, seat);
        }
    }

    /// Ends a subscription; false when there was none.
    pub(crate) fn give_up(&self, ch: &str) -> bool {
        self.held.lock().seats.remove(ch).is_some()
    }

    /// Ends those whose channel is not wanted; their names and rows. It is asked with no lock held:
    /// a seat that is taken meanwhile is for the one who takes it to look at.
    pub(crate) fn retain(&self, wanted: impl Fn(&Channel) -> bool) -> Vec<(String, i64)> {
        let held = self.held.lock();
        let of = |(ch, seat): (&String, &Seat)| (ch.clone(), seat.channel.clone());
        let all: Vec<(String, Arc<Channel>)> = held.seats.iter().map(of).collect();
        drop(held);
        let unwanted = all.into_iter().filter(|(_, channel)| !wanted(channel));
        unwanted
            .filter(|(ch, channel)| self.give_up_in(ch, channel))
            .map(|(ch, channel)| (ch, channel.id))
            .collect()
    }

    /// Ends a subscription if it is to this channel; false if it is not.
    fn give_up_in(&self, ch: &str, channel: &Arc<Channel>) -> bool {
        let mut held = self.held.lock();
        let is = held.seats.get(ch).is_some_and(|seat| Arc::ptr_eq(&seat.channel, channel));
        is && held.seats.remove(ch).is_some()
    }

    /// Ends all of them for good.
    pub(crate) fn close(&self) {
        let mut held = self.held.lock();
        held.over = true;
        held.seats.clear();
    }
}
