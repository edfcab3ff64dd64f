//! Who is let in: a connection gets its place, or is told why there is none and holds nothing.

use super::{Engine, counted};
use crate::connections::{Registration, Subscriptions};
use crate::limits::Budget;
use crate::outgoing::Outgoing;
use crate::text::Text;
use std::net::IpAddr;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::codes;

/// What the upgrade knows about a client.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Whether its page may connect.
    pub origin_allowed: bool,
    /// Where it comes from.
    pub address: IpAddr,
}

/// So many refusals of an address are logged in a minute: whoever is refused again and again fills
/// no disk.
const LOGGED: Budget = Budget { ops: 6, per_ms: 60_000, burst: 6 };

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
        subscriptions: &Arc<Subscriptions>,
        now: Time,
    ) -> Result<Registration, TurnedAway> {
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
        self.connections.register(outgoing, subscriptions, address).map_err(TurnedAway::Crowded)
    }

    /// Whether a refusal of this address is worth a line in the log.
    pub(crate) fn is_logged(&self, address: IpAddr, now: Time) -> bool {
        self.limiter.take(&format!("refused:{}", counted(address)), LOGGED, now).is_ok()
    }

    /// Counts a handshake; in how many ms the address may come again when this was one too many.
    fn too_early(&self, address: IpAddr, now: Time) -> Option<u64> {
        let ops = self.handshakes?;
        let name = format!("handshake:{address}");
        self.limiter.take(&name, Budget { ops, per_ms: 60_000, burst: ops }, now).err()
    }
}
