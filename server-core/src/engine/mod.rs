//! What all sessions of a server share.

mod admission;
mod identify;
mod revoke;
mod sessions;
mod sites;

pub use admission::{Peer, TurnedAway};
pub use identify::Identified;

use crate::access::{Access, Verify};
use crate::connections::Connections;
use crate::dialog::ops::Kinds;
use crate::dialog::{Answering, Hub};
use crate::limits::{Budget, Limiter, ServerLimits, Timeouts};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::tables::Tables;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{ChannelName, Epoch};

/// The parts of a server that its sessions use.
pub struct Engine {
    /// Limits of a connection.
    pub limits: ServerLimits,
    /// Heartbeat and time-outs.
    pub timeouts: Timeouts,
    /// Handshakes that an address may make in a minute; none for no limit.
    pub handshakes: Option<u64>,
    /// The epoch of the log.
    pub epoch: Epoch,
    /// Checks tokens.
    pub auth: Arc<dyn Verify>,
    /// The store of events, dialogs, runs and revocations.
    pub store: Arc<dyn Store>,
    /// The kinds of events.
    pub kinds: Kinds,
    /// The channels that are in memory.
    pub hub: Arc<Hub>,
    /// Rate limits by name.
    pub limiter: Limiter,
    /// The live connections.
    pub connections: Arc<Connections>,
    /// Who may do what.
    pub access: Access,
    /// Answers messages in dialogs; none if nothing does.
    pub answers: Option<Arc<dyn Answering>>,
    /// The live tables; none if the server has none.
    pub tables: Option<Arc<Tables>>,
    /// Counts what happens.
    pub metrics: Arc<Metrics>,
}

/// The budget of all users of one address, as a multiple of one user's.
const USERS_PER_ADDRESS: u64 = 4;

impl Engine {
    /// When [`Engine::tick`] has something to do.
    pub fn deadline(&self) -> Time {
        let hub = &self.hub;
        let deadlines = [hub.agenda().deadline(), hub.positions().deadline()].into_iter().flatten();
        deadlines.fold(hub.custody().deadline(), Time::min)
    }

    /// Tells who is in channels, stores how far they were read, and gives dialogs back whose
    /// operators are gone. Call it ten times a second, or
    /// at [`Engine::deadline`]. The first call counts as the server's start: whoever was there
    /// before gets some time to come back.
    pub fn tick(&self, now: Time) {
        self.hub.agenda().tick(now);
        self.hub.positions().store(now, self.store.as_ref());
        let connections = self.connections.clone();
        let is_there = Arc::new(move |user: &str| !connections.of_user(user).is_empty());
        let patience_ms = u64::try_from(self.timeouts.operator.as_millis()).unwrap_or(u64::MAX);
        let hub = self.hub.clone();
        let loaded = Arc::new(move |name: &ChannelName| hub.loaded(name));
        self.hub.custody().look(now, patience_ms, &self.store, loaded, is_there);
    }

    /// Whether this user, and the users of this address together, may request a page now. The error
    /// is the wait in ms.
    pub(crate) fn may_page(&self, user: &str, address: IpAddr, now: Time) -> Result<(), u64> {
        for (name, budget) in self.page_budgets(user, address) {
            self.limiter.look(&name, budget, now)?;
        }
        Ok(())
    }

    /// Counts a page's bytes.
    pub(crate) fn paged(&self, user: &str, address: IpAddr, bytes: usize, now: Time) {
        for (name, budget) in self.page_budgets(user, address) {
            self.limiter.charge(&name, budget, bytes, now);
        }
    }

    fn page_budgets(&self, user: &str, address: IpAddr) -> impl Iterator<Item = (String, Budget)> {
        let of_user = self.limits.page_bytes;
        let of_address = Budget {
            ops: of_user.ops.saturating_mul(USERS_PER_ADDRESS),
            burst: of_user.burst.saturating_mul(USERS_PER_ADDRESS),
            ..of_user
        };
        let user = (format!("pages:{user}"), of_user);
        // Without limits by address all clients may share one address, behind a proxy that is not
        // trusted.
        let address = self.handshakes.map(|_| (format!("pages-of:{}", counted(address)), of_address));
        std::iter::once(user).chain(address)
    }
}

/// What is counted as one address: in IPv6 a whole /64, because that is what one customer is given
/// (RFC 6177).
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_64_is_one_address() {
        let of = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
