//! A connection on the server's side: the real session, and messages that it has not handled yet.

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
    /// The number of the newest timer; older ones don't fire.
    pub(crate) timer: u64,
    /// The state of a connection over plain requests; `None` for a WebSocket.
    requests: Option<Requests>,
}

/// State that a connection's requests share.
#[derive(Default)]
struct Requests {
    inbox: Inbox,
    reader: Option<Reader>,
    /// Whether it is kept so that the client can fetch the close.
    keeps: bool,
}

/// The request whose response takes from the queue.
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

    /// A request has come, which counts as activity.
    pub(crate) fn is_alive(&mut self, now: u64) {
        self.session.heard(Time(now));
    }

    /// The order of its messages.
    pub(crate) fn inbox(&mut self) -> &mut Inbox {
        &mut self.requests.get_or_insert_default().inbox
    }

    /// The request whose response takes from the queue.
    pub(crate) fn reader(&self) -> Option<Reader> {
        self.requests.as_ref()?.reader
    }

    /// Makes a newer request the reader, and returns the previous one.
    pub(crate) fn read_by(&mut self, reader: Reader) -> Option<Reader> {
        self.requests.get_or_insert_default().reader.replace(reader)
    }

    /// Removes the reader, if it is this request.
    pub(crate) fn unread(&mut self, id: ExchangeId) -> Option<Reader> {
        self.requests.as_mut()?.reader.take_if(|reader| reader.id == id)
    }

    /// Keeps the connection for fetching the close; false if it is kept already.
    pub(crate) fn keeps(&mut self) -> bool {
        self.requests.as_mut().is_some_and(|requests| !std::mem::replace(&mut requests.keeps, true))
    }

    /// A message has arrived.
    pub(crate) fn hear(&mut self, now: u64, text: String) {
        self.session.heard(Time(now));
        self.inbox.push_back(text);
    }

    /// Lets the session handle the messages.
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

    /// Whether it waited for room in its queue, and there is some now.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.flow == Flow::Room && self.session.outgoing().has_room()
    }

    /// The next timer, with its number and time; `None` if the session is about to close.
    pub(crate) fn arm(&mut self, now: u64) -> Option<(u64, u64)> {
        if self.session.outgoing().is_closing() {
            return None;
        }
        self.timer += 1;
        Some((self.timer, self.session.deadline(clock(now)).0.max(now + 1)))
    }

    /// Ends the connection.
    pub(crate) fn end(mut self) {
        self.session.outgoing().abandon();
        self.session.end();
    }
}
