//! A connection as the server has it: the real session, and what it has not handled yet.

use crate::server::{Server, clock};
use crate::watch::Watch;
use std::collections::VecDeque;
use tidewire_core::Time;
use tidewire_server_core::{Answer, Flow, Session};

/// The server's end of a connection.
pub(crate) struct Connection {
    pub(crate) session: Session,
    flow: Flow,
    inbox: VecDeque<String>,
    /// Counts armed timers: only the newest fires.
    pub(crate) timer: u64,
}

impl Connection {
    pub(crate) fn new(session: Session, flow: Flow) -> Connection {
        Connection { session, flow, inbox: VecDeque::new(), timer: 0 }
    }

    /// A message arrives.
    pub(crate) fn hear(&mut self, now: u64, text: String) {
        self.session.heard(Time(now));
        self.inbox.push_back(text);
    }

    /// Lets the session handle what has arrived.
    pub(crate) fn serve(&mut self, now: u64, server: &Server, watch: &mut Watch) {
        loop {
            if self.waits_for_room() {
                self.flow = self.session.answered(clock(now), Answer::Room);
            }
            let flow = std::mem::replace(&mut self.flow, Flow::Ready);
            self.flow = server.read(now, &mut self.session, flow);
            if self.flow != Flow::Ready {
                break;
            }
            let Some(text) = self.inbox.pop_front() else { break };
            watch.trace(now, "server", &text);
            self.flow = self.session.message(clock(now), &text);
        }
    }

    /// Whether it stopped for a full queue that has room again.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.flow == Flow::Room && self.session.outgoing().has_room()
    }

    /// The next timer: its number, and when it fires; none when the session is about to close.
    pub(crate) fn arm(&mut self, now: u64) -> Option<(u64, u64)> {
        if self.session.outgoing().is_closing() {
            return None;
        }
        self.timer += 1;
        Some((self.timer, self.session.deadline(clock(now)).0.max(now + 1)))
    }

    /// The connection is over.
    pub(crate) fn end(mut self) {
        self.session.outgoing().abandon();
        self.session.end();
    }
}
