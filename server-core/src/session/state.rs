//! One client's connection, from the upgrade to the close.
//!
//! A session handles the client's messages and decides. Its frames wait in its [`Outgoing`] queue,
//! which the driver's writer empties. Reading and writing share only the queue, so a client that
//! does not read never keeps the server from reading, and the other way round.

use super::inflight::Inflight;
use super::waiting::Waiting;
use crate::access::{AuthError, Denied, Identity, Page};
use crate::connections::{Pulse, Registration, Subscriptions};
use crate::dialog::{Channel, Hub};
use crate::engine::{Engine, Peer};
use crate::limits::{Bucket, WINDOW_MS, Window};
use crate::outgoing::{Outgoing, Transport, Wake};
use crate::store::{Account, Found, Positions, Read, Reply, SessionRow, StoreError};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::codes::{self, close};
use tidewire_core::wire::{
    ChannelName, ClientFrame, Problem, Secret, ServerFrame, TableRequest, decode_client_message,
};
use tidewire_core::{Now, Time};

/// Longest pause between two checks of a token's end, in ms, because the wall clock may be set.
const LOOK_AGAIN_MS: u64 = 3_600_000;

/// What the driver does after a message or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// The session takes the next message.
    Ready,
    /// The session needs this from the store before it takes the next message. Pass the reply to
    /// [`Session::answered`]. Only channels ([`Read::Channel`], then [`crate::Hub::add`]), pages
    /// ([`Read::Events`]), memberships ([`Read::Memberships`]), positions ([`Read::Positions`]) and
    /// sessions ([`Read::Session`]) are read.
    Read(Read),
    /// As with [`Read::Channel`], but the channel is created first, unless it exists by then
    /// ([`crate::store::Write::CreateDialog`], without an owner, in this account). Answer with
    /// [`Answer::Channel`].
    Open(ChannelName, Account),
    /// Wait until [`Outgoing::has_room`], then call [`Session::answered`] with [`Answer::Room`].
    Room,
    /// The session takes no more messages. Write what is still in the queue, up to its close.
    End,
}

/// What a session waited for, for [`Session::answered`].
pub enum Answer {
    /// The reply to [`Read::Channel`]; none when there is no such channel.
    Channel(Result<Option<Arc<Channel>>, StoreError>),
    /// The reply to [`Read::Events`].
    Events(Result<Found, StoreError>),
    /// The reply to [`Read::Memberships`].
    Memberships(Result<Vec<ChannelName>, StoreError>),
    /// The reply to [`Read::Positions`].
    Positions(Result<Positions, StoreError>),
    /// The reply to [`Read::Session`].
    Session(Result<Option<SessionRow>, StoreError>),
    /// The queue has room ([`Flow::Room`]).
    Room,
}

impl Answer {
    /// Turns the store's reply into an answer; a channel is added to the hub. Read and add one
    /// channel at a time ([`Hub::add`]).
    pub fn new(read: &Read, reply: Result<Reply, StoreError>, hub: &Hub) -> Answer {
        match read {
            Read::Channel(name) => {
                let row = reply.and_then(Reply::channel);
                Answer::Channel(row.map(|row| row.map(|row| hub.add(name, row))))
            }
            Read::Positions { .. } => Answer::Positions(reply.and_then(Reply::positions)),
            Read::Memberships(_) => Answer::Memberships(reply.and_then(Reply::names)),
            Read::Session(_) => Answer::Session(reply.and_then(Reply::session)),
            _ => Answer::Events(reply.and_then(Reply::events)),
        }
    }
}

/// A connection's state. Dropping it frees its place among the connections.
///
/// The driver calls [`Session::heard`] for every byte that comes, [`Session::message`] for every
/// message while the last [`Flow`] was [`Flow::Ready`], and [`Session::tick`] at
/// [`Session::deadline`]. Once [`Outgoing::is_closing`] it writes what is queued and ends the
/// connection.
pub struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) outgoing: Arc<Outgoing>,
    inflight: Arc<Inflight>,
    /// None for a connection that was refused.
    pub(super) registration: Option<Registration>,
    /// The client's address.
    pub(super) address: IpAddr,
    /// Whether it serves a single request, so that its user counts nowhere as being there.
    pub(super) is_request: bool,
    pub(super) identity: Option<Arc<Identity>>,
    /// The credential that came with the connection, for a `hello` without one.
    pub(super) offered: Option<Result<Secret, AuthError>>,
    /// The page that it comes from.
    pub(super) page: Page,
    /// The user whose memberships it uses, if rules name members.
    pub(super) member: Option<String>,
    pub(super) subscriptions: Arc<Subscriptions>,
    /// Frames of the last message that are still to be handled.
    pub(super) todo: VecDeque<ClientFrame>,
    waiting: Option<Waiting>,
    /// When it was made, heard and used; the registry reads it.
    pub(super) pulse: Arc<Pulse>,
    /// When the message or answer that is being handled came.
    at: Now,
    pub(super) next_ping: Time,
    pings: u64,
    /// How many pongs the client still has to send; these are not counted as control frames.
    owed_pongs: u64,
    bad: Window,
    control: Window,
    signals: Bucket,
    pub(super) table_subs: Bucket,
    frames: Bucket,
}

impl Session {
    /// A session that has no place among the connections yet.
    pub(super) fn new(engine: &Arc<Engine>, peer: Peer, wake: Wake, now: Now) -> Session {
        let limits = &engine.limits;
        let number = engine.connections.number();
        let outgoing = Outgoing::new(number, limits.queue_bytes, limits.queue_messages, wake);
        let outgoing = Arc::new(outgoing.counted_in(&engine.metrics.written));
        if peer.is_request {
            outgoing.travels_by(Transport::Request);
        }
        if let Some(tables) = &engine.tables {
            let tables = Arc::downgrade(tables);
            outgoing.refill_by(Box::new(move || {
                if let Some(tables) = tables.upgrade() {
                    tables.refill(number);
                }
            }));
        }
        Session {
            inflight: Arc::new(Inflight::new(limits.inflight, limits.inflight_bytes)),
            bad: Window::new(limits.bad_frames),
            control: Window::new(limits.control_frames),
            signals: Bucket::full(limits.signals, now.mono),
            table_subs: Bucket::full(limits.table_subs, now.mono),
            frames: Bucket::full(limits.frames, now.mono),
            next_ping: now.mono.after(ms(engine.timeouts.ping)),
            pulse: Arc::new(Pulse::new(now)),
            at: now,
            outgoing,
            subscriptions: Arc::default(),
            registration: None,
            address: peer.address,
            is_request: peer.is_request,
            identity: None,
            offered: None,
            page: Page::default(),
            member: None,
            todo: VecDeque::new(),
            waiting: None,
            pings: 0,
            owed_pongs: 0,
            engine: engine.clone(),
        }
    }

    /// The queue of frames for the client.
    pub fn outgoing(&self) -> &Arc<Outgoing> {
        &self.outgoing
    }

    /// Notes the page that the connection comes from.
    pub fn comes_from(&mut self, page: Page) {
        self.page = page;
    }

    /// Notes the credential that came with the connection, such as a cookie, or why it may not be
    /// used. It counts only if `hello` brings none.
    pub fn offer(&mut self, credential: Result<Secret, AuthError>) {
        self.offered = Some(credential);
    }

    /// When [`Session::tick`] has something to do.
    pub fn deadline(&self, now: Now) -> Time {
        let times = &self.engine.timeouts;
        let Some(identity) = &self.identity else { return self.opened().after(ms(times.hello)) };
        let expired = now.mono.after(identity.good_ms(now).min(LOOK_AGAIN_MS));
        let next = self.next_ping.min(self.silent()).min(expired);
        self.idle_at().map_or(next, |idle_at| next.min(idle_at))
    }

    /// Notes that a byte came from the client, also one of an incomplete message.
    pub fn heard(&mut self, at: Time) {
        self.pulse.hears(at);
    }

    /// Handles the timers that are due: time-outs, the token's end, the next ping.
    pub fn tick(&mut self, now: Now) {
        let times = &self.engine.timeouts;
        let Some(identity) = &self.identity else {
            if now.mono >= self.opened().after(ms(times.hello)) {
                self.refuse(close::HELLO_TIMEOUT, codes::HELLO_TIMEOUT, "no hello came in time");
            }
            return;
        };
        if now.mono >= self.silent() {
            self.refuse(close::PING_TIMEOUT, codes::PING_TIMEOUT, "nothing was heard in time");
        } else if identity.good_ms(now) == 0 {
            let error = AuthError::Expired { at: identity.ends_s() };
            self.refuse(close::TOKEN_EXPIRED, codes::TOKEN_EXPIRED, &error.to_string());
        } else if self.idle_at().is_some_and(|at| now.mono >= at) {
            self.end_if_idle(now.mono);
        } else if now.mono >= self.next_ping {
            self.next_ping = now.mono.after(ms(times.ping));
            self.pings += 1;
            self.owed_pongs += 1;
            self.outgoing.send(&ServerFrame::Ping { n: self.pings.to_string() });
        }
    }

    /// Handles a text message.
    pub fn message(&mut self, now: Now, text: &str) -> Flow {
        self.at = now;
        if self.outgoing.is_closing() {
            return self.over(Flow::End);
        }
        if text.len() > self.engine.limits.message_bytes {
            return self.bad_frame(now, codes::TOO_LARGE, &self.too_large());
        }
        match decode_client_message(text) {
            Err(error) => self.bad_frame(now, error.code(), &error.to_string()),
            // The driver should have waited: frames would be handled out of order.
            Ok(_) if self.waiting.is_some() => self.lost(),
            Ok(frames) => {
                self.engine.metrics.messages.count();
                self.engine.metrics.frames.add(frames.len() as u64);
                if frames.is_empty()
                    && let Some(flow) = self.flooded(now)
                {
                    return flow;
                }
                self.todo.extend(frames);
                self.go_on(now)
            }
        }
    }

    /// Handles a binary message.
    pub fn binary(&mut self, now: Now) -> Flow {
        self.bad_frame(now, codes::BAD_FRAME, "binary messages are not part of the protocol")
    }

    /// Handles a ping or pong of the WebSocket itself.
    pub fn control(&mut self, now: Now) -> Flow {
        self.control_frame(now)
    }

    /// Handles a message that is too long to be read.
    pub fn too_big(&mut self) -> Flow {
        self.refuse(close::TOO_BIG, codes::TOO_LARGE, &self.too_large())
    }

    /// Handles input that is no WebSocket message: text that is not UTF-8, or frames that break the
    /// rules (RFC 6455 section 7.4.1).
    pub fn malformed(&mut self, is_text: bool) -> Flow {
        let (close, message) = match is_text {
            true => (close::NOT_UTF8, "a text message must be UTF-8"),
            false => (close::PROTOCOL_ERROR, "a frame breaks the rules of RFC 6455"),
        };
        self.refuse(close, codes::BAD_FRAME, message)
    }

    /// Continues with what the session waited for.
    pub fn answered(&mut self, now: Now, answer: Answer) -> Flow {
        self.at = now;
        if self.outgoing.is_closing() {
            self.waiting = None;
            return self.over(Flow::End);
        }
        let flow = match (self.waiting.take(), self.identity.clone(), answer) {
            (Some(Waiting::Sub(sub, opened)), Some(identity), Answer::Channel(found)) => {
                self.subscribe_to(&identity, sub, found, opened)
            }
            (Some(Waiting::Op(checked)), Some(identity), Answer::Channel(found)) => {
                self.submit_to(&identity, checked, found)
            }
            (Some(Waiting::Credential(pending, purpose)), _, Answer::Session(found)) => {
                self.session_found(now, pending, purpose, found)
            }
            (Some(Waiting::Hello(greeting)), _, Answer::Memberships(found)) => {
                self.greet_member(now, greeting, found)
            }
            (Some(Waiting::Page(paging)), _, Answer::Events(found)) => self.page_found(paging, found),
            (Some(Waiting::Page(paging)), _, Answer::Room) => self.page_with_room(paging),
            (Some(Waiting::Earlier(earlier)), _, Answer::Events(found)) => self.earlier_found(earlier, found),
            (Some(Waiting::Earlier(earlier)), _, Answer::Room) => self.earlier_with_room(earlier),
            (Some(Waiting::Marks(channel, head)), _, Answer::Positions(found)) => {
                self.marks_found(&channel, head, found)
            }
            _ => self.lost(),
        };
        if flow == Flow::Ready { self.go_on(now) } else { self.over(flow) }
    }

    /// The connection is over: nothing more is handled. If it has a close code already, that one
    /// stays.
    pub fn end(&mut self) {
        self.todo.clear();
        self.waiting = None;
        self.subscriptions.close();
        self.outgoing.close(close::NORMAL, "");
        self.leave_tables();
    }

    /// Handles frames until one has to wait.
    fn go_on(&mut self, now: Now) -> Flow {
        while let Some(frame) = self.todo.pop_front() {
            // Another part of the server may have ended the connection meanwhile.
            if self.outgoing.is_closing() {
                return self.over(Flow::End);
            }
            let flow = self.frame(now, frame);
            if flow != Flow::Ready {
                return self.over(flow);
            }
        }
        Flow::Ready
    }

    /// Drops the frames that are left once the session has ended.
    fn over(&mut self, flow: Flow) -> Flow {
        if flow == Flow::End {
            self.todo.clear();
        }
        flow
    }

    /// Ends the session because of a fault in the driver.
    pub(super) fn lost(&mut self) -> Flow {
        self.waiting = None;
        self.todo.clear();
        self.refuse(close::INTERNAL, codes::INTERNAL, "the server lost its place")
    }

    fn silent(&self) -> Time {
        let times = &self.engine.timeouts;
        self.pulse.heard().after(ms(times.ping)).after(ms(times.grace))
    }

    fn opened(&self) -> Time {
        self.pulse.opened().mono
    }

    /// The session has its place among the connections.
    pub(super) fn register(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }

    pub(super) fn subscriptions(&self) -> &Arc<Subscriptions> {
        &self.subscriptions
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn inflight(&self) -> &Arc<Inflight> {
        &self.inflight
    }

    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting = Some(waiting);
    }

    /// Takes a signal out of the budget; false when the budget is used up.
    pub(super) fn may_signal(&mut self, now: Now) -> bool {
        self.signals.take(now.mono).is_ok()
    }

    /// Counts a frame that no other budget counts; the end of the session if it was one too many.
    pub(super) fn flooded(&mut self, now: Now) -> Option<Flow> {
        let wait = self.frames.take(now.mono).err()?;
        Some(self.rate_limited("too many frames; send fewer of them", wait))
    }

    /// Whether the user may have a page now; the error is the time to wait, in ms.
    pub(super) fn may_page(&self) -> Result<(), u64> {
        let Some(identity) = &self.identity else { return Ok(()) };
        self.engine.may_page(&identity.key(), self.address, self.at.mono)
    }

    /// When the message or answer that is being handled came.
    pub(super) fn at(&self) -> Time {
        self.at.mono
    }

    /// As [`Session::at`], by both clocks.
    pub(super) fn now(&self) -> Now {
        self.at
    }

    /// Counts the bytes of a page that was sent.
    pub(super) fn paged(&self, bytes: usize) {
        if let Some(identity) = &self.identity {
            self.engine.paged(&identity.key(), self.address, bytes, self.at.mono);
        }
    }

    /// The channel of a subscription.
    pub(super) fn subscribed(&self, ch: &str) -> Option<Arc<Channel>> {
        self.subscriptions.channel(ch)
    }

    pub(super) fn is_subscribed(&self, ch: &str) -> bool {
        self.subscriptions.has(ch)
    }

    /// Ends a subscription that the client will begin again.
    pub(super) fn unsubscribe(&mut self, ch: &str) {
        self.subscriptions.end(ch);
    }

    fn too_large(&self) -> String {
        format!("a message may have at most {} bytes", self.engine.limits.message_bytes)
    }

    fn frame(&mut self, now: Now, frame: ClientFrame) -> Flow {
        let Some(identity) = self.identity.clone() else { return self.first_frame(now, frame) };
        let counted_elsewhere = matches!(
            frame,
            ClientFrame::Op(_)
                | ClientFrame::Signal(_)
                | ClientFrame::Lease(_)
                | ClientFrame::Table(TableRequest::Sub(_))
                | ClientFrame::Bye
        );
        if !counted_elsewhere && let Some(flow) = self.flooded(now) {
            return flow;
        }
        self.note_use(now.mono, &frame);
        match frame {
            ClientFrame::Hello { .. } => {
                return self.bad_frame(now, codes::BAD_FRAME, "hello was said already");
            }
            ClientFrame::Auth { token } => return self.auth(now, &token.0),
            ClientFrame::Sub(sub) => return self.subscribe(&identity, sub),
            ClientFrame::Unsub { ch } => {
                self.subscriptions.leave(&ch);
            }
            ClientFrame::Next { ch, from } => return self.next_page(ch, from),
            ClientFrame::Prev { ch, before, most } => return self.earlier(ch, before, most),
            ClientFrame::Op(op) => return self.submit(now, &identity, op),
            ClientFrame::Signal(signal) => return self.signal(now, &identity, signal),
            ClientFrame::Watch { ch } => self.watch(&ch),
            ClientFrame::Unwatch { ch } => self.unwatch(&ch),
            ClientFrame::Mark { ch, offset } => self.mark(now, &identity, &ch, offset),
            ClientFrame::Marks { ch } => return self.marks(&identity, &ch),
            ClientFrame::Lease(request) => return self.lease(now, &identity, request),
            ClientFrame::Ping { n } => {
                self.outgoing.send(&ServerFrame::Pong { n });
                return self.control_frame(now);
            }
            ClientFrame::Pong { .. } if self.owed_pongs > 0 => self.owed_pongs -= 1,
            ClientFrame::Pong { .. } => return self.control_frame(now),
            ClientFrame::Bye => {
                self.subscriptions.leave_all();
                self.outgoing.close(close::NORMAL, "bye");
                return Flow::End;
            }
            ClientFrame::Table(request) => return self.table(now, &identity, request),
            ClientFrame::Unknown => {}
        }
        Flow::Ready
    }

    pub(super) fn sub_denied(&self, ch: ChannelName, denied: Denied) {
        self.outgoing.send(&denied.sub_err(ch));
    }

    pub(super) fn sub_err(&self, ch: ChannelName, code: &str, message: String, retryable: bool) {
        let problem = Problem { code: code.to_owned(), message, retry_after_ms: None };
        self.outgoing.send(&ServerFrame::SubErr { ch, problem, retryable });
    }

    /// Tells the client what is wrong with something that has no answer of its own.
    pub(super) fn complain(&self, code: &str, message: &str, retry_after_ms: Option<u64>) {
        let problem = Problem { code: code.to_owned(), message: message.to_owned(), retry_after_ms };
        self.outgoing.send(&ServerFrame::Error(problem));
    }

    /// Reports a wrong frame. Too many of them end the connection.
    pub(super) fn bad_frame(&mut self, now: Now, code: &str, message: &str) -> Flow {
        self.complain(code, message, None);
        if self.bad.counts(now.mono) {
            return Flow::Ready;
        }
        self.refuse(close::BAD_REQUEST, codes::BAD_REQUEST, "too many bad frames")
    }

    pub(super) fn control_frame(&mut self, now: Now) -> Flow {
        if self.control.counts(now.mono) {
            return Flow::Ready;
        }
        self.rate_limited("too many pings and pongs", WINDOW_MS)
    }

    pub(super) fn rate_limited(&self, message: &str, wait_ms: u64) -> Flow {
        self.complain(codes::RATE_LIMITED, message, Some(wait_ms));
        self.outgoing.close(close::RATE_LIMITED, codes::RATE_LIMITED);
        self.note_refusal(codes::RATE_LIMITED);
        Flow::End
    }

    /// Counts a refusal before the welcome.
    fn note_refusal(&self, code: &str) {
        if self.registration.is_some() && self.identity.is_none() {
            self.engine.metrics.refused.count(code);
        }
    }

    pub(super) fn refuse_token(&self, error: &AuthError) -> Flow {
        tracing::info!(conn = self.outgoing.id(), code = error.code(), "token refused");
        self.refuse(error.close(), error.code(), &error.to_string())
    }

    /// Queues an `error` and the close.
    pub(super) fn refuse(&self, close: u16, code: &'static str, message: &str) -> Flow {
        self.outgoing.refuse(close, code, message);
        self.note_refusal(code);
        tracing::info!(conn = self.outgoing.id(), close, code, "closing");
        Flow::End
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // From here on nothing starts for this connection that would have to be ended.
        self.outgoing.close(close::NORMAL, "");
        if self.registration.is_some() {
            // Without a reason nothing was closed by the server.
            let closed = self.outgoing.closing().filter(|close| !close.reason.is_empty());
            self.engine.metrics.closed.count(closed.map(|close| close.code));
        }
        self.leave_tables();
        if let Some(user) = &self.member {
            self.engine.access.memberships.leave(user);
        }
    }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
