//! One client's connection, from the upgrade to the close.
//!
//! The session reads and decides; its writer ([`Outgoing::run`]) writes. They share only the queue, so a client that does
//! not read never keeps the server from hearing it, and the other way round.

use crate::activity::Activity;
use crate::address;
use crate::app::App;
use crate::auth::{AuthError, Identity, LEEWAY_S, kind_name};
use crate::channel::{Channel, Seat};
use crate::clock;
use crate::connections::Place;
use crate::hub::{self, Denied};
use crate::outgoing::Outgoing;
use crate::pages::{self, Ask};
use crate::submit::Inflight;
use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::codes::{self, close};
use tidewire_core::wire::{
    ClientFrame, Problem, ServerFrame, Subscription, VERSION, Welcome, decode_client_message, is_uuid,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

/// Over this time bad and control frames are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// The wall clock is looked at this often for a token's end.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// So many messages are read after the end; whoever sends more is cut off.
const MAX_LATE: usize = 1_000;
/// When to ask again for a dialog that has all its connections.
const FULL_RETRY_MS: u64 = 5_000;
/// How long the peer may take to answer a close.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// What the upgrade knows about a client.
pub(crate) struct Peer {
    /// When it was last heard.
    pub(crate) activity: Activity,
    /// Whether its page may connect.
    pub(crate) origin_allowed: bool,
    /// Where it comes from.
    pub(crate) address: IpAddr,
}

/// A connection's state.
pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) inflight: Arc<Inflight>,
    place: Place,
    identity: Option<Arc<Identity>>,
    subscriptions: HashMap<String, Seat>,
    activity: Activity,
    opened: Instant,
    next_ping: Instant,
    pings: u64,
    /// Pongs that the client owes us, and may send without being counted.
    owed_pongs: u64,
    bad: Window,
    control: Window,
}

/// Serves one connection.
pub(crate) async fn serve(app: Arc<App>, socket: WebSocket, peer: Peer) {
    let limits = &app.config.limits;
    let (place, crowded) =
        app.connections.enter(limits.queue_bytes, limits.queue_messages, address::counted(peer.address));
    let early = app.too_early(peer.address);
    let outgoing = place.outgoing.clone();
    let conn = outgoing.id();
    let (sink, mut stream) = socket.split();
    let writer = tokio::spawn({
        let (outgoing, write) = (outgoing.clone(), app.config.timeouts.write);
        async move { outgoing.run(sink, write).await }
    });
    let now = Instant::now();
    let mut session = Session {
        inflight: Arc::new(Inflight::new(limits.inflight, limits.inflight_bytes)),
        bad: Window::new(limits.bad_frames),
        control: Window::new(limits.control_frames),
        next_ping: now + app.config.timeouts.ping,
        opened: now,
        activity: peer.activity,
        outgoing,
        place,
        identity: None,
        subscriptions: HashMap::new(),
        pings: 0,
        owed_pongs: 0,
        app,
    };
    tracing::debug!(conn, "connected");
    if !peer.origin_allowed {
        session.refuse(
            close::FORBIDDEN,
            codes::ORIGIN_NOT_ALLOWED,
            "this origin is not on the server's list; add it with --allowed-origin",
        );
    } else if let Some(who) = crowded {
        session.refuse(close::TOO_MANY_CONNECTIONS, codes::TOO_MANY_CONNECTIONS, who);
    } else if let Some(wait) = early {
        session.rate_limited("too many connections were opened from this address", wait);
    } else {
        session.run(&mut stream).await;
    }
    session.subscriptions.clear();
    // When the peer went first this lets the writer end; otherwise the earlier reason stays.
    session.outgoing.close(close::NORMAL, "");
    linger(&mut stream, writer).await;
    tracing::debug!(conn, "disconnected");
}

/// Reads on until the close frame is written and answered: closing a socket with unread bytes would tear the close frame away.
async fn linger(stream: &mut SplitStream<WebSocket>, writer: tokio::task::JoinHandle<()>) {
    let abort = writer.abort_handle();
    let drained = async {
        for _ in 0..MAX_LATE {
            let Some(Ok(_)) = stream.next().await else { return };
        }
    };
    tokio::pin!(drained);
    tokio::select! {
        _ = writer => {
            let _ = timeout(CLOSE_TIME, drained).await;
        }
        () = &mut drained => {
            // The peer is gone, or sends for ever: what is left to write has no reader.
            tokio::time::sleep(Duration::from_millis(50)).await;
            abort.abort();
        }
    }
}

impl Session {
    async fn run(&mut self, stream: &mut SplitStream<WebSocket>) {
        let outgoing = self.outgoing.clone();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                () = outgoing.closing() => return,
                message = stream.next() => match message {
                    Some(Ok(message)) => {
                        if !self.message(message).await {
                            return;
                        }
                    }
                    Some(Err(error)) => return self.read_failed(error),
                    None => return,
                },
                () = sleep_until(deadline) => self.tick(),
            }
        }
    }

    /// When [`Session::tick`] has something to do.
    fn deadline(&self) -> Instant {
        let times = &self.app.config.timeouts;
        let Some(identity) = &self.identity else { return self.opened + times.hello };
        let silent = self.activity.heard() + times.ping + times.grace;
        self.next_ping.min(silent).min(Instant::now() + token_left(identity).min(LOOK_AGAIN))
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let times = &self.app.config.timeouts;
        let Some(identity) = self.identity.clone() else {
            if now >= self.opened + times.hello {
                self.refuse(close::HELLO_TIMEOUT, codes::HELLO_TIMEOUT, "no hello came in time");
            }
            return;
        };
        if now >= self.activity.heard() + times.ping + times.grace {
            self.refuse(close::PING_TIMEOUT, codes::PING_TIMEOUT, "nothing was heard in time");
        } else if token_left(&identity).is_zero() {
            let error = AuthError::Expired { at: identity.expires_s };
            self.refuse(close::TOKEN_EXPIRED, codes::TOKEN_EXPIRED, &error.to_string());
        } else if now >= self.next_ping {
            self.next_ping = now + times.ping;
            self.pings += 1;
            self.owed_pongs += 1;
            self.outgoing.send(&ServerFrame::Ping { n: self.pings.to_string() });
        }
    }

    fn read_failed(&self, error: axum::Error) {
        let error = error.into_inner();
        if let Some(tungstenite::Error::Capacity(_)) = error.downcast_ref::<tungstenite::Error>() {
            self.refuse(close::TOO_BIG, codes::TOO_LARGE, &self.too_large());
        }
    }

    fn too_large(&self) -> String {
        format!("a message may have at most {} bytes", self.app.config.limits.message_bytes)
    }

    /// Handles one message; false when the connection is over.
    async fn message(&mut self, message: Message) -> bool {
        match message {
            Message::Text(text) if text.len() > self.app.config.limits.message_bytes => {
                self.bad_frame(codes::TOO_LARGE, &self.too_large())
            }
            Message::Text(text) => match decode_client_message(&text) {
                Err(error) => self.bad_frame(error.code(), &error.to_string()),
                Ok(frames) => {
                    for frame in frames {
                        if !self.frame(frame).await {
                            return false;
                        }
                    }
                    true
                }
            },
            Message::Binary(_) => {
                self.bad_frame(codes::BAD_FRAME, "binary messages are not part of the protocol")
            }
            Message::Ping(_) | Message::Pong(_) => self.control_frame(),
            Message::Close(_) => false,
        }
    }

    async fn frame(&mut self, frame: ClientFrame) -> bool {
        let Some(identity) = self.identity.clone() else { return self.first_frame(frame).await };
        match frame {
            ClientFrame::Hello { .. } => return self.bad_frame(codes::BAD_FRAME, "hello was said already"),
            ClientFrame::Auth { token } => return self.auth(&identity, &token.0),
            ClientFrame::Sub(sub) => self.subscribe(&identity, sub).await,
            ClientFrame::Unsub { ch } => {
                self.subscriptions.remove(&ch);
            }
            ClientFrame::Next { ch, from } => self.next_page(ch, from).await,
            ClientFrame::Op(op) => self.submit(&identity, op).await,
            ClientFrame::Signal(_) => {}
            ClientFrame::Ping { n } => {
                self.outgoing.send(&ServerFrame::Pong { n });
                return self.control_frame();
            }
            ClientFrame::Pong { .. } if self.owed_pongs > 0 => self.owed_pongs -= 1,
            ClientFrame::Pong { .. } => return self.control_frame(),
            ClientFrame::Bye => {
                self.outgoing.close(close::NORMAL, "bye");
                return false;
            }
            ClientFrame::Unknown => {}
        }
        true
    }

    async fn first_frame(&mut self, frame: ClientFrame) -> bool {
        let ClientFrame::Hello { v, token, client, agent, subs, session: _ } = frame else {
            if frame != ClientFrame::Bye {
                return self.refuse(
                    close::BAD_REQUEST,
                    codes::HELLO_REQUIRED,
                    "the first frame must be hello",
                );
            }
            self.outgoing.close(close::NORMAL, "bye");
            return false;
        };
        if v != VERSION {
            let message = format!("this server speaks version {VERSION}");
            return self.refuse(close::UNSUPPORTED_VERSION, codes::UNSUPPORTED_VERSION, &message);
        }
        if !is_uuid(&client) {
            return self.bad_frame(codes::BAD_FRAME, "member `client` is missing or invalid");
        }
        let identity = match self.app.auth.verify(&token.0) {
            Ok(identity) => Arc::new(identity),
            Err(error) => return self.refuse_token(&error),
        };
        if !self.place.claim(identity.key()) {
            return self.refuse(
                close::TOO_MANY_CONNECTIONS,
                codes::TOO_MANY_CONNECTIONS,
                "this user has all the connections they may have",
            );
        }
        let conn = self.outgoing.id();
        tracing::info!(conn, user = identity.user.id, kind = kind_name(identity.user.kind), agent, "hello");
        let budget = self.app.budget(identity.user.kind);
        let times = &self.app.config.timeouts;
        self.next_ping = Instant::now() + times.ping;
        self.outgoing.send(&ServerFrame::Welcome(Welcome {
            conn: format!("c{conn}"),
            user: identity.user.clone(),
            now: clock::now_ms(),
            ping_ms: ms(times.ping),
            grace_ms: ms(times.grace),
            token_ttl_ms: identity.ttl_ms(),
            limits: self.app.config.limits.announced(budget),
        }));
        self.identity = Some(identity.clone());
        for sub in subs {
            self.subscribe(&identity, sub).await;
        }
        true
    }

    fn auth(&mut self, current: &Identity, token: &str) -> bool {
        let identity = match self.app.auth.verify(token) {
            Ok(identity) => identity,
            Err(error) => return self.refuse_token(&error),
        };
        if identity.key() != current.key() {
            return self.refuse(
                close::FORBIDDEN,
                codes::USER_CHANGED,
                "the new token is for another user; open another connection",
            );
        }
        self.outgoing
            .send(&ServerFrame::AuthOk { user: identity.user.clone(), token_ttl_ms: identity.ttl_ms() });
        // What the new token no longer allows ends at once.
        let lost: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(_, seat)| !hub::may_see(&identity, &seat.channel))
            .map(|(ch, _)| ch.clone())
            .collect();
        self.identity = Some(Arc::new(identity));
        for ch in lost {
            self.subscriptions.remove(&ch);
            self.sub_denied(ch, Denied::Forbidden);
        }
        true
    }

    async fn subscribe(&mut self, identity: &Identity, Subscription { ch, want }: Subscription) {
        let most = self.app.config.limits.subscriptions;
        if !self.subscriptions.contains_key(&ch) && self.subscriptions.len() >= most {
            let message = format!("a connection may have at most {most} subscriptions");
            return self.sub_err(ch, codes::TOO_MANY_SUBSCRIPTIONS, message, false);
        }
        match self.app.hub.visible(&ch, identity).await {
            Ok(channel) => {
                if !self.subscriptions.contains_key(&ch) {
                    let most = self.app.config.limits.connections_per_dialog;
                    let Some(seat) = channel.take_seat(self.outgoing.id(), most) else {
                        return self.dialog_full(ch);
                    };
                    self.subscriptions.insert(ch, seat);
                }
                self.page(&channel, &Ask::Sub(want)).await;
            }
            Err(denied) => {
                self.subscriptions.remove(&ch);
                self.sub_denied(ch, denied);
            }
        }
    }

    async fn next_page(&mut self, ch: String, from: u64) {
        match self.subscriptions.get(&ch).map(|seat| seat.channel.clone()) {
            Some(channel) => self.page(&channel, &Ask::Next(from)).await,
            None => self.sub_err(ch, codes::NOT_SUBSCRIBED, "subscribe first".to_owned(), false),
        }
    }

    async fn page(&mut self, channel: &Arc<Channel>, ask: &Ask) {
        if let Err(error) = pages::send(&self.app.store, channel, &self.outgoing, ask).await {
            self.subscriptions.remove(channel.name.as_ref());
            self.sub_denied(channel.name.to_string(), Denied::Store(error));
        }
    }

    fn dialog_full(&self, ch: String) {
        let problem = Problem {
            code: codes::TOO_MANY_CONNECTIONS.to_owned(),
            message: "this dialog has all the connections it may have".to_owned(),
            retry_after_ms: Some(FULL_RETRY_MS),
        };
        self.outgoing.send(&ServerFrame::SubErr { ch, problem, retryable: true });
    }

    fn sub_denied(&self, ch: String, denied: Denied) {
        self.sub_err(ch, denied.code(), denied.message(), denied.is_retryable());
    }

    fn sub_err(&self, ch: String, code: &str, message: String, retryable: bool) {
        let problem = Problem { code: code.to_owned(), message, retry_after_ms: None };
        self.outgoing.send(&ServerFrame::SubErr { ch, problem, retryable });
    }

    /// A fault that the connection survives, a few times.
    fn bad_frame(&mut self, code: &str, message: &str) -> bool {
        let problem = Problem { code: code.to_owned(), message: message.to_owned(), retry_after_ms: None };
        self.outgoing.send(&ServerFrame::Error(problem));
        if self.bad.counts(Instant::now()) {
            return true;
        }
        self.refuse(close::BAD_REQUEST, codes::BAD_REQUEST, "too many bad frames")
    }

    fn control_frame(&mut self) -> bool {
        if self.control.counts(Instant::now()) {
            return true;
        }
        self.rate_limited("too many pings and pongs", ms(WINDOW));
        false
    }

    fn rate_limited(&self, message: &str, wait_ms: u64) {
        let problem = Problem {
            code: codes::RATE_LIMITED.to_owned(),
            message: message.to_owned(),
            retry_after_ms: Some(wait_ms),
        };
        self.outgoing.send(&ServerFrame::Error(problem));
        self.outgoing.close(close::RATE_LIMITED, codes::RATE_LIMITED);
    }

    fn refuse_token(&self, error: &AuthError) -> bool {
        let code = match error {
            AuthError::Expired { .. } => close::TOKEN_EXPIRED,
            AuthError::Refused(_) => close::UNAUTHORIZED,
        };
        tracing::info!(conn = self.outgoing.id(), code = error.code(), "token refused");
        self.refuse(code, error.code(), &error.to_string())
    }

    /// Says why, then closes; always false.
    fn refuse(&self, close: u16, code: &'static str, message: &str) -> bool {
        let problem = Problem { code: code.to_owned(), message: message.to_owned(), retry_after_ms: None };
        self.outgoing.send(&ServerFrame::Error(problem));
        self.outgoing.close(close, code);
        tracing::info!(conn = self.outgoing.id(), close, code, "closing");
        false
    }
}

/// How long a token is still good, leeway included; by the wall clock, so it is worked out anew each time.
fn token_left(identity: &Identity) -> Duration {
    let end_ms = identity.expires_s.saturating_add(LEEWAY_S).saturating_mul(1000);
    Duration::from_millis(end_ms.saturating_sub(clock::now_ms()))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Counts events within the last [`WINDOW`].
struct Window {
    most: usize,
    times: VecDeque<Instant>,
}

impl Window {
    fn new(most: usize) -> Window {
        Window { most, times: VecDeque::new() }
    }

    /// Counts one; false when it is one too many.
    fn counts(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|first| now.duration_since(*first) >= WINDOW) {
            self.times.pop_front();
        }
        if self.times.len() >= self.most {
            return false;
        }
        self.times.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_what_happened_within_it() {
        let (mut window, start) = (Window::new(2), Instant::now());
        assert!(window.counts(start));
        assert!(window.counts(start + WINDOW / 2));
        assert!(!window.counts(start + WINDOW / 2));
        assert!(window.counts(start + WINDOW));
        assert!(!window.counts(start + WINDOW));
    }
}
