//! What all sessions share.

use crate::answers::Answering;
use crate::connections::{Connections, Place};
use crate::hub::Hub;
use crate::identity::Verify;
use crate::limiter::Limiter;
use crate::log::Submit;
use crate::outgoing::Outgoing;
use crate::revocations::Revocations;
use crate::seats::Seats;
use crate::session::Peer;
use crate::settings::{Budget, ServerLimits, Timeouts};
use crate::tables::Tables;
use crate::text::Text;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::codes;

/// The parts of a server that its sessions use.
pub struct Engine {
    /// What a connection may hold and send.
    pub limits: ServerLimits,
    /// Heartbeat and time-outs.
    pub timeouts: Timeouts,
    /// Handshakes of an address in a minute; none for no limit.
    pub handshakes: Option<u64>,
    /// Names this life of the log.
    pub epoch: String,
    /// Checks tokens.
    pub auth: Arc<dyn Verify>,
    /// Writes to the log.
    pub log: Arc<dyn Submit>,
    /// The channels in use.
    pub hub: Arc<Hub>,
    /// Budgets by name.
    pub limiter: Limiter,
    /// The live connections.
    pub connections: Arc<Connections>,
    /// Access that was taken back.
    pub revocations: Revocations,
    /// Answers messages; none when nobody does.
    pub answers: Option<Arc<dyn Answering>>,
    /// The live tables; none when there are none.
    pub tables: Option<Arc<Tables>>,
}

/// So many refusals of an address are logged in a minute: whoever is refused again and again fills no disk.
const LOGGED: Budget = Budget { ops: 6, per_ms: 60_000, burst: 6 };
/// How many times as much as one user the users of one address may ask for.
const USERS_PER_ADDRESS: u64 = 4;

/// Why a connection is sent away as soon as it is there.
#[derive(Debug)]
pub enum TurnedAway {
    /// Its page may not connect.
    Origin,
    /// The server is about to stop; the frame says so.
    GoingAway(Text),
    /// Its address opened too many; it may come again in so many ms.
    Early(u64),
    /// It is one too many: the text says of what.
    Crowded(&'static str),
}

impl TurnedAway {
    /// The stable code of the protocol, section 9.
    pub fn code(&self) -> &'static str {
        match self {
            TurnedAway::Origin => codes::ORIGIN_NOT_ALLOWED,
            TurnedAway::GoingAway(_) => codes::GOAWAY,
            TurnedAway::Early(_) => codes::RATE_LIMITED,
            TurnedAway::Crowded(_) => codes::TOO_MANY_CONNECTIONS,
        }
    }
}

impl Engine {
    /// Lets a connection in, or says why not; then it holds no place.
    pub(crate) fn admit(
        &self,
        peer: Peer,
        outgoing: &Arc<Outgoing>,
        seats: &Arc<Seats>,
        now: Time,
    ) -> Result<Place, TurnedAway> {
        let address = counted(peer.address);
        if !peer.origin_allowed {
            return Err(TurnedAway::Origin);
        }
        if let Some(goaway) = self.connections.goaway() {
            return Err(TurnedAway::GoingAway(goaway));
        }
        if let Some(wait) = self.too_early(address, now) {
            return Err(TurnedAway::Early(wait));
        }
        self.connections.enter(outgoing, seats, address).map_err(TurnedAway::Crowded)
    }

    /// Whether a refusal of this address is worth a line in the log.
    pub(crate) fn is_logged(&self, address: IpAddr, now: Time) -> bool {
        self.limiter.take(&format!("refused:{}", counted(address)), LOGGED, now).is_ok()
    }

    /// Whether this user, and whoever shares their address, may ask for a page now; an error says in how many ms.
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
        // Where handshakes are not counted by address, all clients share one.
        let address = self.handshakes.map(|_| (format!("pages-of:{}", counted(address)), of_address));
        std::iter::once(user).chain(address)
    }

    /// Counts a handshake; in how many ms the address may come again when this was one too many.
    fn too_early(&self, address: IpAddr, now: Time) -> Option<u64> {
        let ops = self.handshakes?;
        let name = format!("handshake:{address}");
        self.limiter.take(&name, Budget { ops, per_ms: 60_000, burst: ops }, now).err()
    }
}

/// What is counted as one address: in IPv6 a whole /64, because that is what one customer is given (RFC 6177).
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
