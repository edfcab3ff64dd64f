//! A user's leases in a channel, with the connections that hold them.

use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::Time;
use tidewire_core::wire::{HERE, Lease, Person, TYPING, User};

/// How long a user stays after the last connection was lost, in ms.
pub(super) const GRACE_MS: u64 = 15_000;
/// Most leases of a user in a channel, besides `here` and `typing`.
pub(super) const MOST: usize = 8;

/// A user in a channel.
pub(super) struct Present {
    pub(super) user: User,
    /// Those who came later have greater numbers.
    pub(super) place: u64,
    /// By kind.
    leases: BTreeMap<String, Held>,
    /// What the watchers were told: the JSON text of a [`Person`].
    pub(super) told: Option<String>,
}

struct Held {
    body: String,
    since: u64,
    /// When it ends unless it is renewed.
    until: Option<Time>,
    holders: BTreeSet<u64>,
    /// When the grace ends; none while there are holders, and until the next tick.
    ends: Option<Time>,
}

impl Present {
    pub(super) fn new(user: User, place: u64) -> Present {
        Present { user, place, leases: BTreeMap::new(), told: None }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.leases.is_empty()
    }

    pub(super) fn is_here(&self) -> bool {
        self.leases.contains_key(HERE)
    }

    /// The user as others see them.
    pub(super) fn person(&self) -> Person {
        let lease = |(kind, held): (&String, &Held)| Lease {
            kind: kind.clone(),
            body: held.body.clone(),
            since: held.since,
            brief: held.until.is_some(),
        };
        Person { user: self.user.clone(), leases: self.leases.iter().map(lease).collect() }
    }

    /// A connection holds a lease, until a time or as long as it lives. False if the user has all
    /// the leases that a user may have.
    pub(super) fn hold(
        &mut self,
        conn: u64,
        kind: &str,
        body: String,
        until: Option<Time>,
        wall: u64,
    ) -> bool {
        if let Some(held) = self.leases.get_mut(kind) {
            held.holders.insert(conn);
            (held.body, held.until, held.ends) = (body, until, None);
            return true;
        }
        let is_own = |kind: &str| kind != HERE && kind != TYPING;
        if is_own(kind) && self.leases.keys().filter(|kind| is_own(kind)).count() >= MOST {
            return false;
        }
        let holders = BTreeSet::from([conn]);
        self.leases.insert(kind.to_owned(), Held { body, since: wall, until, holders, ends: None });
        true
    }

    /// A connection gives a lease up. It goes on while another one holds it.
    pub(super) fn give_up(&mut self, conn: u64, kind: &str) {
        if let Some(held) = self.leases.get_mut(kind) {
            held.holders.remove(&conn);
            if held.holders.is_empty() {
                self.leases.remove(kind);
            }
        }
    }

    /// Ends a lease, whoever holds it.
    pub(super) fn end(&mut self, kind: &str) {
        self.leases.remove(kind);
    }

    /// A connection holds none of these kinds any more; `at_once` without a grace.
    pub(super) fn release(&mut self, conn: u64, at_once: bool, of: impl Fn(&str) -> bool) {
        self.leases.retain(|kind, held| {
            let was_last = of(kind) && held.holders.remove(&conn) && held.holders.is_empty();
            !(was_last && at_once)
        });
    }

    /// Ends the leases whose time is over. Returns when the next one may end.
    pub(super) fn tick(&mut self, now: Time) -> Option<Time> {
        let mut next: Option<Time> = None;
        self.leases.retain(|_, held| {
            let ends = held.holders.is_empty().then(|| *held.ends.get_or_insert(now.after(GRACE_MS)));
            let Some(end) = [ends, held.until].into_iter().flatten().min() else { return true };
            if end > now {
                next = Some(next.map_or(end, |next| next.min(end)));
            }
            end > now
        });
        next
    }

    /// Whether a lease ends by time.
    pub(super) fn is_timed(&self) -> bool {
        self.leases.values().any(|held| held.until.is_some() || held.holders.is_empty())
    }
}
