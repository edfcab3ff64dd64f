//! A user's leases in a channel, with the connections that hold them.

use tidewire_core::Time;
use tidewire_core::wire::{HERE, Lease, Person, TYPING, User};

/// How long a user stays after the last connection was lost, in ms.
pub(super) const GRACE_MS: u64 = 15_000;
/// Most leases of a user in a channel, besides `here` and `typing`.
pub(super) const MOST: usize = 8;

/// A user in a channel. Lists are short, and most rosters have one user with one lease: they take
/// no more memory than what is in them.
pub(super) struct Present {
    pub(super) user: User,
    /// Those who came later have greater numbers.
    pub(super) place: u64,
    /// Sorted by kind.
    leases: Vec<Held>,
    /// What the watchers were told: the JSON text of a [`Person`].
    pub(super) told: Option<String>,
}

struct Held {
    kind: String,
    since: u64,
    /// The connections that hold it, each as it said so.
    holders: Vec<(u64, Said)>,
    /// What the last one said, once nobody holds it.
    last: Option<Said>,
    /// When the grace ends; none while there are holders, and until the next tick.
    ends: Option<Time>,
}

/// What a connection says of a lease.
pub(super) struct Said {
    pub(super) body: String,
    /// When the client's user said so; a client says it again on each connection.
    pub(super) at: Time,
    /// When it ends unless it is renewed.
    pub(super) until: Option<Time>,
}

impl Held {
    /// What is shown: what was said last by one who holds it.
    fn shown(&self) -> Option<&Said> {
        let held = self.holders.iter().map(|(_, said)| said).max_by_key(|said| said.at);
        held.or(self.last.as_ref())
    }

    /// A connection does not hold it any more; false if it did not.
    fn lose(&mut self, conn: u64) -> bool {
        let Some(at) = self.holders.iter().position(|(holder, _)| *holder == conn) else { return false };
        self.last = Some(self.holders.swap_remove(at).1);
        true
    }
}

impl Present {
    pub(super) fn new(user: User, place: u64) -> Present {
        Present { user, place, leases: Vec::new(), told: None }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.leases.is_empty()
    }

    pub(super) fn is_here(&self) -> bool {
        self.place_of(HERE).is_ok()
    }

    /// The user as others see them.
    pub(super) fn person(&self) -> Person {
        let lease = |held: &Held| {
            let said = held.shown()?;
            let (kind, body) = (held.kind.clone(), said.body.clone());
            Some(Lease { kind, body, since: held.since, brief: said.until.is_some() })
        };
        Person { user: self.user.clone(), leases: self.leases.iter().filter_map(lease).collect() }
    }

    /// A connection holds a lease from now on. False if the user has all the leases that a user may
    /// have.
    pub(super) fn hold(&mut self, conn: u64, kind: &str, said: Said, wall: u64) -> bool {
        let at = match self.place_of(kind) {
            Ok(at) => at,
            Err(at) => {
                let is_own = |kind: &str| kind != HERE && kind != TYPING;
                if is_own(kind) && self.leases.iter().filter(|held| is_own(&held.kind)).count() >= MOST {
                    return false;
                }
                let (kind, holders) = (kind.to_owned(), Vec::with_capacity(1));
                self.leases.reserve_exact(1);
                self.leases.insert(at, Held { kind, since: wall, holders, last: None, ends: None });
                at
            }
        };
        let held = &mut self.leases[at];
        held.ends = None;
        match held.holders.iter_mut().find(|(holder, _)| *holder == conn) {
            Some((_, before)) => *before = said,
            None => held.holders.push((conn, said)),
        }
        true
    }

    /// A connection gives a lease up. It goes on while another one holds it.
    pub(super) fn give_up(&mut self, conn: u64, kind: &str) {
        if let Ok(at) = self.place_of(kind) {
            self.leases[at].lose(conn);
            if self.leases[at].holders.is_empty() {
                self.leases.remove(at);
            }
        }
    }

    /// Ends a lease, whoever holds it.
    pub(super) fn end(&mut self, kind: &str) {
        self.leases.retain(|held| held.kind != kind);
    }

    /// A connection holds none of these kinds any more; `at_once` without a grace.
    pub(super) fn release(&mut self, conn: u64, at_once: bool, of: impl Fn(&str) -> bool) {
        self.leases.retain_mut(|held| {
            let was_last = of(&held.kind) && held.lose(conn) && held.holders.is_empty();
            !(was_last && at_once)
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
        self.leases.retain_mut(|held| {
            let had_holders = !held.holders.is_empty();
            held.holders.retain(|(_, said)| said.until.is_none_or(&mut later));
            if !held.holders.is_empty() {
                return true;
            }
            if had_holders {
                return false;
            }
            let ends = *held.ends.get_or_insert(now.after(GRACE_MS));
            let until = held.last.as_ref().and_then(|last| last.until);
            later(until.map_or(ends, |until| until.min(ends)))
        });
        next
    }

    /// Whether a connection holds a lease, besides being there.
    pub(super) fn has_leases(&self, conn: u64) -> bool {
        let own = self.leases.iter().filter(|held| held.kind != HERE);
        own.flat_map(|held| &held.holders).any(|(holder, _)| *holder == conn)
    }

    /// Whether a lease ends by time.
    pub(super) fn is_timed(&self) -> bool {
        let is_brief = |(_, said): &(u64, Said)| said.until.is_some();
        self.leases.iter().any(|held| held.holders.is_empty() || held.holders.iter().any(is_brief))
    }

    fn place_of(&self, kind: &str) -> Result<usize, usize> {
        self.leases.binary_search_by(|held| held.kind.as_str().cmp(kind))
    }
}
