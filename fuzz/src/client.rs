//! Runs a client with a server, an application, a store, a network and clocks that do whatever the
//! input says. The client must never panic, never ask to be woken in the past, and give no output
//! without a cause.

use crate::Bytes;
use crate::requests::Requests;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{
    ChannelState, Client, Config, ConnId, Event, Input, Lifecycle, Network, Now, Offset, OpState, Output,
    ResponsePart, Restored, RestoredChannel, State, StoreChange, StoreError, StoreId, Time, TokenAsk,
    TokenError, Transport,
};

const WALL: u64 = 1_795_228_800_000;
/// Maximum number of outputs of one step: a page has 256 events, an outbox 40 ops.
const OUTPUTS: usize = 2_000;
/// Maximum number of bytes to send in one step.
const BYTES: usize = 1024 * 1024;
const OUTBOX: usize = 40;
/// Maximum number of steps of a run, so that long inputs stay fast.
const STEPS: usize = 2_000;

/// Runs one client.
pub(crate) fn client(data: &[u8]) {
    client_reaches(data);
}

/// Runs one client, and returns how far it came, because a corpus in which no client gets online
/// would be useless.
pub fn client_reaches(data: &[u8]) -> Reached {
    let mut bytes = Bytes(data);
    let mut life = Life::begin(bytes.byte());
    for _ in 0..STEPS {
        if bytes.is_empty() {
            break;
        }
        life.step(&mut bytes);
        life.drain();
    }
    life.reached
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The client was welcomed.
    pub online: bool,
    /// A subscription was at the head.
    pub live: bool,
    /// Events reached the application.
    pub events: bool,
    /// A subscription was reset.
    pub reset: bool,
    /// An op was acknowledged.
    pub acked: bool,
    /// An op was refused for good.
    pub refused: bool,
    /// One connection was handed over to another.
    pub handover: bool,
    /// The server refused the client permanently.
    pub failed: bool,
    /// The client was welcomed on a connection over plain requests.
    pub requests: bool,
}

impl Reached {
    /// What happened in either run.
    #[must_use]
    pub fn or(self, other: Reached) -> Reached {
        Reached {
            online: self.online || other.online,
            live: self.live || other.live,
            events: self.events || other.events,
            reset: self.reset || other.reset,
            acked: self.acked || other.acked,
            refused: self.refused || other.refused,
            handover: self.handover || other.handover,
            failed: self.failed || other.failed,
            requests: self.requests || other.requests,
        }
    }
}

struct Life {
    client: Client,
    config: Config,
    now: Now,
    /// The connections that are open or being opened; at most two, during a handover.
    conns: Vec<ConnId>,
    opened: BTreeSet<u64>,
    last_conn: u64,
    requests: Requests,
    asks: Vec<TokenAsk>,
    stores: Vec<(StoreId, StoreChange)>,
    kept: Kept,
    ops: Vec<String>,
    /// The last offset that was applied in each channel without rows.
    applied: BTreeMap<String, Offset>,
    status: State,
    until: Option<Time>,
    lives: u8,
    reached: Reached,
}

/// The content of the store.
#[derive(Clone, Default)]
struct Kept {
    profile: Option<String>,
    /// Ids and records.
    ops: Vec<(String, String)>,
    channels: Vec<RestoredChannel>,
}

impl Life {
    fn begin(settings: u8) -> Life {
        let transports = if settings & 1 == 0 { vec![Transport::WebSocket] } else { Transport::ALL.to_vec() };
        let config = Config {
            transports,
            outbox_ops: OUTBOX,
            batch_ms: if settings & 2 == 0 { 0 } else { 10 },
            cached_events: u64::from(settings >> 4) * 4 + 1,
            ..Config::default()
        };
        let now = Now { mono: Time(1_000), wall: WALL };
        let mut life = Life {
            client: Client::new(config.clone(), [settings; 32], now, Restored::default()),
            config,
            now,
            conns: vec![],
            opened: BTreeSet::new(),
            last_conn: 0,
            requests: Requests::default(),
            asks: vec![],
            stores: vec![],
            kept: Kept::default(),
            ops: vec![],
            applied: BTreeMap::new(),
            status: State::Idle,
            until: None,
            lives: 0,
            reached: Reached::default(),
        };
        life.client.connect(now);
        life.drain();
        life
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.now;
        let action = bytes.byte();
        match action % 24 {
            _ if action >= 240 => self.respond(bytes),
            0 => self.open(),
            1 => self.close_conn(bytes),
            2..=7 => {
                let text = self.frame(bytes).to_string();
                self.receive(&text);
            }
            8 => {
                let frames: Vec<Value> = (0..bytes.below(6)).map(|_| self.frame(bytes)).collect();
                self.receive(&Value::Array(frames).to_string());
            }
            9 => {
                let text = String::from_utf8_lossy(bytes.some()).into_owned();
                self.receive(&text);
            }
            10 | 11 => {
                let text = "x".repeat(bytes.below(9) * bytes.below(40));
                if let Ok(id) = self.client.send_text(now, dialog(bytes), &text) {
                    self.ops.push(id.into());
                }
            }
            12 => match bytes.below(4) {
                0 => drop(self.client.open_dialog(now, dialog(bytes))),
                1 => self.client.close_dialog(now, dialog(bytes)),
                2 => drop(self.client.subscribe(now, channel(bytes))),
                _ => {
                    let channel = channel(bytes);
                    self.client.unsubscribe(now, channel);
                    self.applied.remove(channel);
                }
            },
            13 => self.client.connect(now),
            14 => self.client.disconnect(now),
            15 => {
                let hints = [Network::Online, Network::Offline, Network::Changed];
                self.client.handle(now, Input::Network(hints[bytes.below(3)]));
            }
            16 => {
                let lives = [Lifecycle::Shown, Lifecycle::Hidden, Lifecycle::Frozen, Lifecycle::Resumed];
                self.client.handle(now, Input::Lifecycle(lives[bytes.below(4)]));
            }
            17 => self.pass(u64::from(bytes.short())),
            18 => self.pass_until_due(),
            19 => self.clocks(bytes),
            20 => self.store(bytes),
            21 => self.answer_token(bytes),
            22 => {
                let id = self.ops.get(bytes.below(self.ops.len().max(1))).cloned().unwrap_or_default();
                match bytes.below(3) {
                    0 => drop(self.client.retry(now, &id.into())),
                    1 => drop(self.client.discard(now, &id.into())),
                    _ => drop(self.client.stop_run(now, dialog(bytes), &id.into())),
                }
            }
            _ => self.restart(bytes),
        }
    }

    fn open(&mut self) {
        if let Some(request) = self.requests.opening() {
            for part in self.requests.answer(request) {
                self.client.handle(self.now, Input::Response { request, part });
            }
        } else if let Some(conn) = self.conns.last().copied() {
            self.opened.insert(conn.0);
            self.client.handle(self.now, Input::Opened { conn });
        }
    }

    fn respond(&mut self, bytes: &mut Bytes<'_>) {
        let (request, parts) = self.requests.respond(bytes);
        for part in parts {
            self.client.handle(self.now, Input::Response { request, part });
        }
    }

    fn close_conn(&mut self, bytes: &mut Bytes<'_>) {
        let code = match bytes.below(4) {
            0 => 1006,
            1 => 4000 + bytes.short() % 30,
            2 => 4500 + bytes.short() % 30,
            _ => bytes.short(),
        };
        let conn = self.some_conn(bytes);
        self.conns.retain(|other| *other != conn);
        self.client.handle(self.now, Input::Closed { conn, code, cause: None });
    }

    /// A connection that is open, or any other id.
    fn some_conn(&self, bytes: &mut Bytes<'_>) -> ConnId {
        match bytes.below(4) {
            0 => ConnId(u64::from(bytes.byte())),
            1 => self.conns.first().copied().unwrap_or(ConnId(0)),
            _ => self.conns.last().copied().unwrap_or(ConnId(0)),
        }
    }

    fn receive(&mut self, text: &str) {
        if let Some(conn) = self.conns.iter().rev().copied().find(|conn| self.opened.contains(&conn.0)) {
            self.client.handle(self.now, Input::Received { conn, text });
        } else if let Some(request) = self.requests.down() {
            let line = format!("{text}\n");
            self.client.handle(self.now, Input::Response { request, part: ResponsePart::Status(200) });
            self.client
                .handle(self.now, Input::Response { request, part: ResponsePart::Body(line.as_bytes()) });
        }
    }

    /// A frame of a valid form, with arbitrary contents.
    fn frame(&self, bytes: &mut Bytes<'_>) -> Value {
        let ch = channel(bytes);
        let number = |bytes: &mut Bytes<'_>| match bytes.byte() {
            250 => 1 << 53,
            251 => u64::MAX,
            small => u64::from(small),
        };
        let by = json!({"id": (["user:1", "user:2"][bytes.below(2)]), "name": "A", "kind": "user"});
        let some_op = |bytes: &mut Bytes<'_>| {
            let known = self.ops.get(bytes.below(self.ops.len().max(1))).cloned();
            known.unwrap_or_else(|| "00000000-0000-7000-8000-000000000001".to_owned())
        };
        let event = |bytes: &mut Bytes<'_>, offset: u64| {
            let id = match bytes.below(3) {
                0 => some_op(bytes),
                _ => format!("00000000-0000-7000-8000-{offset:012}"),
            };
            let run = ["r1", "r2"][bytes.below(2)];
            let (kind, body) = match bytes.below(5) {
                0 => ("answer.start", json!({"run": run})),
                1 => ("answer.end", json!({"run": run, "status": "done", "text": "abc"})),
                2 => ("unheard.of", json!({"text": 7})),
                _ => ("message", json!({"text": "hello"})),
            };
            json!({"t": "event", "ch": ch, "offset": offset, "id": id, "kind": kind, "at": WALL, "by": by, "body": body})
        };
        let page = |bytes: &mut Bytes<'_>, mut frame: Value| {
            let from = number(bytes);
            let events: Vec<Value> = (0..u64::from(bytes.byte() % 40))
                .map(|n| {
                    let off = if bytes.below(16) == 0 { number(bytes) } else { 0 };
                    event(bytes, from.saturating_add(1 + n).saturating_add(off))
                })
                .collect();
            frame["from"] = from.into();
            frame["head"] = number(bytes).into();
            frame["events"] = events.into();
            frame["more"] = (bytes.below(3) == 0).into();
            frame["runs"] = match bytes.below(3) {
                0 => json!([{"run": "r1", "text": "ab"}]),
                _ => json!([]),
            };
            frame
        };
        let codes = [
            "rate_limited",
            "internal",
            "blocked",
            "forbidden",
            "op_id_reused",
            "storage_full",
            "token_expired",
        ];
        match bytes.below(14) {
            0 | 1 => {
                let limits = json!({"message_bytes": number(bytes).max(1).saturating_mul(256), "subscriptions": 100, "inflight": number(bytes),
                    "inflight_bytes": number(bytes).saturating_mul(1024), "ops": number(bytes), "per_ms": number(bytes),
                    "burst": number(bytes)});
                json!({"t": "welcome", "conn": "c", "user": by, "now": WALL, "ping_ms": number(bytes).saturating_mul(100),
                    "grace_ms": number(bytes).saturating_mul(100), "token_ttl_ms": number(bytes).saturating_mul(1000), "limits": limits})
            }
            2 | 3 => {
                let mode = ["resumed", "fresh", "reset"][bytes.below(3)];
                let epoch = ["k", "l"][bytes.below(2)];
                page(
                    bytes,
                    json!({"t": "sub_ok", "ch": ch, "epoch": epoch, "mode": mode, "reason": "trimmed"}),
                )
            }
            4 => page(bytes, json!({"t": "page", "ch": ch})),
            5 | 6 => {
                let next = self.applied.get(ch).map_or_else(|| u64::from(bytes.byte()), |last| last.next().0);
                let offset = if bytes.below(4) == 0 { number(bytes) } else { next };
                event(bytes, offset)
            }
            7 => json!({"t": "ok", "id": some_op(bytes), "ch": ch, "offset": number(bytes), "at": WALL}),
            8 => json!({"t": "nack", "id": some_op(bytes), "code": codes[bytes.below(7)], "message": "",
                "retryable": bytes.below(2) == 0, "retry_after_ms": number(bytes)}),
            9 => json!({"t": "piece", "ch": ch, "run": "r1", "at": number(bytes), "text": "ab"}),
            10 => json!({"t": (["ping", "pong"][bytes.below(2)]), "n": bytes.byte().to_string()}),
            11 => {
                json!({"t": "goaway", "reason": "restart", "after_ms": number(bytes), "spread_ms": number(bytes)})
            }
            12 => {
                json!({"t": "error", "code": codes[bytes.below(7)], "message": "", "retry_after_ms": number(bytes)})
            }
            _ => match bytes.below(3) {
                0 => json!({"t": "sub_err", "ch": ch, "code": codes[bytes.below(7)], "message": "",
                    "retryable": bytes.below(2) == 0, "retry_after_ms": number(bytes)}),
                1 => json!({"t": "auth_ok", "user": by, "token_ttl_ms": number(bytes)}),
                _ => json!({"t": "signal", "ch": ch, "kind": "typing", "body": {}, "by": by}),
            },
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.after(ms), wall: self.now.wall.saturating_add(ms) };
    }

    fn pass_until_due(&mut self) {
        if let Some(until) = self.until {
            self.pass(until.since(self.now.mono));
        }
    }

    /// Moves the clocks: sleeps, jumps, and steps back.
    fn clocks(&mut self, bytes: &mut Bytes<'_>) {
        let ms = 1_u64 << bytes.below(42);
        match bytes.below(4) {
            0 => self.now.wall = self.now.wall.saturating_add(ms),
            1 => self.now.wall = self.now.wall.saturating_sub(ms),
            2 => self.now.mono = self.now.mono.after(ms),
            _ => self.pass(ms),
        }
    }

    fn store(&mut self, bytes: &mut Bytes<'_>) {
        let result = [Ok(()), Ok(()), Err(StoreError::Full), Err(StoreError::Unavailable)][bytes.below(4)];
        let count = bytes.below(8).min(self.stores.len());
        for (store, change) in self.stores.drain(..count).collect::<Vec<_>>() {
            if result.is_ok() {
                self.keep(change);
            }
            self.client.handle(self.now, Input::Stored { store, result });
        }
        if bytes.below(8) == 0 {
            let store = StoreId(u64::from(bytes.byte()));
            self.client.handle(self.now, Input::Stored { store, result });
        }
    }

    /// Changes the store as a driver would.
    fn keep(&mut self, change: StoreChange) {
        let kept = &mut self.kept;
        match change {
            StoreChange::PutOp { id, record } => {
                kept.ops.retain(|(other, _)| *other != id);
                kept.ops.push((id.into(), record.0));
            }
            StoreChange::DeleteOp { id } => kept.ops.retain(|(other, _)| *other != id),
            // This client has no tables.
            StoreChange::PutTable { .. } | StoreChange::ClearTable { .. } => {}
            StoreChange::PutProfile { record } => kept.profile = Some(record.0),
            StoreChange::ClearChannel { channel } => kept.channels.retain(|other| other.channel != channel),
            StoreChange::PutEvents { channel, epoch, cursor, events, runs, .. } => {
                kept.channels.retain(|other| other.channel != channel);
                let events = events.into_iter().map(|(_, event)| event.0).collect();
                kept.channels.push(RestoredChannel {
                    channel: channel.into(),
                    epoch: epoch.into(),
                    cursor: cursor.0,
                    events,
                    runs: runs.0,
                });
            }
        }
    }

    fn answer_token(&mut self, bytes: &mut Bytes<'_>) {
        let ask = match bytes.below(4) {
            0 => TokenAsk(u64::from(bytes.byte())),
            _ => self.asks.pop().unwrap_or(TokenAsk(0)),
        };
        let result = match bytes.below(4) {
            0 => Err(TokenError::unavailable("")),
            1 if bytes.below(4) == 0 => Err(TokenError::unauthorized("")),
            _ => Ok("a.b.c".to_owned()),
        };
        self.client.handle(self.now, Input::Token { ask, result });
    }

    /// A crash, and a start with the content of the store, sometimes with junk added to it.
    fn restart(&mut self, bytes: &mut Bytes<'_>) {
        if self.lives == 5 {
            return;
        }
        self.lives += 1;
        let kept = self.kept.clone();
        let ops = kept.ops.into_iter().map(|(_, record)| record).collect();
        let mut restored =
            Restored { profile: kept.profile, ops, channels: kept.channels, ..Restored::default() };
        if bytes.below(4) == 0 {
            let junk = String::from_utf8_lossy(bytes.some()).into_owned();
            restored.ops.push(junk.clone());
            restored.profile = Some(junk.clone());
            let channel = channel(bytes).to_owned();
            restored.channels.push(RestoredChannel {
                channel,
                epoch: junk.clone(),
                cursor: 7,
                events: vec![junk.clone()],
                runs: junk,
            });
        }
        // The seed differs from that of earlier starts, so that no id is used twice.
        let seed = [[self.lives; 16], [255; 16]].concat().try_into().unwrap_or([0; 32]);
        self.client = Client::new(self.config.clone(), seed, self.now, restored);
        (self.conns, self.asks, self.stores) = (vec![], vec![], vec![]);
        self.requests = Requests::default();
        self.opened.clear();
        self.applied.clear();
        self.last_conn = 0;
        self.client.connect(self.now);
    }

    /// Carries out the client's outputs, and checks them.
    fn drain(&mut self) {
        let (mut outputs, mut bytes) = (0, 0);
        loop {
            outputs += 1;
            assert!(outputs <= OUTPUTS, "it never waits");
            match self.client.poll(self.now) {
                Output::Open { conn } => {
                    assert!(conn.0 > self.last_conn, "an attempt has a new name");
                    self.last_conn = conn.0;
                    self.conns.push(conn);
                    self.reached.handover |= self.conns.len() == 2;
                    assert!(self.conns.len() <= 2, "two connections at most, while one is handed over");
                }
                Output::Transmit { conn, message } => {
                    assert!(
                        self.conns.contains(&conn) && self.opened.contains(&conn.0),
                        "{conn:?} is not open"
                    );
                    assert!(message.0.starts_with(['{', '[']), "a message is a frame or an array of them");
                    bytes += message.0.len();
                    assert!(bytes <= BYTES, "{bytes} bytes to send at once");
                }
                Output::Close { conn, code } => {
                    assert!(self.conns.contains(&conn), "{conn:?} is not open");
                    assert!(code == 1000 || code >= 4000, "a driver can't close with {code}");
                    self.conns.retain(|other| *other != conn);
                }
                Output::Request(request) => {
                    assert!(self.config.transports.len() > 1, "there are sockets only");
                    bytes += request.body.as_ref().map_or(0, String::len);
                    assert!(bytes <= BYTES, "{bytes} bytes to send at once");
                    self.requests.begin(request);
                }
                Output::Abort { request } => self.requests.abort(request),
                Output::FetchToken { ask, .. } => self.asks.push(ask),
                Output::Store { store, change } => self.stores.push((store, change)),
                Output::Event(event) => self.tell(event),
                Output::Wait { until, .. } => return self.wait(until),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Status(status) => {
                assert!(status.waiting as usize <= 2 * OUTBOX, "{} wait", status.waiting);
                self.status = status.state;
                self.reached.online |= status.state == State::Online;
                let over_requests = self.requests.down().is_some() && self.conns.is_empty();
                self.reached.requests |= status.state == State::Online && over_requests;
                self.reached.failed |= status.state == State::Failed;
            }
            Event::Received(event) => {
                self.reached.events = true;
                let last = self.applied.insert(event.ch.into(), event.offset);
                assert!(last.is_none_or(|last| last < event.offset), "{} after {last:?}", event.offset);
            }
            Event::Channel { channel, state: ChannelState::Reset { .. } } => {
                self.reached.reset = true;
                self.applied.remove(channel.as_str());
            }
            // The client forgets a channel that was refused.
            Event::Channel { channel, state: ChannelState::Failed { .. } } => {
                self.applied.remove(channel.as_str());
            }
            Event::Channel { state: ChannelState::Live, .. } => self.reached.live = true,
            Event::Op { state: OpState::Acked { .. }, .. } => self.reached.acked = true,
            Event::Op { state: OpState::Failed { .. }, .. } => self.reached.refused = true,
            _ => {}
        }
    }

    fn wait(&mut self, until: Option<Time>) {
        assert_wait(self.now.mono, until);
        let rests = matches!(self.status, State::Idle | State::Disconnected | State::Failed | State::Parked);
        assert!(until.is_some() || rests || !self.asks.is_empty(), "{:?} and no timer", self.status);
        self.until = until;
        for dialog in DIALOGS {
            assert!(self.client.rows(dialog).len() <= 4_000, "rows without bound");
        }
    }
}

/// A wait must end in the future, or the driver would loop.
fn assert_wait(now: Time, until: Option<Time>) {
    assert!(until.is_none_or(|until| until > now), "a wait until {until:?} at {now:?}");
}

const DIALOGS: [&str; 2] = ["demo", "x"];
const CHANNELS: [&str; 3] = ["dialog:demo", "dialog:x", "bare"];

fn dialog(bytes: &mut Bytes<'_>) -> &'static str {
    DIALOGS[bytes.below(2)]
}

fn channel(bytes: &mut Bytes<'_>) -> &'static str {
    CHANNELS[bytes.below(3)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a wait until")]
    fn a_wait_for_the_past_is_noticed() {
        assert_wait(Time(5), Some(Time(5)));
    }

    #[test]
    #[should_panic(expected = "no timer")]
    fn a_connected_client_without_a_timer_is_noticed() {
        let mut life = Life::begin(0);
        life.status = State::Online;
        life.asks.clear();
        life.wait(None);
    }

    #[test]
    #[should_panic(expected = "after Some(2)")]
    fn an_event_that_goes_back_is_noticed() {
        let mut life = Life::begin(0);
        for offset in [1, 2, 2] {
            let by = json!({"id": "user:1", "name": "A", "kind": "user"});
            let event = json!({"t": "event", "ch": "bare", "offset": offset, "id": "i", "kind": "k", "at": 1, "by": by, "body": {}});
            let event = tidewire_core::wire::EventFrame::decode(&event.to_string()).expect("an event");
            life.tell(Event::Received(event));
        }
    }
}
