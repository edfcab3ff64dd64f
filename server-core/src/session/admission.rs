//! How a session begins, or is refused.

use super::state::{Flow, Session};
use crate::engine::{Engine, Peer, TurnedAway};
use crate::outgoing::Wake;
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::codes::close;

impl Session {
    /// A new connection; [`Flow::End`] when it is refused, with the reason queued for its client.
    /// `wake` is called when its queue has something to write.
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

    /// The same for a driver that reports the refusal to the client itself.
    pub fn try_open(engine: &Arc<Engine>, peer: Peer, wake: Wake, now: Now) -> Result<Session, TurnedAway> {
        let mut session = Session::new(engine, peer, wake, now);
        match engine.admit(peer, session.outgoing(), session.subscriptions(), session.pulse(), now.mono) {
            Ok(registration) => {
                tracing::debug!(conn = session.outgoing().id(), "connected");
                session.register(registration);
                engine.metrics.opened.count();
                Ok(session)
            }
            Err(reason) => {
                engine.metrics.refused.count(reason.code());
                if engine.is_logged(peer.address, now.mono) {
                    tracing::info!(conn = session.outgoing().id(), code = reason.code(), "turned away");
                }
                Err(reason)
            }
        }
    }

    /// Queues the reason why the connection is refused, and closes it.
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
