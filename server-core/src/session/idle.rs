//! The end of a connection on which its user does nothing (protocol section 6).

use super::state::{Session, ms};
use crate::connections::Pulse;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::ClientFrame;
use tidewire_core::wire::codes::{self, close};

impl Session {
    /// When the connection is closed because its user does nothing; none if it never is.
    pub(super) fn idle_at(&self) -> Option<Time> {
        let idle_ms = ms(self.engine().timeouts.idle);
        (idle_ms > 0 && !self.is_request).then(|| self.pulse().acted().after(idle_ms))
    }

    /// Closes the connection, unless it holds a lease: that is something that its user does.
    pub(super) fn end_if_idle(&mut self, at: Time) {
        if self.subscriptions().has_leases(self.outgoing().id()) {
            self.pulse().acts(at);
        } else {
            let message = "nothing was done on this connection for too long; connect again to go on";
            self.refuse(close::IDLE_TIMEOUT, codes::IDLE_TIMEOUT, message);
        }
    }

    /// Notes what the user does. What a client sends by itself to keep its connection is not that.
    pub(super) fn note_use(&self, at: Time, frame: &ClientFrame) {
        let is_upkeep = matches!(
            frame,
            ClientFrame::Auth { .. }
                | ClientFrame::Ping { .. }
                | ClientFrame::Pong { .. }
                | ClientFrame::Unknown
        );
        if !is_upkeep {
            self.pulse().acts(at);
        }
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}
