//! Who is in a channel and what they are doing there (protocol sections 3 and 4).
//!
//! Everything is a lease: a user has it while a connection of theirs holds it, and for a grace
//! after the last one was lost, so that nobody flaps who connects again. A channel has one
//! [`People`]; those with something to do wait in the [`Agenda`] of the server, which tells the
//! watchers of a channel at most ten times a second.

mod agenda;
mod leases;
mod positions;
mod readers;
mod roster;

pub use agenda::Agenda;
pub(crate) use positions::ReadPositions;
pub(crate) use readers::Readers;
pub(crate) use roster::Refusal;

use crate::lock::Mutex;
use crate::outgoing::{Due, Outgoing};
use roster::Roster;
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, LeaseRequest, User};
use tidewire_core::{Now, Time};

/// Stands for all requests, which hold leases without a connection: it is never lost, and their
/// leases end by time.
pub(crate) const NOBODY: u64 = 0;

/// How a connection leaves a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It was lost: the user may come back within the grace.
    Lost,
    /// The user left, or may not be there any more.
    Left,
}

/// The people of a channel.
pub(crate) struct People {
    /// The channel's row.
    channel: i64,
    agenda: Arc<Agenda>,
    roster: Mutex<Roster>,
}

impl People {
    /// Nobody is there. `on` says whether the channel's rule has people.
    pub(crate) fn new(channel: i64, name: ChannelName, on: bool, agenda: &Arc<Agenda>) -> Arc<People> {
        let roster = Mutex::new(Roster::new(channel, name, on));
        Arc::new(People { channel, agenda: agenda.clone(), roster })
    }

    /// A connection of a user is there from now on. `key` is [`crate::Identity::key`].
    pub(crate) fn enter(self: &Arc<Self>, conn: u64, key: &str, user: &User, now: Now) {
        self.change(|roster| roster.enter(conn, key, user, now));
    }

    /// A connection is no longer there: its leases end, and it watches no more.
    pub(crate) fn leave(self: &Arc<Self>, conn: u64, leaving: Leaving) {
        self.change(|roster| roster.leave(conn, leaving));
    }

    /// A connection may no longer hold leases of its own.
    pub(crate) fn may_not_hold(self: &Arc<Self>, conn: u64) {
        self.change(|roster| roster.release(conn));
    }

    /// Others see a user differently from now on, if the user is there.
    pub(crate) fn show_as(self: &Arc<Self>, key: &str, user: &User) {
        self.change(|roster| roster.show_as(key, user));
    }

    /// Tells a connection who is there, and what changes from now on.
    pub(crate) fn watch(self: &Arc<Self>, outgoing: &Arc<Outgoing>) {
        self.change(|roster| roster.watch(outgoing));
    }

    /// Tells a connection no more.
    pub(crate) fn unwatch(self: &Arc<Self>, conn: u64) {
        self.change(|roster| roster.unwatch(conn));
    }

    /// A connection holds a lease from now on, renews it, or gives it up.
    pub(crate) fn hold(
        self: &Arc<Self>,
        conn: u64,
        key: &str,
        user: &User,
        request: LeaseRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        self.change(|roster| roster.hold(conn, key, user, request, now))
    }

    /// A user's message was committed: they are no longer writing it.
    pub(crate) fn has_said(self: &Arc<Self>, key: &str) {
        self.change(|roster| roster.has_said(key));
    }

    /// From now on the channel's rule has people, or does not. True if it has them for the first time.
    pub(crate) fn set_on(self: &Arc<Self>, on: bool) -> bool {
        self.change(|roster| roster.set_on(on))
    }

    /// Whether a connection holds a lease, besides being there.
    pub(crate) fn has_leases(&self, conn: u64) -> bool {
        self.roster.lock().has_leases(conn)
    }

    /// How many connections are told who is there.
    pub(crate) fn watchers(&self) -> usize {
        self.roster.lock().watchers()
    }

    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut Roster) -> R) -> R {
        let mut roster = self.roster.lock();
        let result = change(&mut roster);
        let is_due = roster.has_news();
        drop(roster);
        if is_due {
            self.agenda.add(Time::default(), self.channel, self);
        }
        result
    }

    /// Ends what has to end, and tells the watchers; returns when there is more to do.
    fn tick(&self, now: Time, started: Time) -> Option<Time> {
        let mut due = Due::default();
        let next = self.roster.lock().tick(now, started, &mut due);
        due.give();
        next
    }
}
