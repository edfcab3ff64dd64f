//! Admission of new connections: each is registered, or refused with a reason. A refused connection
//! holds no entry in the registry.

use super::{Engine, counted};
use crate::connections::{Pulse, Registration, Subscriptions};
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
    /// Whether its page's origin may connect.
    pub origin_allowed: bool,
    /// Its network address.
    pub address: IpAddr,
    /// Whether the session serves a single request, whose driver limits how many of those an address
    /// makes. Otherwise it counts as one of the address's handshakes.
    pub is_request: bool,
}

/// Logged refusals per address and minute. Without a limit, a client that is refused again and
/// again would fill the disk.
const LOGGED: Budget = Budget { ops: 6, per_ms: 60_000, burst: 6 };

/// Why a connection is closed right after it was made.
#[derive(Debug)]
pub enum TurnedAway {
    /// The origin of its page is not allowed.
    Origin,
    /// The server is about to stop; the `goaway` frame to send.
    GoingAway(Text),
    /// Its address made too many connections; the time after which it may try again, in ms.
    Early(u64),
    /// A limit of the number of connections is reached; the message says which.
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
    /// Registers a connection, or says why it is refused. A refused one has no entry.
    pub(crate) fn admit(
        &self,
        peer: Peer,
        outgoing: &Arc<Outgoing>,
        subscriptions: &Arc<Subscriptions>,
        pulse: &Arc<Pulse>,
        now: Time,
    ) -> Result<Registration, TurnedAway> {
        let address = counted(peer.address);
        if !peer.origin_allowed {
            return Err(TurnedAway::Origin);
        }
        if let Some(goaway) = self.connections.goaway() {
            return Err(TurnedAway::GoingAway(goaway));
        }
        if !peer.is_request
            && let Some(wait) = self.too_early(address, now)
        {
            return Err(TurnedAway::Early(wait));
        }
        self.connections.register(outgoing, subscriptions, pulse, address).map_err(TurnedAway::Crowded)
    }

    /// Whether a refusal of this address is to be logged.
    pub(crate) fn is_logged(&self, address: IpAddr, now: Time) -> bool {
        self.limiter.take(&format!("refused:{}", counted(address)), LOGGED, now).is_ok()
    }

    /// Counts a handshake. If there were too many, in how many ms the address may try again.
    fn too_early(&self, address: IpAddr, now: Time) -> Option<u64> {
        let ops = self.handshakes?;
        let name = format!("handshake:{address}");
        self.limiter.take(&name, Budget { ops, per_ms: 60_000, burst: ops }, now).err()
    }
}
