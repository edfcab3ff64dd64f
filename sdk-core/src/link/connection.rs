//! Every transition of the connection, in this one file.
//!
//! Idle → Token → Dialing → Hello → Online → Backoff | Offline | Parked | Resting → … → Closed | Failed. The
//! flag `wanted` says whether the application wants a connection; only `connect` and `close` change
//! it. Everything else changes the phase.
//!
//! While online there may be a *successor*: a second connection that takes over once it is
//! welcomed. It is dialled after a `goaway`, with a new cookie, or to return to a better transport.

use super::backoff::Backoff;
use super::credential::Credential;
use super::heartbeat::{Heartbeat, LATE_MS, Verdict};
use super::transport::{Ladder, WORKS_MS};
use super::{Cause, Context};
use crate::config::Config;
use crate::event::{Event, State};
use crate::io::{ConnId, Lifecycle, Message, Network, Output, TokenAsk, TokenError, Transport};
use crate::time::{Now, Time};
use crate::wire::json::push_integer;
use crate::wire::{ClientFrame, MAX_TOKEN, Secret, Welcome, codes, codes::close};

/// After a session that lasted this long the backoff starts over.
const USEFUL_MS: u64 = 10_000;
/// Pause between dials while the system reports no network: the report may be wrong.
const OFFLINE_DIAL_MS: u64 = 60_000;
/// Over how long a woken client spreads its dial, because others may have woken with it.
const WAKE_SPREAD_MS: u64 = 250;
/// Longest spread that is accepted from a server: a longer one would keep the client offline.
const MOST_SPREAD_MS: u64 = 600_000;
/// A page that was hidden for less than this sends no probe when it is shown.
const HIDDEN_MS: u64 = 10_000;
/// Close codes below this do not come from the server's protocol: the transport failed.
const SERVER_CODES: u16 = 3_000;

enum Phase {
    Idle,
    Token {
        ask: TokenAsk,
        until: Time,
    },
    Dialing(Attempt),
    Hello(Attempt),
    Online {
        conn: ConnId,
        transport: Transport,
        since: Time,
        heartbeat: Heartbeat,
    },
    Backoff {
        at: Time,
    },
    Offline {
        at: Time,
    },
    Parked,
    /// The server ended an idle connection; the next one is made when the user does something.
    Resting,
    Disconnected,
    Closed,
    Failed,
}

/// A connection that was dialled and is not welcomed yet.
#[derive(Clone, Copy)]
struct Attempt {
    conn: ConnId,
    transport: Transport,
    until: Time,
    /// The server has ended the previous connection because of this one's `hello`. So the welcome
    /// is on its way, and the application need not hear of an interruption.
    took_over: bool,
}

/// The connection that is to take over.
#[derive(Clone, Copy)]
enum Successor {
    Dialing(Attempt),
    Hello(Attempt),
}

impl Successor {
    fn attempt(self) -> Attempt {
        match self {
            Successor::Dialing(attempt) | Successor::Hello(attempt) => attempt,
        }
    }
}

/// A `goaway` of the server.
#[derive(Clone, Copy)]
struct Leaving {
    /// When this client dials its successor: its own time within the spread.
    at: Time,
    /// Whether the successor was dialled already.
    tried: bool,
    spread_ms: u64,
}

pub(crate) struct Connection {
    phase: Phase,
    successor: Option<Successor>,
    wanted: bool,
    connect_timeout_ms: u64,
    backoff: Backoff,
    ladder: Ladder,
    credential: Credential,
    network_down: bool,
    frozen: bool,
    hidden_at: Option<Time>,
    /// The last `goaway` on this connection.
    leaving: Option<Leaving>,
    /// Shortest pause before the next dial, from the last `error` on this connection.
    retry_after_ms: u64,
    /// The last `error` on this connection.
    refusal: Option<Cause>,
    cause: Option<Cause>,
    was_online: bool,
    last_conn: u64,
    nonce: u64,
    /// When the last ping was sent, until it is answered.
    pinged: Option<Time>,
}

impl Connection {
    pub(crate) fn new(config: &Config) -> Connection {
        Connection {
            phase: Phase::Idle,
            successor: None,
            wanted: false,
            connect_timeout_ms: config.connect_timeout_ms,
            backoff: Backoff::new(config.backoff_base_ms, config.backoff_cap_ms),
            ladder: Ladder::new(&config.transports),
            credential: Credential::new(config.token_timeout_ms, config.cookie),
            network_down: false,
            frozen: false,
            hidden_at: None,
            leaving: None,
            retry_after_ms: 0,
            refusal: None,
            cause: None,
            was_online: false,
            last_conn: 0,
            nonce: 0,
            pinged: None,
        }
    }

    // Queries.

    /// The welcomed connection, if there is one.
    pub(crate) fn online(&self) -> Option<ConnId> {
        match self.phase {
            Phase::Online { conn, .. } => Some(conn),
            _ => None,
        }
    }

    /// The transport of the welcomed connection.
    pub(crate) fn transport(&self) -> Option<Transport> {
        match self.phase {
            Phase::Online { transport, .. } => Some(transport),
            _ => None,
        }
    }

    /// Whether `conn` is the current connection: dialled, opened or welcomed.
    pub(crate) fn is_current(&self, conn: ConnId) -> bool {
        match &self.phase {
            Phase::Dialing(attempt) | Phase::Hello(attempt) => attempt.conn == conn,
            Phase::Online { conn: current, .. } => *current == conn,
            _ => false,
        }
    }

    /// Whether `conn` is the successor.
    pub(crate) fn is_successor(&self, conn: ConnId) -> bool {
        self.successor.is_some_and(|successor| successor.attempt().conn == conn)
    }

    /// Whether `conn` is open and waits for its welcome.
    pub(crate) fn awaits_welcome(&self, conn: ConnId) -> bool {
        match (&self.phase, self.successor) {
            (Phase::Hello(attempt), _) if attempt.conn == conn => true,
            (_, Some(Successor::Hello(attempt))) => attempt.conn == conn,
            _ => false,
        }
    }

    /// Whether the server has ended the previous connection in favour of the current one, whose
    /// welcome is on its way.
    pub(crate) fn is_taken_over(&self) -> bool {
        matches!(self.phase, Phase::Hello(Attempt { took_over: true, .. }))
    }

    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Idle => State::Idle,
            _ if self.is_taken_over() => State::Online,
            Phase::Token { .. } | Phase::Dialing(_) | Phase::Hello(_) => {
                if self.was_online || self.backoff.failures() > 0 {
                    State::Reconnecting
                } else {
                    State::Connecting
                }
            }
            Phase::Online { .. } => State::Online,
            Phase::Backoff { .. } => State::Reconnecting,
            Phase::Offline { .. } => State::Offline,
            Phase::Parked | Phase::Resting => State::Parked,
            Phase::Disconnected => State::Disconnected,
            Phase::Closed => State::Closed,
            Phase::Failed => State::Failed,
        }
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.backoff.failures()
    }

    /// Why there is no connection.
    pub(crate) fn cause(&self) -> Option<&Cause> {
        if self.online().is_some() { None } else { self.cause.as_ref() }
    }

    /// When the next dial is made.
    pub(crate) fn retry_at(&self) -> Option<Time> {
        match self.phase {
            Phase::Backoff { at } | Phase::Offline { at } => Some(at),
            _ => None,
        }
    }

    /// Why the server said it is about to close.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.code.as_str())
    }

    /// The token for `hello`; none if a cookie is the credential.
    pub(crate) fn credential(&self) -> Option<Secret> {
        self.credential.secret()
    }

    // Commands.

    pub(crate) fn connect<E>(&mut self, cx: &mut Context<'_, E>) {
        if self.is_closed() {
            return;
        }
        self.wanted = true;
        if matches!(self.phase, Phase::Idle | Phase::Disconnected | Phase::Failed) {
            self.backoff.settled();
            self.credential.forgive();
            self.cause = None;
            self.was_online = false;
            self.begin(cx);
        } else if self.is_resting() {
            self.acted(cx.now.mono);
        } else if self.retry_at().is_some() {
            // The application asks for a connection: dial without waiting for the backoff.
            self.nudge(cx);
        }
    }

    /// Wants no connection until the next `connect`.
    pub(crate) fn disconnect<E>(&mut self, cx: &mut Context<'_, E>) {
        if self.is_closed() {
            return;
        }
        self.wanted = false;
        if let Some(conn) = self.online() {
            transmit(cx, conn, &ClientFrame::Bye);
        }
        self.drop_transports(cx, close::NORMAL);
        self.phase = Phase::Disconnected;
        self.cause = None;
    }

    /// Wants no connection any more.
    pub(crate) fn close<E>(&mut self, cx: &mut Context<'_, E>) {
        self.disconnect(cx);
        self.phase = Phase::Closed;
    }

    /// Whether the server ended an idle connection, and none is made until the user does something.
    pub(crate) fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Resting)
    }

    /// The user did something: if the server ended an idle connection, another one is made now.
    pub(crate) fn acted(&mut self, now: Time) {
        if self.is_resting() {
            self.phase = Phase::Backoff { at: now };
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The application asks for a new token, because the current one is out of date.
    pub(crate) fn renew_token<E>(&mut self, cx: &mut Context<'_, E>) {
        self.credential.outdated(cx.now.mono, self.online().is_some());
    }

    // Inputs.

    /// The socket is open: true if `hello` is to be sent on it.
    pub(crate) fn opened(&mut self, now: Now, conn: ConnId) -> bool {
        let until = now.mono.after(self.connect_timeout_ms);
        match (&self.phase, self.successor) {
            (Phase::Dialing(attempt), _) if attempt.conn == conn => {
                self.phase = Phase::Hello(Attempt { until, ..*attempt });
                true
            }
            (_, Some(Successor::Dialing(attempt))) if attempt.conn == conn => {
                self.successor = Some(Successor::Hello(Attempt { until, ..attempt }));
                true
            }
            _ => false,
        }
    }

    /// Notes that a byte arrived on the current connection.
    pub(crate) fn heard(&mut self, now: Now) {
        if let Phase::Online { heartbeat, .. } = &mut self.phase {
            heartbeat.heard(now.mono);
        }
    }

    /// Whether a byte arrived since this time.
    pub(crate) fn heard_since(&self, at: Time) -> bool {
        matches!(&self.phase, Phase::Online { heartbeat, .. } if heartbeat.last_heard() >= at)
    }

    /// The server welcomed this connection. If it is the successor, the previous connection is
    /// closed.
    pub(crate) fn welcomed<E>(&mut self, cx: &mut Context<'_, E>, conn: ConnId, welcome: &Welcome) {
        let attempt = match (&self.phase, self.successor) {
            (Phase::Hello(attempt), _) if attempt.conn == conn => *attempt,
            (Phase::Online { conn: old, .. }, Some(Successor::Hello(attempt))) if attempt.conn == conn => {
                let old = *old;
                transmit(cx, old, &ClientFrame::Bye);
                cx.out.push_back(Output::Close { conn: old, code: close::NORMAL });
                self.leave_online(cx.now);
                attempt
            }
            _ => return,
        };
        let now = cx.now.mono;
        let heartbeat = Heartbeat::new(now, welcome.ping_ms, welcome.grace_ms, attempt.transport);
        self.phase = Phase::Online { conn, transport: attempt.transport, since: now, heartbeat };
        self.ladder.began(now, attempt.transport);
        self.successor = None;
        self.leaving = None;
        self.retry_after_ms = 0;
        self.refusal = None;
        self.was_online = true;
        self.credential.forgive();
        self.cause = None;
        self.token_lasts(cx.now, welcome.token_ttl_ms);
    }

    /// The server accepted the token in-band.
    pub(crate) fn token_lasts(&mut self, now: Now, ttl_ms: u64) {
        self.credential.lasts(now, ttl_ms);
    }

    /// The server is about to stop. Each client opens its next connection at a random time within
    /// the spread, and closes this one afterwards.
    pub(crate) fn goaway<E>(&mut self, cx: &mut Context<'_, E>, spread_ms: u64) {
        let spread_ms = spread_ms.min(MOST_SPREAD_MS);
        let at = self.backoff.soon(cx.now.mono, spread_ms, cx.rng);
        self.leaving = Some(Leaving { at, tried: false, spread_ms });
    }

    /// An `error` frame: the server is about to close the connection, or a frame was wrong.
    pub(crate) fn refused(&mut self, cause: Cause, retry_after_ms: Option<u64>) {
        self.refusal = Some(cause);
        self.retry_after_ms = retry_after_ms.unwrap_or(0);
    }

    /// A connection is closed; `why` is the driver's code for the reason, if it has one.
    pub(crate) fn closed<E>(&mut self, cx: &mut Context<'_, E>, conn: ConnId, code: u16, why: Option<&str>) {
        if self.is_successor(conn) {
            // The current connection still works, so nothing else happens.
            self.successor = None;
        } else if self.is_current(conn) {
            self.lost(cx, code, why);
        }
    }

    /// The peer broke the protocol: closes the connection, backs off and reports this cause.
    pub(crate) fn broken<E>(&mut self, cx: &mut Context<'_, E>, conn: ConnId, cause: &str) {
        if self.is_successor(conn) {
            self.drop_successor(cx, close::INTERNAL);
        } else if self.is_current(conn) {
            self.refusal = Some(cause.into());
            cx.out.push_back(Output::Close { conn, code: close::INTERNAL });
            self.lost(cx, close::INTERNAL, None);
        }
    }

    /// The answer to a request for a token.
    pub(crate) fn token<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        ask: TokenAsk,
        result: Result<String, TokenError>,
    ) {
        let result = result.and_then(checked);
        if let Phase::Token { ask: current, .. } = self.phase
            && current == ask
        {
            match result {
                Ok(text) => {
                    self.credential.set(text);
                    self.dial(cx);
                }
                Err(error) if error.terminal => self.fail(Cause::new(&error.code, &error.message)),
                Err(error) => {
                    self.retry_after_ms = error.retry_after_ms.unwrap_or(0);
                    self.back_off(cx, Cause::new(&error.code, &error.message));
                }
            }
            return;
        }
        let Some(conn) = self.online() else { return };
        match self.credential.renewed(cx, ask, result) {
            Some(Ok(Some(token))) => transmit(cx, conn, &ClientFrame::Auth { token }),
            // The new cookie travels with a new connection. A `goaway` brings one anyway.
            Some(Ok(None)) if self.leaving.is_some() => {}
            Some(Ok(None)) => {
                let at = self.backoff.soon(cx.now.mono, 0, cx.rng);
                self.leaving = Some(Leaving { at, tried: false, spread_ms: 0 });
            }
            Some(Err(error)) if error.terminal => {
                self.drop_transports(cx, close::NORMAL);
                self.fail(Cause::new(&error.code, &error.message));
            }
            // The connection stays until the server ends it; the token is asked for again.
            Some(Err(TokenError { code, message, .. })) => {
                cx.out.push_back(Output::Event(Event::Problem { code, message }));
            }
            None => {}
        }
    }

    pub(crate) fn network<E>(&mut self, cx: &mut Context<'_, E>, hint: Network) {
        self.network_down = hint == Network::Offline;
        if hint == Network::Changed {
            self.ladder.forget(cx.now.mono);
        }
        if !self.wanted {
            return;
        }
        if self.network_down {
            let is_still =
                matches!(self.phase, Phase::Parked | Phase::Resting | Phase::Failed | Phase::Offline { .. });
            if !is_still {
                self.drop_transports(cx, close::NORMAL);
                self.cause = Some(codes::OFFLINE.into());
                self.phase = Phase::Offline { at: cx.now.mono.after(OFFLINE_DIAL_MS) };
            }
        } else {
            self.nudge(cx);
        }
    }

    pub(crate) fn lifecycle<E>(&mut self, cx: &mut Context<'_, E>, life: Lifecycle) {
        match life {
            Lifecycle::Hidden => self.hidden_at = Some(cx.now.mono),
            Lifecycle::Shown => {
                let hidden = self.hidden_at.take().is_some_and(|at| cx.now.mono.since(at) >= HIDDEN_MS);
                self.frozen = false;
                self.acted(cx.now.mono);
                if hidden || self.online().is_none() {
                    self.nudge(cx);
                }
            }
            Lifecycle::Resumed => {
                self.frozen = false;
                self.nudge(cx);
            }
            Lifecycle::Frozen => {
                self.frozen = true;
                if self.wanted && !matches!(self.phase, Phase::Failed) {
                    self.drop_transports(cx, close::NORMAL);
                    self.phase = Phase::Parked;
                }
            }
        }
    }

    /// Acts at once where it would wait: probes an open connection, and dials without waiting
    /// longer.
    pub(crate) fn nudge<E>(&mut self, cx: &mut Context<'_, E>) {
        match &self.phase {
            Phase::Online { .. } => self.probe(cx),
            Phase::Backoff { .. } | Phase::Offline { .. } | Phase::Parked if self.wanted && !self.frozen => {
                let at = self.backoff.soon(cx.now.mono, WAKE_SPREAD_MS, cx.rng);
                // The dial never comes later than planned, and never earlier than the server asked
                // for.
                let at = match self.phase {
                    Phase::Backoff { at: planned } if planned < at || self.retry_after_ms > 0 => planned,
                    _ => at,
                };
                self.phase = Phase::Backoff { at };
            }
            _ => {}
        }
    }

    /// Sends a ping, unless a probe is under way.
    pub(crate) fn probe<E>(&mut self, cx: &mut Context<'_, E>) {
        if let Phase::Online { conn, heartbeat, .. } = &mut self.phase
            && !heartbeat.is_probing()
        {
            let conn = *conn;
            heartbeat.probed(cx.now.mono);
            self.nonce += 1;
            self.pinged = Some(cx.now.mono);
            let n = self.nonce_text();
            transmit(cx, conn, &ClientFrame::Ping { n });
        }
    }

    /// A ping was answered: after how many ms, if it was the last one.
    pub(crate) fn ponged(&mut self, now: Time, n: &str) -> Option<u64> {
        let is_last = self.nonce_text() == n;
        self.pinged.take_if(|_| is_last).map(|at| now.since(at))
    }

    fn nonce_text(&self) -> String {
        let mut n = String::new();
        push_integer(&mut n, self.nonce);
        n
    }

    // Time.

    /// When [`Connection::tick`] has something to do, and the name of that timer.
    pub(crate) fn deadline(&self) -> Option<(Time, &'static str)> {
        match &self.phase {
            Phase::Token { until, .. } => Some((*until, "token")),
            Phase::Dialing(attempt) => Some((attempt.until, "dial")),
            Phase::Hello(attempt) => Some((attempt.until, "welcome")),
            Phase::Online { heartbeat, .. } => {
                let mut first = (heartbeat.deadline(), "heartbeat");
                for (at, why) in [(self.credential.deadline(), "renewal"), (self.handover_at(), "handover")] {
                    if let Some(at) = at
                        && at < first.0
                    {
                        first = (at, why);
                    }
                }
                Some(first)
            }
            Phase::Backoff { at } => Some((*at, "backoff")),
            Phase::Offline { at } => Some((*at, "offline")),
            Phase::Idle
            | Phase::Parked
            | Phase::Resting
            | Phase::Disconnected
            | Phase::Closed
            | Phase::Failed => None,
        }
    }

    /// When the handover has something to do: to dial a successor, or to give one up that takes too
    /// long.
    fn handover_at(&self) -> Option<Time> {
        if let Some(successor) = self.successor {
            return Some(successor.attempt().until);
        }
        match (self.leaving, self.ladder.retry_at()) {
            (Some(Leaving { at, tried: false, .. }), _) => Some(at),
            (Some(_), _) => None,
            (None, retry_at) => retry_at,
        }
    }

    /// Handles the timers that are due.
    pub(crate) fn tick<E>(&mut self, cx: &mut Context<'_, E>) {
        let now = cx.now.mono;
        match &self.phase {
            Phase::Token { until, .. } if *until <= now => {
                self.back_off(cx, Cause::new(codes::TOKEN_TIMEOUT, "no token came in time"));
            }
            Phase::Dialing(attempt) | Phase::Hello(attempt) if attempt.until <= now => {
                let attempt = *attempt;
                // After a sleep the deadline says nothing about the network, but the socket is
                // useless.
                cx.out.push_back(Output::Close { conn: attempt.conn, code: close::NORMAL });
                self.strike(attempt.transport);
                self.back_off(cx, codes::CONNECT_TIMEOUT.into());
            }
            Phase::Online { conn, heartbeat, .. } => match heartbeat.check(now) {
                Verdict::Alive => {}
                Verdict::Ask => {
                    if let Phase::Online { heartbeat, .. } = &mut self.phase {
                        heartbeat.heard(now);
                    }
                    self.probe(cx);
                }
                Verdict::Dead => {
                    cx.out.push_back(Output::Close { conn: *conn, code: close::PING_TIMEOUT });
                    self.leave_online(cx.now);
                    if !self.promote() {
                        self.cause = Some(codes::PING_TIMEOUT.into());
                        self.phase = Phase::Backoff { at: self.backoff.soon(now, 0, cx.rng) };
                    }
                }
            },
            Phase::Backoff { at } | Phase::Offline { at } if *at <= now => self.begin(cx),
            _ => {}
        }
        if self.online().is_some() {
            self.credential.tick(cx);
            self.tick_handover(cx);
        }
    }

    fn tick_handover<E>(&mut self, cx: &mut Context<'_, E>) {
        let now = cx.now.mono;
        if self.handover_at().is_none_or(|at| at > now) {
            return;
        }
        if self.successor.is_some() {
            self.drop_successor(cx, close::NORMAL);
        } else if let Some(leaving) = &mut self.leaving {
            leaving.tried = true;
            let transport = self.ladder.current();
            self.dial_successor(cx, transport);
        } else {
            self.ladder.retrying(now);
            let transport = self.ladder.best();
            self.dial_successor(cx, transport);
        }
    }

    /// The clocks show that the machine or the page slept.
    pub(crate) fn woke<E>(&mut self, cx: &mut Context<'_, E>) {
        if self.wanted {
            self.nudge(cx);
        }
    }

    /// Whether a timer for `at` fires so late that the machine or the page must have slept.
    pub(crate) fn is_late(at: Time, now: Time) -> bool {
        now.since(at) > LATE_MS
    }

    // Steps.

    /// Gets a token if one is needed, then dials.
    fn begin<E>(&mut self, cx: &mut Context<'_, E>) {
        if self.frozen {
            self.phase = Phase::Parked;
            return;
        }
        if self.credential.is_usable(cx.now) {
            self.dial(cx);
        } else {
            self.ask_token(cx, self.credential.wants_renewal());
        }
    }

    fn ask_token<E>(&mut self, cx: &mut Context<'_, E>, renew: bool) {
        let ask = self.credential.next_ask(renew);
        cx.out.push_back(Output::FetchToken { ask, renew });
        self.phase = Phase::Token { ask, until: self.credential.patience(cx.now.mono) };
    }

    fn dial<E>(&mut self, cx: &mut Context<'_, E>) {
        if let Some(at) = self.backoff.full_until(cx.now.mono) {
            self.phase = Phase::Backoff { at };
            return;
        }
        self.leaving = None;
        self.retry_after_ms = 0;
        self.refusal = None;
        self.credential.stop_renewal();
        let transport = self.ladder.current();
        self.phase = Phase::Dialing(self.open(cx, transport));
    }

    /// Dials the successor. The token must still be valid: a refusal would say nothing about the
    /// current connection.
    fn dial_successor<E>(&mut self, cx: &mut Context<'_, E>, transport: Transport) {
        if self.credential.is_usable(cx.now) && self.backoff.may_dial(cx.now.mono) {
            self.successor = Some(Successor::Dialing(self.open(cx, transport)));
        }
    }

    fn open<E>(&mut self, cx: &mut Context<'_, E>, transport: Transport) -> Attempt {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.backoff.dialled(cx.now.mono);
        if transport == Transport::WebSocket {
            cx.out.push_back(Output::Open { conn });
        } else {
            cx.requests.open(conn, transport);
        }
        Attempt { conn, transport, until: cx.now.mono.after(self.connect_timeout_ms), took_over: false }
    }

    /// Whether the successor caused this close: the server ends a connection when the `hello` of
    /// the next one arrives, and over another transport the close may come before the welcome. The
    /// successor then becomes the current connection.
    fn take_over(&mut self, code: u16) -> bool {
        let Some(Successor::Hello(attempt)) = self.successor else { return false };
        if code != close::REPLACED || self.online().is_none() {
            return false;
        }
        self.successor = None;
        self.phase = Phase::Hello(Attempt { took_over: true, ..attempt });
        true
    }

    /// Makes the successor the current connection, because the current one was lost before the
    /// welcome; false if there is no successor.
    fn promote(&mut self) -> bool {
        match self.successor.take() {
            Some(Successor::Dialing(attempt)) => self.phase = Phase::Dialing(attempt),
            Some(Successor::Hello(attempt)) => self.phase = Phase::Hello(attempt),
            None => return false,
        }
        true
    }

    /// The current connection was closed with this code.
    fn lost<E>(&mut self, cx: &mut Context<'_, E>, code: u16, why: Option<&str>) {
        let refusal = self.refusal.take();
        let leaving = self.leaving.take();
        self.judge_transport(cx.now, code);
        self.leave_online(cx.now);
        // If a token worked before and is refused now, the server's keys have changed, and a new
        // token may be accepted.
        let outdated = code == close::UNAUTHORIZED && self.credential.worked();
        if code == close::IDLE_TIMEOUT {
            self.drop_successor(cx, close::NORMAL);
            self.cause = Some(refusal.unwrap_or_else(|| codes::IDLE_TIMEOUT.into()));
            self.phase = Phase::Resting;
        } else if close::is_terminal(code) && !outdated {
            self.drop_successor(cx, close::NORMAL);
            self.fail(refusal.unwrap_or_else(|| terminal_code(code).into()));
        } else if code == close::TOKEN_EXPIRED || outdated {
            self.drop_successor(cx, close::NORMAL);
            self.cause = Some(codes::TOKEN_EXPIRED.into());
            if self.credential.refused_first_time() {
                self.ask_token(cx, true);
            } else {
                self.back_off(cx, refusal.unwrap_or_else(|| codes::TOKEN_EXPIRED.into()));
            }
        } else if self.take_over(code) {
            self.retry_after_ms = 0;
        } else if self.promote() {
            self.cause = Some(refusal.unwrap_or_else(|| why.unwrap_or(codes::CONNECTION_LOST).into()));
        } else if let Some(leaving) = leaving {
            self.cause = Some(codes::GOAWAY.into());
            // A time that is still to come stays. If the successor failed, another time is drawn.
            let at = if leaving.tried || leaving.at <= cx.now.mono {
                self.backoff.soon(cx.now.mono, leaving.spread_ms, cx.rng)
            } else {
                leaving.at
            };
            self.phase = Phase::Backoff { at };
        } else {
            self.back_off(cx, refusal.unwrap_or_else(|| why.unwrap_or(codes::CONNECTION_LOST).into()));
        }
    }

    /// Counts an early end against the transport, unless the server closed the connection.
    fn judge_transport(&mut self, now: Now, code: u16) {
        let early = match &self.phase {
            Phase::Dialing(attempt) | Phase::Hello(attempt) => Some(attempt.transport),
            Phase::Online { transport, since, .. } if now.mono.since(*since) < WORKS_MS => Some(*transport),
            _ => None,
        };
        if let Some(transport) = early
            && code < SERVER_CODES
        {
            self.strike(transport);
        }
    }

    fn strike(&mut self, transport: Transport) {
        if !self.network_down {
            self.ladder.strike(transport);
        }
    }

    /// Waits before the next dial, because something failed.
    fn back_off<E>(&mut self, cx: &mut Context<'_, E>, cause: Cause) {
        self.cause = Some(cause);
        let at = self.backoff.failed(cx.now.mono, self.retry_after_ms, cx.rng);
        self.phase = if self.network_down {
            Phase::Offline { at: cx.now.mono.after(OFFLINE_DIAL_MS) }
        } else {
            Phase::Backoff { at }
        };
    }

    /// Stops for good: nothing is dialled until the application calls `connect`.
    fn fail(&mut self, cause: Cause) {
        self.wanted = false;
        self.credential.forget();
        self.cause = Some(cause);
        self.phase = Phase::Failed;
    }

    /// Tells the driver to close all connections; nothing more is expected of them.
    fn drop_transports<E>(&mut self, cx: &mut Context<'_, E>, code: u16) {
        self.drop_successor(cx, code);
        let conn = match &self.phase {
            Phase::Dialing(attempt) | Phase::Hello(attempt) => attempt.conn,
            Phase::Online { conn, .. } => *conn,
            _ => return,
        };
        cx.out.push_back(Output::Close { conn, code });
        self.leave_online(cx.now);
    }

    fn drop_successor<E>(&mut self, cx: &mut Context<'_, E>, code: u16) {
        if let Some(successor) = self.successor.take() {
            cx.out.push_back(Output::Close { conn: successor.attempt().conn, code });
        }
    }

    fn leave_online(&mut self, now: Now) {
        if let Phase::Online { since, transport, .. } = self.phase {
            let lasted = now.mono.since(since);
            if lasted >= USEFUL_MS {
                self.backoff.settled();
            }
            if lasted >= WORKS_MS {
                self.ladder.works(transport);
            }
        }
        self.credential.stop_renewal();
    }
}

/// The token, if a `hello` can carry it. Otherwise the error is terminal, because the provider
/// would give the same token again.
fn checked(token: String) -> Result<String, TokenError> {
    let message = if token.is_empty() {
        "the token is empty"
    } else if token.len() > MAX_TOKEN {
        "the token is longer than 16,384 bytes; leave out claims"
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        "the token has characters that no token has; bring the JWT alone"
    } else {
        return Ok(token);
    };
    Err(TokenError { terminal: true, ..TokenError::new(codes::BAD_TOKEN, message) })
}

/// The code for a terminal close that came without an `error` frame.
fn terminal_code(code: u16) -> &'static str {
    match code {
        close::BAD_REQUEST => codes::BAD_REQUEST,
        close::UNAUTHORIZED => codes::UNAUTHORIZED,
        close::FORBIDDEN => codes::FORBIDDEN,
        close::UNSUPPORTED_VERSION => codes::UNSUPPORTED_VERSION,
        _ => "refused",
    }
}

fn transmit<E>(cx: &mut Context<'_, E>, conn: ConnId, frame: &ClientFrame) {
    cx.out.push_back(Output::Transmit { conn, message: Message(frame.encode()) });
}
