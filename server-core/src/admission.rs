//! Who is let in: a connection gets its place, or is told why there is none and holds nothing.

use crate::connections::Place;
use crate::engine::{Engine, counted};
use crate::outgoing::{Outgoing, Wake};
use crate::seats::Seats;
use crate::session::{Flow, Peer, Session};
use crate::settings::Budget;
use crate::text::Text;
use std::net::IpAddr;
use std::sync::Arc;
use tidewire_core::wire::codes::{self, close};
use tidewire_core::{Now, Time};

/// So many refusals of an address are logged in a minute: whoever is refused again and again fills no disk.
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

impl Session {
    /// A new connection; [`Flow::End`] when it is turned away, which its client is told. `wake` is told of its queue.
    pub fn open(engine: &Arc<Engine>, peer: Peer, wake: Wake, now: Now) -> (Session, Flow) {
        match Session::try_open(engine, peer, wake.clone(), now) {
            Ok(session) => (session, Flow::Ready),
            Err(reason) => {
                let session = Session::new(engine, peer, wake, now);
                let flow = session.turn_away(reason);
                (session, flow)
            }
        }
    }

    /// A new connection, for a driver that can say itself why there is none.
    pub fn try_open(engine: &Arc<Engine>, peer: Peer, wake: Wake, now: Now) -> Result<Session, TurnedAway> {
        let mut session = Session::new(engine, peer, wake, now);
        match engine.admit(peer, session.outgoing(), session.seats(), now.mono) {
            Ok(place) => {
                tracing::debug!(conn = session.outgoing().id(), "connected");
                session.enter(place);
                Ok(session)
            }
            Err(reason) => {
                if engine.is_logged(peer.address, now.mono) {
                    tracing::info!(conn = session.outgoing().id(), code = reason.code(), "turned away");
                }
                Err(reason)
            }
        }
    }

    /// Says why there is no place for this connection.
    fn turn_away(&self, reason: TurnedAway) -> Flow {
        let code = reason.code();
        match reason {
            TurnedAway::Origin => {
                let message = "this page's origin may not use the server: list it with --allowed-origin, or say by \
                     which address the server is reached with --public-url";
                self.outgoing().refuse(close::FORBIDDEN, code, message);
            }
            TurnedAway::GoingAway(goaway) => {
                self.outgoing().push(goaway);
                self.outgoing().close(close::GOAWAY, code);
            }
            TurnedAway::Early(wait) => {
                self.rate_limited("too many connections were opened from this address", wait);
            }
            TurnedAway::Crowded(who) => self.outgoing().refuse(close::TOO_MANY_CONNECTIONS, code, who),
        }
        Flow::End
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

    /// Counts a handshake; in how many ms the address may come again when this was one too many.
    fn too_early(&self, address: IpAddr, now: Time) -> Option<u64> {
        let ops = self.handshakes?;
        let name = format!("handshake:{address}");
        self.limiter.take(&name, Budget { ops, per_ms: 60_000, burst: ops }, now).err()
    }
}
