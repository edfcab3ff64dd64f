//! A user's leases in a channel, with the connections that hold them.

use std::collections::BTreeMap;
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
    since: u64,
    /// The connections that hold it, each as it said so.
    holders: BTreeMap<u64, Said>,
    /// What the last one said, once nobody holds it.
    last: Said,
    /// When the grace ends; none while there are holders, and until the next tick.
    ends: Option<Time>,
}

/// What a connection says of a lease.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) body: String,
    /// When the client's user said so; a client says it again on each connection.
    pub(super) at: Time,
    /// When it ends unless it is renewed.
    pub(super) until: Option<Time>,
}

impl Held {
    /// What is shown: what was said last by one who holds it.
    fn shown(&self) -> &Said {
        self.holders.values().max_by_key(|said| said.at).unwrap_or(&self.last)
    }
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
            body: held.shown().body.clone(),
            since: held.since,
            brief: held.shown().until.is_some(),
        };
        Person { user: self.user.clone(), leases: self.leases.iter().map(lease).collect() }
    }

    /// A connection holds a lease from now on. False if the user has all the leases that a user may
    /// have.
    pub(super) fn hold(&mut self, conn: u64, kind: &str, said: Said, wall: u64) -> bool {
        if let Some(held) = self.leases.get_mut(kind) {
            held.holders.insert(conn, said);
            held.ends = None;
            return true;
        }
        let is_own = |kind: &str| kind != HERE && kind != TYPING;
        if is_own(kind) && self.leases.keys().filter(|kind| is_own(kind)).count() >= MOST {
            return false;
        }
        let holders = BTreeMap::from([(conn, said.clone())]);
        self.leases.insert(kind.to_owned(), Held { since: wall, holders, last: said, ends: None });
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
            if !of(kind) {
                return true;
            }
            let Some(said) = held.holders.remove(&conn) else { return true };
            held.last = said;
            !(held.holders.is_empty() && at_once)
        });
    }

    /// Ends the leases whose time is over. Returns when the next one may end.
    pub(super) fn tick(&mut self, now: Time) -> Option<Time> {
        let mut next: Option<Time> = None;
        let mut later = |at: Time| {
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            at > now
        };
        self.leases.retain(|_, held| {
            let had_holders = !held.holders.is_empty();
            held.holders.retain(|_, said| said.until.is_none_or(&mut later));
            if !held.holders.is_empty() {
                return true;
            }
            if had_holders {
                return false;
            }
            let ends = *held.ends.get_or_insert(now.after(GRACE_MS));
            later(held.last.until.map_or(ends, |until| until.min(ends)))
        });
        next
    }

    /// Whether a lease ends by time.
    pub(super) fn is_timed(&self) -> bool {
        let is_brief = |said: &Said| said.until.is_some();
        self.leases.values().any(|held| held.holders.is_empty() || held.holders.values().any(is_brief))
    }
}
