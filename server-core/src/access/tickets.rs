//! Tickets: credentials that are good once and for a short time, for where only a URL can carry one.
//!
//! URLs are kept in logs and histories. A ticket that is found there is of no use any more.

use super::identity::Identity;
use crate::lock::Mutex;
use std::collections::BTreeMap;
use tidewire_core::Time;

/// What tickets begin with. No token has a `~`, and neither has the secret of a session.
const PREFIX: &str = "ticket~";
/// Tickets whose time is over are looked for at this many for the first time.
const SWEEP: usize = 64;

/// Whether a credential is a ticket.
pub fn is_ticket(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

/// The tickets that were not used yet.
#[derive(Default)]
pub struct Tickets {
    unused: Mutex<Unused>,
}

#[derive(Default)]
struct Unused {
    by_text: BTreeMap<String, Ticket>,
    /// At how many tickets those are looked for whose time is over.
    sweep: usize,
}

struct Ticket {
    identity: Identity,
    until: Time,
}

impl Tickets {
    /// A new ticket, good for `ms` ms.
    pub(crate) fn add(&self, identity: Identity, secret: &str, now: Time, ms: u64) -> String {
        let text = format!("{PREFIX}{secret}");
        let mut unused = self.unused.lock();
        if unused.by_text.len() >= unused.sweep.max(SWEEP) {
            unused.by_text.retain(|_, ticket| ticket.until > now);
            unused.sweep = unused.by_text.len() * 2;
        }
        unused.by_text.insert(text.clone(), Ticket { identity, until: now.after(ms) });
        text
    }

    /// Uses a ticket up; `None` if it was used before, or its time is over.
    pub(crate) fn take(&self, text: &str, now: Time) -> Option<Identity> {
        let ticket = self.unused.lock().by_text.remove(text)?;
        (ticket.until > now).then_some(ticket.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Account;
    use tidewire_core::wire::{User, UserKind};

    fn ada() -> Identity {
        let user = User { id: "ada".to_owned(), name: "Ada".to_owned(), kind: UserKind::User, profile: None };
        Identity {
            user,
            account: Some(Account::Own),
            scopes: Default::default(),
            roles: Default::default(),
            claims: Default::default(),
            issued_s: None,
            expires_s: 9_999,
            session: None,
            site: None,
        }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_its_time() {
        let tickets = Tickets::default();
        let [first, second, third] =
            ["a", "b", "c"].map(|secret| tickets.add(ada(), secret, Time(0), 30_000));
        assert!(is_ticket(&first) && !is_ticket("a") && !is_ticket("a.b.c"));
        assert_eq!(tickets.take(&first, Time(29_999)).map(|ada| ada.user.id), Some("ada".to_owned()));
        assert!(tickets.take(&first, Time(29_999)).is_none(), "used");
        assert!(tickets.take(&second, Time(30_000)).is_none(), "too late");
        assert!(tickets.take(&third[..third.len() - 1], Time(0)).is_none());
        assert!(tickets.take("ticket~", Time(0)).is_none());
    }

    #[test]
    fn tickets_that_nobody_used_take_no_room_for_long() {
        let tickets = Tickets::default();
        for n in 0..10_000 {
            tickets.add(ada(), &n.to_string(), Time(n * 1_000), 30_000);
        }
        assert!(tickets.unused.lock().by_text.len() <= SWEEP);
    }
}
