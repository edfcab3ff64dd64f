//! Every transition of the connection, in this one file.
//!
//! Idle → Token → Dialing → Hello → Online → Backoff | Offline | Parked → … → Closed | Failed. What
//! the application wants is the flag `wanted`, which only `connect` and `close` change; everything
//! else moves the phase. While online a *successor* may be on its way: another transport that takes
//! over once it is welcomed, because the server said that it goes away, or to return to a better
//! transport.

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

/// A session that lasted this long was useful: the backoff starts over.
const USEFUL_MS: u64 = 10_000;
/// Between dials while the system says that there is no network, because it may be wrong.
const OFFLINE_DIAL_MS: u64 = 60_000;
/// Over how long clients that all wake at once spread their dials.
const WAKE_SPREAD_MS: u64 = 250;
/// A spread beyond this would leave the client offline for good.
const MOST_SPREAD_MS: u64 = 600_000;
/// A page that was hidden for less than this needs no probe.
const HIDDEN_MS: u64 = 10_000;
/// Close codes below this are not the server's word: the transport died.
const SERVER_CODES: u16 = 3_000;

enum Phase {
    Idle,
    Token { ask: TokenAsk, until: Time },
    Dialing(Attempt),
    Hello(Attempt),
    Online { conn: ConnId, transport: Transport, since: Time, heartbeat: Heartbeat },
    Backoff { at: Time },
    Offline { at: Time },
    Parked,
    Closed,
    Failed,
}

/// A transport that is not welcomed yet.
#[derive(Clone, Copy)]
struct Attempt {
    conn: ConnId,
    transport: Transport,
    until: Time,
    /// The server ended the connection before at this one's hello, so its welcome is on the way:
    /// nothing is interrupted.
    took_over: bool,
}

/// The transport that is to take over.
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

/// The server goes away.
#[derive(Clone, Copy)]
struct Leaving {
    /// When this client's turn is to go elsewhere.
    at: Time,
    /// Whether its successor was dialled already.
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
    /// Of the last `goaway` on this connection.
    leaving: Option<Leaving>,
    /// Floor for the next dial, from the last `error` on this connection.
    retry_after_ms: u64,
    /// The last `error` on this connection.
    refusal: Option<Cause>,
    cause: Option<Cause>,
    was_online: bool,
    last_conn: u64,
    nonce: u64,
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
            credential: Credential::new(config.token_timeout_ms),
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
        }
    }

    // What others may know.

    /// The welcomed connection, if there is one.
    pub(crate) fn online(&self) -> Option<ConnId> {
        match self.phase {
            Phase::Online { conn, .. } => Some(conn),
            _ => None,
        }
    }

    /// How the welcomed connection reaches the server.
    pub(crate) fn transport(&self) -> Option<Transport> {
        match self.phase {
            Phase::Online { transport, .. } => Some(transport),
            _ => None,
        }
    }

    /// Whether `conn` is the attempt that counts.
    pub(crate) fn is_current(&self, conn: ConnId) -> bool {
        match &self.phase {
            Phase::Dialing(attempt) | Phase::Hello(attempt) => attempt.conn == conn,
            Phase::Online { conn: current, .. } => *current == conn,
            _ => false,
        }
    }

    /// Whether `conn` is on its way to take over.
    pub(crate) fn is_successor(&self, conn: ConnId) -> bool {
        self.successor.is_some_and(|successor| successor.attempt().conn == conn)
    }

    /// Whether the socket is open and the welcome is awaited.
    pub(crate) fn awaits_welcome(&self, conn: ConnId) -> bool {
        match (&self.phase, self.successor) {
            (Phase::Hello(attempt), _) if attempt.conn == conn => true,
            (_, Some(Successor::Hello(attempt))) => attempt.conn == conn,
            _ => false,
        }
    }

    /// Whether the connection before is gone and the welcome on the next one is as good as here.
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
            Phase::Parked => State::Parked,
            Phase::Closed => State::Closed,
            Phase::Failed => State::Failed,
        }
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.backoff.failures()
    }

    /// Why the connection is not there.
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

    /// The token to say hello with.
    pub(crate) fn credential(&self) -> Secret {
        self.credential.secret()
    }

    // Commands.

    pub(crate) fn connect(&mut self, cx: &mut Context<'_>) {
        self.wanted = true;
        if matches!(self.phase, Phase::Idle | Phase::Closed | Phase::Failed) {
            self.backoff.settled();
            self.credential.forgive();
            self.cause = None;
            self.was_online = false;
            self.begin(cx);
        } else if self.retry_at().is_some() {
            // Somebody asks for it: that is worth a dial before its time.
            self.nudge(cx);
        }
    }

    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        self.wanted = false;
        if let Some(conn) = self.online() {
            transmit(cx, conn, &ClientFrame::Bye);
        }
        self.drop_transports(cx, close::NORMAL);
        self.phase = Phase::Closed;
        self.cause = None;
    }

    /// The application says that another token is needed.
    pub(crate) fn renew_token(&mut self, cx: &mut Context<'_>) {
        self.credential.outdated(cx.now.mono, self.online().is_some());
    }

    // What happened outside.

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

    /// A byte arrived on the current connection.
    pub(crate) fn heard(&mut self, now: Now) {
        if let Phase::Online { heartbeat, .. } = &mut self.phase {
            heartbeat.heard(now.mono);
        }
    }

    /// Whether a byte arrived since then.
    pub(crate) fn heard_since(&self, at: Time) -> bool {
        matches!(&self.phase, Phase::Online { heartbeat, .. } if heartbeat.last_heard() >= at)
    }

    /// The server welcomes this connection; if it is the successor, the one before goes.
    pub(crate) fn welcomed(&mut self, cx: &mut Context<'_>, conn: ConnId, welcome: &Welcome) {
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

    /// The server goes away: at a time of its own within the spread each client opens another
    /// connection, before it lets this one go.
    pub(crate) fn goaway(&mut self, cx: &mut Context<'_>, spread_ms: u64) {
        let spread_ms = spread_ms.min(MOST_SPREAD_MS);
        let at = self.backoff.soon(cx.now.mono, spread_ms, cx.rng);
        self.leaving = Some(Leaving { at, tried: false, spread_ms });
    }

    /// The server said why it is about to close, or that a frame was wrong.
    pub(crate) fn refused(&mut self, cause: Cause, retry_after_ms: Option<u64>) {
        self.refusal = Some(cause);
        self.retry_after_ms = retry_after_ms.unwrap_or(0);
    }

    /// The transport is gone; `why` is what the driver knows about it.
    pub(crate) fn closed(&mut self, cx: &mut Context<'_>, conn: ConnId, code: u16, why: Option<&str>) {
        if self.is_successor(conn) {
            // The connection that works goes on; its own end decides what follows.
            self.successor = None;
        } else if self.is_current(conn) {
            self.lost(cx, code, why);
        }
    }

    /// The peer does what nobody may do: closes, backs off, reports this cause.
    pub(crate) fn broken(&mut self, cx: &mut Context<'_>, conn: ConnId, cause: &str) {
        if self.is_successor(conn) {
            self.drop_successor(cx, close::INTERNAL);
        } else if self.is_current(conn) {
            self.refusal = Some(cause.into());
            cx.out.push_back(Output::Close { conn, code: close::INTERNAL });
            self.lost(cx, close::INTERNAL, None);
        }
    }

    /// The answer to a request for a token.
    pub(crate) fn token(&mut self, cx: &mut Context<'_>, ask: TokenAsk, result: Result<String, TokenError>) {
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
            Some(Ok(token)) => transmit(cx, conn, &ClientFrame::Auth { token }),
            Some(Err(error)) if error.terminal => {
                self.drop_transports(cx, close::NORMAL);
                self.fail(Cause::new(&error.code, &error.message));
            }
            // The connection lives until the server ends it, and the token is asked for again.
            Some(Err(TokenError { code, message, .. })) => {
                cx.out.push_back(Output::Event(Event::Problem { code, message }));
            }
            None => {}
        }
    }

    pub(crate) fn network(&mut self, cx: &mut Context<'_>, hint: Network) {
        self.network_down = hint == Network::Offline;
        if hint == Network::Changed {
            self.ladder.forget(cx.now.mono);
        }
        if !self.wanted {
            return;
        }
        if self.network_down {
            if !matches!(self.phase, Phase::Parked | Phase::Failed | Phase::Offline { .. }) {
                self.drop_transports(cx, close::NORMAL);
                self.cause = Some("offline".into());
                self.phase = Phase::Offline { at: cx.now.mono.after(OFFLINE_DIAL_MS) };
            }
        } else {
            self.nudge(cx);
        }
    }

    pub(crate) fn lifecycle(&mut self, cx: &mut Context<'_>, life: Lifecycle) {
        match life {
            Lifecycle::Hidden => self.hidden_at = Some(cx.now.mono),
            Lifecycle::Shown => {
                let hidden = self.hidden_at.take().is_some_and(|at| cx.now.mono.since(at) >= HIDDEN_MS);
                self.frozen = false;
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

    /// There is a reason to doubt or to hurry: probe what is open, dial what waits.
    pub(crate) fn nudge(&mut self, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Online { .. } => self.probe(cx),
            Phase::Backoff { .. } | Phase::Offline { .. } | Phase::Parked if self.wanted && !self.frozen => {
                let at = self.backoff.soon(cx.now.mono, WAKE_SPREAD_MS, cx.rng);
                // A hurry never puts off a dial that comes earlier, nor undercuts what the server
                // asked.
                let at = match self.phase {
                    Phase::Backoff { at: planned } if planned < at || self.retry_after_ms > 0 => planned,
                    _ => at,
                };
                self.phase = Phase::Backoff { at };
            }
            _ => {}
        }
    }

    /// Asks the peer for a sign of life, unless that is under way.
    pub(crate) fn probe(&mut self, cx: &mut Context<'_>) {
        if let Phase::Online { conn, heartbeat, .. } = &mut self.phase
            && !heartbeat.is_probing()
        {
            heartbeat.probed(cx.now.mono);
            self.nonce += 1;
            let mut n = String::new();
            push_integer(&mut n, self.nonce);
            transmit(cx, *conn, &ClientFrame::Ping { n });
        }
    }

    // Time.

    /// When [`Connection::tick`] has something to do, and which timer says so.
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
            Phase::Idle | Phase::Parked | Phase::Closed | Phase::Failed => None,
        }
    }

    /// When to look after the successor again: to dial one, or because it takes too long.
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

    /// Fires what is due.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        match &self.phase {
            Phase::Token { until, .. } if *until <= now => {
                self.back_off(cx, Cause::new("token_timeout", "no token came in time"));
            }
            Phase::Dialing(attempt) | Phase::Hello(attempt) if attempt.until <= now => {
                let attempt = *attempt;
                // A machine that slept through the deadline learns nothing from it, but the socket
                // is of no use.
                cx.out.push_back(Output::Close { conn: attempt.conn, code: close::NORMAL });
                self.strike(attempt.transport);
                self.back_off(cx, "connect_timeout".into());
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

    fn tick_handover(&mut self, cx: &mut Context<'_>) {
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

    /// The clocks say that the machine or the page slept.
    pub(crate) fn woke(&mut self, cx: &mut Context<'_>) {
        if self.wanted {
            self.nudge(cx);
        }
    }

    /// Whether a timer for `at` fires so late that a sleep must lie between.
    pub(crate) fn is_late(at: Time, now: Time) -> bool {
        now.since(at) > LATE_MS
    }

    // Steps.

    /// Gets a token if one is needed, then dials.
    fn begin(&mut self, cx: &mut Context<'_>) {
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

    fn ask_token(&mut self, cx: &mut Context<'_>, renew: bool) {
        let ask = self.credential.next_ask(renew);
        cx.out.push_back(Output::FetchToken { ask, renew });
        self.phase = Phase::Token { ask, until: self.credential.patience(cx.now.mono) };
    }

    fn dial(&mut self, cx: &mut Context<'_>) {
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

    /// Opens the transport that is to take over. The token must be good, because a refusal would
    /// say nothing about this connection.
    fn dial_successor(&mut self, cx: &mut Context<'_>, transport: Transport) {
        if self.credential.is_usable(cx.now) && self.backoff.may_dial(cx.now.mono) {
            self.successor = Some(Successor::Dialing(self.open(cx, transport)));
        }
    }

    fn open(&mut self, cx: &mut Context<'_>, transport: Transport) -> Attempt {
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

    /// The server ends a connection when it hears the hello of the next one (takeover): on another
    /// transport that may arrive before the welcome. False if it is not so.
    fn take_over(&mut self, code: u16) -> bool {
        let Some(Successor::Hello(attempt)) = self.successor else { return false };
        if code != close::REPLACED || self.online().is_none() {
            return false;
        }
        self.successor = None;
        self.phase = Phase::Hello(Attempt { took_over: true, ..attempt });
        true
    }

    /// The successor takes the place of a connection that went too early; false if there is none.
    fn promote(&mut self) -> bool {
        match self.successor.take() {
            Some(Successor::Dialing(attempt)) => self.phase = Phase::Dialing(attempt),
            Some(Successor::Hello(attempt)) => self.phase = Phase::Hello(attempt),
            None => return false,
        }
        true
    }

    /// The current transport is gone, with this close code.
    fn lost(&mut self, cx: &mut Context<'_>, code: u16, why: Option<&str>) {
        let refusal = self.refusal.take();
        let leaving = self.leaving.take();
        self.judge_transport(cx.now, code);
        self.leave_online(cx.now);
        // A token that worked before and is refused now: the server's keys have changed, and a new
        // token may do.
        let outdated = code == close::UNAUTHORIZED && self.credential.worked();
        if close::is_terminal(code) && !outdated {
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
            self.cause = Some(refusal.unwrap_or_else(|| why.unwrap_or("connection_lost").into()));
        } else if let Some(leaving) = leaving {
            self.cause = Some(codes::GOAWAY.into());
            // A turn that is still to come stays; a dial that was made in vain is drawn anew.
            let at = if leaving.tried || leaving.at <= cx.now.mono {
                self.backoff.soon(cx.now.mono, leaving.spread_ms, cx.rng)
            } else {
                leaving.at
            };
            self.phase = Phase::Backoff { at };
        } else {
            self.back_off(cx, refusal.unwrap_or_else(|| why.unwrap_or("connection_lost").into()));
        }
    }

    /// What the end of a connection says about its transport.
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
    fn back_off(&mut self, cx: &mut Context<'_>, cause: Cause) {
        self.cause = Some(cause);
        let at = self.backoff.failed(cx.now.mono, self.retry_after_ms, cx.rng);
        self.phase = if self.network_down {
            Phase::Offline { at: cx.now.mono.after(OFFLINE_DIAL_MS) }
        } else {
            Phase::Backoff { at }
        };
    }

    /// Nothing is dialled from here on until the application says so.
    fn fail(&mut self, cause: Cause) {
        self.wanted = false;
        self.credential.forget();
        self.cause = Some(cause);
        self.phase = Phase::Failed;
    }

    /// Tells the driver to drop the sockets; final at once.
    fn drop_transports(&mut self, cx: &mut Context<'_>, code: u16) {
        self.drop_successor(cx, code);
        let conn = match &self.phase {
            Phase::Dialing(attempt) | Phase::Hello(attempt) => attempt.conn,
            Phase::Online { conn, .. } => *conn,
            _ => return,
        };
        cx.out.push_back(Output::Close { conn, code });
        self.leave_online(cx.now);
    }

    fn drop_successor(&mut self, cx: &mut Context<'_>, code: u16) {
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

/// A token that a `hello` can carry, or what is wrong with the one that came: asking again would
/// bring the same.
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
    Err(TokenError { terminal: true, ..TokenError::new("bad_token", message) })
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

fn transmit(cx: &mut Context<'_>, conn: ConnId, frame: &ClientFrame) {
    cx.out.push_back(Output::Transmit { conn, message: Message(frame.encode()) });
}
