//! Every transition of the connection, in this one file.
//!
//! Idle → Token → Dialing → Hello → Online → Backoff | Offline | Parked → … → Closed | Failed. What the application wants is the flag
//! `wanted`, which only `connect` and `close` change; everything else moves the phase.

use super::backoff::Backoff;
use super::heartbeat::{Heartbeat, LATE_MS, Verdict};
use crate::config::Config;
use crate::event::State;
use crate::io::{ConnId, Lifecycle, Message, Network, Output, TokenAsk, TokenError};
use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::wire::json::push_integer;
use crate::wire::{ClientFrame, Secret, Welcome, codes, codes::close};
use std::collections::VecDeque;

/// How long the application may take to bring a token.
const TOKEN_MS: u64 = 30_000;
/// A token that lasts less than this is renewed before a dial, or in-band while online.
const TOKEN_SPARE_MS: u64 = 30_000;
/// A session that lasted this long was useful: the backoff starts over.
const USEFUL_MS: u64 = 10_000;
/// Between dials while the system says that there is no network, because it may be wrong.
const OFFLINE_DIAL_MS: u64 = 60_000;
/// Over how long clients that all wake at once spread their dials.
const WAKE_SPREAD_MS: u64 = 250;
/// Hints of a server that go beyond these would leave the client offline for good.
const MOST_RETRY_AFTER_MS: u64 = 3_600_000;
const MOST_SPREAD_MS: u64 = 600_000;
/// A page that was hidden for less than this needs no probe.
const HIDDEN_MS: u64 = 10_000;

/// What a transition needs from outside.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) out: &'a mut VecDeque<Output>,
}

enum Phase {
    Idle,
    Token { ask: TokenAsk, until: Time },
    Dialing { conn: ConnId, until: Time },
    Hello { conn: ConnId, until: Time },
    Online { conn: ConnId, since: Time, heartbeat: Heartbeat },
    Backoff { at: Time },
    Offline { at: Time },
    Parked,
    Closed,
    Failed,
}

/// The credential in use. `expires` is by the wall clock, known once a server has judged the token.
struct Token {
    text: String,
    expires: Option<u64>,
}

/// In-band renewal of the token while online.
enum Renewal {
    None,
    Due { at: Time },
    Asked { ask: TokenAsk, until: Time },
}

pub(crate) struct Connection {
    phase: Phase,
    wanted: bool,
    connect_timeout_ms: u64,
    backoff: Backoff,
    token: Option<Token>,
    renewal: Renewal,
    /// A token was refused as expired since the last welcome: the next refusal backs off, and only a new token will do.
    expired_once: bool,
    network_down: bool,
    frozen: bool,
    hidden_at: Option<Time>,
    /// Of the last `goaway` on this connection.
    spread_ms: Option<u64>,
    /// Floor for the next dial, from the last `error` on this connection.
    retry_after_ms: u64,
    /// Code of the last `error` on this connection.
    refusal: Option<String>,
    cause: Option<String>,
    was_online: bool,
    last_conn: u64,
    last_ask: u64,
    nonce: u64,
}

impl Connection {
    pub(crate) fn new(config: &Config) -> Connection {
        Connection {
            phase: Phase::Idle,
            wanted: false,
            connect_timeout_ms: config.connect_timeout_ms,
            backoff: Backoff::new(config.backoff_base_ms, config.backoff_cap_ms),
            token: None,
            renewal: Renewal::None,
            expired_once: false,
            network_down: false,
            frozen: false,
            hidden_at: None,
            spread_ms: None,
            retry_after_ms: 0,
            refusal: None,
            cause: None,
            was_online: false,
            last_conn: 0,
            last_ask: 0,
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

    /// Whether `conn` is the attempt that counts.
    pub(crate) fn is_current(&self, conn: ConnId) -> bool {
        matches!(self.phase, Phase::Dialing { conn: c, .. } | Phase::Hello { conn: c, .. } | Phase::Online { conn: c, .. } if c == conn)
    }

    /// Whether the socket is open and the welcome is awaited.
    pub(crate) fn awaits_welcome(&self) -> bool {
        matches!(self.phase, Phase::Hello { .. })
    }

    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Idle => State::Idle,
            Phase::Token { .. } | Phase::Dialing { .. } | Phase::Hello { .. } => {
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
    pub(crate) fn cause(&self) -> Option<&str> {
        if self.online().is_some() { None } else { self.cause.as_deref() }
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
        self.refusal.as_deref()
    }

    /// The token to say hello with.
    pub(crate) fn credential(&self) -> Secret {
        Secret(self.token.as_ref().map(|token| token.text.clone()).unwrap_or_default())
    }

    // Commands.

    pub(crate) fn connect(&mut self, cx: &mut Context<'_>) {
        self.wanted = true;
        if matches!(self.phase, Phase::Idle | Phase::Closed | Phase::Failed) {
            self.backoff.settled();
            self.expired_once = false;
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
        self.drop_transport(cx, close::NORMAL);
        self.phase = Phase::Closed;
        self.cause = None;
    }

    // What happened outside.

    /// The socket is open: true if `hello` is to be sent on it.
    pub(crate) fn opened(&mut self, now: Now, conn: ConnId) -> bool {
        match self.phase {
            Phase::Dialing { conn: current, .. } if current == conn => {
                self.phase = Phase::Hello { conn, until: now.mono.after(self.connect_timeout_ms) };
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

    pub(crate) fn welcomed(&mut self, cx: &mut Context<'_>, welcome: &Welcome) {
        if let Phase::Hello { conn, .. } = self.phase {
            let now = cx.now.mono;
            self.phase = Phase::Online {
                conn,
                since: now,
                heartbeat: Heartbeat::new(now, welcome.ping_ms, welcome.grace_ms),
            };
            self.was_online = true;
            self.expired_once = false;
            self.cause = None;
            self.token_lasts(cx.now, welcome.token_ttl_ms);
        }
    }

    /// The server accepted the token in-band.
    pub(crate) fn token_lasts(&mut self, now: Now, ttl_ms: u64) {
        if let Some(token) = &mut self.token {
            token.expires = Some(now.wall.saturating_add(ttl_ms));
        }
        let spare = TOKEN_SPARE_MS.min(ttl_ms / 2);
        self.renewal = Renewal::Due { at: now.mono.after((ttl_ms - spare).max(1_000)) };
    }

    pub(crate) fn goaway(&mut self, spread_ms: u64) {
        self.spread_ms = Some(spread_ms.min(MOST_SPREAD_MS));
    }

    /// The server said why it is about to close, or that a frame was wrong.
    pub(crate) fn refused(&mut self, code: &str, retry_after_ms: Option<u64>) {
        self.refusal = Some(code.to_owned());
        self.retry_after_ms = retry_after_ms.unwrap_or(0).min(MOST_RETRY_AFTER_MS);
    }

    pub(crate) fn closed(&mut self, cx: &mut Context<'_>, conn: ConnId, code: u16) {
        if self.is_current(conn) {
            self.lost(cx, code);
        }
    }

    /// The peer does what nobody may do: closes, backs off, reports this cause.
    pub(crate) fn broken(&mut self, cx: &mut Context<'_>, cause: &str) {
        self.refusal = Some(cause.to_owned());
        self.drop_transport(cx, close::INTERNAL);
        self.lost(cx, close::INTERNAL);
    }

    pub(crate) fn token(&mut self, cx: &mut Context<'_>, ask: TokenAsk, result: Result<String, TokenError>) {
        if let Renewal::Asked { ask: current, .. } = self.renewal
            && current == ask
        {
            self.renewed(cx, result);
        } else if let Phase::Token { ask: current, .. } = self.phase
            && current == ask
        {
            match result {
                Ok(text) => {
                    self.token = Some(Token { text, expires: None });
                    self.dial(cx);
                }
                Err(TokenError::Unauthorized) => self.fail(codes::UNAUTHORIZED),
                Err(TokenError::Unavailable) => self.back_off(cx, "token_unavailable"),
            }
        }
    }

    pub(crate) fn network(&mut self, cx: &mut Context<'_>, hint: Network) {
        self.network_down = hint == Network::Offline;
        if !self.wanted {
            return;
        }
        if self.network_down {
            if !matches!(self.phase, Phase::Parked | Phase::Failed | Phase::Offline { .. }) {
                self.drop_transport(cx, close::NORMAL);
                self.cause = Some("offline".to_owned());
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
                    self.drop_transport(cx, close::NORMAL);
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
                // A hurry never puts off a dial that comes earlier, nor undercuts what the server asked.
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
        let phase = match &self.phase {
            Phase::Token { until, .. } => Some((*until, "token")),
            Phase::Dialing { until, .. } => Some((*until, "dial")),
            Phase::Hello { until, .. } => Some((*until, "welcome")),
            Phase::Online { heartbeat, .. } => Some((heartbeat.deadline(), "heartbeat")),
            Phase::Backoff { at } => Some((*at, "backoff")),
            Phase::Offline { at } => Some((*at, "offline")),
            Phase::Idle | Phase::Parked | Phase::Closed | Phase::Failed => None,
        };
        let renewal = match self.renewal {
            Renewal::None => None,
            Renewal::Due { at } | Renewal::Asked { until: at, .. } => Some((at, "renewal")),
        };
        match (phase, renewal) {
            (Some(phase), Some(renewal)) if renewal.0 < phase.0 && self.online().is_some() => Some(renewal),
            _ => phase,
        }
    }

    /// Fires what is due.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        match &self.phase {
            Phase::Token { until, .. } if *until <= now => self.back_off(cx, "token_timeout"),
            Phase::Dialing { until, .. } | Phase::Hello { until, .. } if *until <= now => {
                // A machine that slept through the deadline learns nothing from it, but the socket is of no use.
                self.drop_transport(cx, close::NORMAL);
                self.back_off(cx, "connect_timeout");
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
                    let conn = *conn;
                    cx.out.push_back(Output::Close { conn, code: close::PING_TIMEOUT });
                    self.leave_online(cx.now);
                    self.cause = Some(codes::PING_TIMEOUT.to_owned());
                    self.phase = Phase::Backoff { at: self.backoff.soon(now, 0, cx.rng) };
                }
            },
            Phase::Backoff { at } | Phase::Offline { at } if *at <= now => self.begin(cx),
            _ => {}
        }
        self.tick_renewal(cx);
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
        let usable = self.token.as_ref().is_some_and(|token| {
            token.expires.is_none_or(|expires| expires > cx.now.wall.saturating_add(TOKEN_SPARE_MS))
        });
        if usable { self.dial(cx) } else { self.ask_token(cx, self.token.is_some() || self.expired_once) }
    }

    fn ask_token(&mut self, cx: &mut Context<'_>, renew: bool) {
        let ask = self.next_ask();
        cx.out.push_back(Output::FetchToken { ask, renew });
        self.phase = Phase::Token { ask, until: cx.now.mono.after(TOKEN_MS) };
    }

    fn next_ask(&mut self) -> TokenAsk {
        self.last_ask += 1;
        TokenAsk(self.last_ask)
    }

    fn dial(&mut self, cx: &mut Context<'_>) {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.backoff.dialled(cx.now.mono);
        self.spread_ms = None;
        self.retry_after_ms = 0;
        self.refusal = None;
        self.renewal = Renewal::None;
        cx.out.push_back(Output::Open { conn });
        self.phase = Phase::Dialing { conn, until: cx.now.mono.after(self.connect_timeout_ms) };
    }

    /// The current transport is gone, with this close code.
    fn lost(&mut self, cx: &mut Context<'_>, code: u16) {
        let refusal = self.refusal.take();
        let spread = self.spread_ms.take();
        self.leave_online(cx.now);
        // A token that worked before and is refused now: the server's keys have changed, and a new token may do.
        let outdated = code == close::UNAUTHORIZED && !self.expired_once && self.token_worked();
        if close::is_terminal(code) && !outdated {
            let code = refusal.as_deref().unwrap_or(terminal_code(code)).to_owned();
            self.fail(&code);
        } else if code == close::TOKEN_EXPIRED || outdated {
            self.cause = Some(codes::TOKEN_EXPIRED.to_owned());
            self.token = None;
            if std::mem::replace(&mut self.expired_once, true) {
                self.back_off(cx, codes::TOKEN_EXPIRED);
            } else {
                self.ask_token(cx, true);
            }
        } else if let Some(spread_ms) = spread {
            self.cause = Some(codes::GOAWAY.to_owned());
            self.phase = Phase::Backoff { at: self.backoff.soon(cx.now.mono, spread_ms, cx.rng) };
        } else {
            let cause = refusal.unwrap_or_else(|| "connection_lost".to_owned());
            self.back_off(cx, &cause);
        }
    }

    fn token_worked(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.expires.is_some())
    }

    /// Waits before the next dial, because something failed.
    fn back_off(&mut self, cx: &mut Context<'_>, cause: &str) {
        self.cause = Some(cause.to_owned());
        let at = self.backoff.failed(cx.now.mono, self.retry_after_ms, cx.rng);
        self.phase = if self.network_down {
            Phase::Offline { at: cx.now.mono.after(OFFLINE_DIAL_MS) }
        } else {
            Phase::Backoff { at }
        };
    }

    /// Nothing is dialled from here on until the application says so.
    fn fail(&mut self, code: &str) {
        self.wanted = false;
        self.renewal = Renewal::None;
        self.token = None;
        self.cause = Some(code.to_owned());
        self.phase = Phase::Failed;
    }

    /// Tells the driver to drop the socket, if there is one; final at once.
    fn drop_transport(&mut self, cx: &mut Context<'_>, code: u16) {
        if let Phase::Dialing { conn, .. } | Phase::Hello { conn, .. } | Phase::Online { conn, .. } =
            self.phase
        {
            cx.out.push_back(Output::Close { conn, code });
            self.leave_online(cx.now);
        }
    }

    fn leave_online(&mut self, now: Now) {
        if let Phase::Online { since, .. } = self.phase
            && now.mono.since(since) >= USEFUL_MS
        {
            self.backoff.settled();
        }
        self.renewal = Renewal::None;
    }

    // Renewal of the token while online.

    fn tick_renewal(&mut self, cx: &mut Context<'_>) {
        if self.online().is_none() {
            return;
        }
        let now = cx.now.mono;
        match self.renewal {
            Renewal::Due { at } if at <= now => {
                let ask = self.next_ask();
                cx.out.push_back(Output::FetchToken { ask, renew: true });
                self.renewal = Renewal::Asked { ask, until: now.after(TOKEN_MS) };
            }
            Renewal::Asked { until, .. } if until <= now => {
                self.renewed(cx, Err(TokenError::Unavailable));
            }
            _ => {}
        }
    }

    fn renewed(&mut self, cx: &mut Context<'_>, result: Result<String, TokenError>) {
        self.renewal = Renewal::None;
        let Some(conn) = self.online() else { return };
        match result {
            Ok(text) => {
                transmit(cx, conn, &ClientFrame::Auth { token: Secret(text.clone()) });
                self.token = Some(Token { text, expires: None });
            }
            Err(TokenError::Unauthorized) => {
                self.drop_transport(cx, close::NORMAL);
                self.fail(codes::UNAUTHORIZED);
            }
            // The connection lives until the server ends it; until then it is worth asking again.
            Err(TokenError::Unavailable) => {
                self.renewal = Renewal::Due { at: cx.now.mono.after(5_000) };
            }
        }
    }
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
