//! A connection as the server has it: the real session, and what it has not handled yet.

use crate::server::{Server, clock};
use crate::watch::Watch;
use crate::world::ExchangeId;
use std::collections::VecDeque;
use tidewire_core::Time;
use tidewire_server_core::requests::{Inbox, Mode};
use tidewire_server_core::{Answer, Flow, Session};

/// The server's end of a connection.
pub(crate) struct Connection {
    pub(crate) session: Session,
    flow: Flow,
    inbox: VecDeque<String>,
    /// Counts armed timers: only the newest fires.
    pub(crate) timer: u64,
    /// What there is of it without a WebSocket.
    requests: Option<Requests>,
}

/// What the requests of a connection share.
#[derive(Default)]
struct Requests {
    inbox: Inbox,
    reader: Option<Reader>,
    /// Whether its end waits to be fetched.
    keeps: bool,
}

/// The request whose response takes what waits.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) id: ExchangeId,
    pub(crate) mode: Mode,
}

impl Connection {
    pub(crate) fn new(session: Session, flow: Flow) -> Connection {
        Connection { session, flow, inbox: VecDeque::new(), timer: 0, requests: None }
    }

    /// One whose messages come in plain requests.
    pub(crate) fn over_requests(session: Session) -> Connection {
        Connection { requests: Some(Requests::default()), ..Connection::new(session, Flow::Ready) }
    }

    /// Whether its messages come in plain requests.
    pub(crate) fn is_over_requests(&self) -> bool {
        self.requests.is_some()
    }

    /// A request of it came.
    pub(crate) fn is_alive(&mut self, now: u64) {
        self.session.heard(Time(now));
    }

    /// The order of its messages.
    pub(crate) fn inbox(&mut self) -> &mut Inbox {
        &mut self.requests.get_or_insert_default().inbox
    }

    /// The request that takes what waits.
    pub(crate) fn reader(&self) -> Option<Reader> {
        self.requests.as_ref()?.reader
    }

    /// A newer request takes what waits; the one before.
    pub(crate) fn read_by(&mut self, reader: Reader) -> Option<Reader> {
        self.requests.get_or_insert_default().reader.replace(reader)
    }

    /// This request takes nothing more, if it is the one that does.
    pub(crate) fn unread(&mut self, id: ExchangeId) -> Option<Reader> {
        self.requests.as_mut()?.reader.take_if(|reader| reader.id == id)
    }

    /// Its end waits to be fetched from now on; false if it did already.
    pub(crate) fn keeps(&mut self) -> bool {
        self.requests.as_mut().is_some_and(|requests| !std::mem::replace(&mut requests.keeps, true))
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
