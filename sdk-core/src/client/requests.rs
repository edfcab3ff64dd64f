//! Handles connection events for all transports, and the requests of a connection without a
//! WebSocket.

use super::{Client, MESSAGE_BYTES, context};
use crate::io::{ConnId, Output, RequestId, ResponsePart};
use crate::link::{ABNORMAL, Heard};
use crate::part::Part;
use crate::time::Now;

impl<T: Part> Client<T> {
    pub(super) fn opened(&mut self, now: Now, conn: ConnId) {
        if self.link.opened(now, conn) {
            self.hello(now, conn);
        }
    }

    pub(super) fn received(&mut self, now: Now, conn: ConnId, text: &str) {
        if self.link.is_current(conn) {
            self.link.heard(now);
            self.meter.received(now.mono);
            self.message(now, conn, text);
        } else if self.link.is_successor(conn) {
            self.meter.received(now.mono);
            self.message(now, conn, text);
        }
    }

    pub(super) fn closed(&mut self, now: Now, conn: ConnId, code: u16, cause: Option<&str>) {
        if self.link.is_current(conn) {
            let why = self.link.refusal().or(cause).unwrap_or("");
            self.journal.note(now.wall, "closed", why, u64::from(code));
        }
        self.link.closed(context!(self, now), conn, code, cause);
    }

    /// Handles a part of a response.
    pub(super) fn response(&mut self, now: Now, request: RequestId, part: ResponsePart<'_>) {
        let Some((conn, heard)) = self.requests.response(now.mono, request, part, &mut self.out) else {
            return;
        };
        for heard in heard {
            match heard {
                Heard::Opened => self.opened(now, conn),
                Heard::Message(text) => self.received(now, conn, &text),
                Heard::Closed { code, cause } => self.closed(now, conn, code, cause.as_deref()),
            }
        }
    }

    /// Ends the connections on which a request took too long.
    pub(super) fn overdue(&mut self, now: Now) {
        while let Some(conn) = self.requests.overdue(now.mono, &mut self.out) {
            self.closed(now, conn, ABNORMAL, None);
        }
    }

    /// The welcomed connection, unless a request of it is under way that new messages would have to
    /// wait for. Ops stay in the outbox meanwhile: the budget counts ops when they are sent, and
    /// ops that are not sent can still be discarded.
    pub(super) fn ready(&self) -> Option<ConnId> {
        self.link.online().filter(|conn| !self.requests.is_busy(*conn))
    }

    /// The next output. Outputs for a connection that consists of requests go to its requests
    /// instead.
    pub(super) fn next_output(&mut self) -> Option<Output<T::Event>> {
        while let Some(output) = self.out.pop_front() {
            if matches!(output, Output::Transmit { .. }) {
                self.meter.sent(self.last.mono);
            }
            let output = self.requests.carry(self.last.mono, output);
            if output.is_some() {
                return output;
            }
        }
        None
    }

    /// The next request, or the abort of one.
    pub(super) fn next_request(&mut self, now: Now) -> Option<Output<T::Event>> {
        let most = self.limits.as_ref().map_or(MESSAGE_BYTES, |limits| limits.message_bytes);
        self.requests.flush(now.mono, most.min(MESSAGE_BYTES) as usize, &mut self.out);
        self.out.pop_front()
    }
}
