//! A client in virtual time, with the test as its network, store, clock and application.
#![allow(unreachable_pub, clippy::unwrap_used)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tidewire_core::tables::{TableEvent, TableUpdate, Tables};
use tidewire_core::*;

pub const WALL: u64 = 1_795_000_000_000;

/// What the store holds, carried out as a driver would.
#[derive(Default, Clone)]
pub struct Store {
    pub profile: Option<String>,
    pub ops: Vec<(String, String)>,
    pub channels: Vec<RestoredChannel>,
    pub tables: Vec<(String, String)>,
}

impl Store {
    pub fn apply(&mut self, change: &StoreChange) {
        match change {
            StoreChange::PutOp { id, record } => {
                self.ops.retain(|(other, _)| *id != *other);
                self.ops.push((id.to_string(), record.0.clone()));
            }
            StoreChange::DeleteOp { id } => self.ops.retain(|(other, _)| other != id),
            StoreChange::PutEvents { channel, epoch, cursor, events, runs, trim_below } => {
                if !self.channels.iter().any(|c| &c.channel == channel) {
                    self.channels.push(RestoredChannel {
                        channel: channel.to_string(),
                        epoch: epoch.to_string(),
                        cursor: 0,
                        events: vec![],
                        runs: String::new(),
                    });
                }
                let kept = self.channels.iter_mut().find(|c| &c.channel == channel).unwrap();
                kept.epoch = epoch.to_string();
                kept.cursor = cursor.0;
                kept.runs.clone_from(&runs.0);
                kept.events.extend(events.iter().map(|(_, text)| text.0.clone()));
                kept.events.retain(|text| {
                    let event: Value = serde_json::from_str(text).unwrap();
                    event["offset"].as_u64().unwrap() >= trim_below.0
                });
            }
            StoreChange::ClearChannel { channel } => self.channels.retain(|c| &c.channel != channel),
            StoreChange::PutTable { name, record } => {
                self.tables.retain(|(other, _)| other != name);
                self.tables.push((name.clone(), record.0.clone()));
            }
            StoreChange::ClearTable { name } => self.tables.retain(|(other, _)| other != name),
            StoreChange::PutProfile { record } => self.profile = Some(record.0.clone()),
        }
    }

    pub fn restored(&self) -> Restored {
        Restored {
            profile: self.profile.clone(),
            ops: self.ops.iter().map(|(_, record)| record.clone()).collect(),
            channels: self.channels.clone(),
            tables: self.tables.clone(),
        }
    }
}

pub struct Rig {
    pub client: Client<Tables>,
    pub now: Now,
    /// The attempt opened last, and every one ever opened with its time.
    pub conn: Option<ConnId>,
    pub dials: Vec<(ConnId, Time)>,
    /// With what each was dialled.
    pub transports: Vec<Transport>,
    /// Every request made, and those given up.
    pub requests: Vec<Request>,
    pub aborted: Vec<RequestId>,
    /// Answer requests that open a connection, or that bring messages up, at once.
    pub serves: bool,
    /// Frames sent, arrays taken apart.
    pub sent: VecDeque<Value>,
    pub closes: Vec<(ConnId, u16)>,
    pub events: Vec<Event<TableEvent>>,
    pub asks: Vec<(TokenAsk, bool)>,
    pub store: Store,
    pub stores: Vec<(StoreId, StoreChange)>,
    /// Answer token requests with this, at once.
    pub token: Option<Result<String, TokenError>>,
    /// Answer store changes with this, at once.
    pub disk: Option<Result<(), StoreError>>,
    /// The rows that views show, as the changes told so far make them.
    pub lists: BTreeMap<u32, Vec<Arc<str>>>,
    pub until: Option<Time>,
    pub why: &'static str,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::at(Store::default(), Now { mono: Time(1_000), wall: WALL }, [42; 32])
    }

    /// A start with what an earlier one stored; a later start has another seed.
    pub fn restored(store: Store) -> Rig {
        Rig::at(store, Now { mono: Time(1_000), wall: WALL + 60_000 }, [43; 32])
    }

    pub fn at(store: Store, now: Now, seed: [u8; 32]) -> Rig {
        Rig::with(Config::default(), store, now, seed)
    }

    pub fn with(config: Config, store: Store, now: Now, seed: [u8; 32]) -> Rig {
        let client = Client::with_tables(config, seed, now, store.restored());
        let mut rig = Rig {
            client,
            now,
            conn: None,
            dials: vec![],
            transports: vec![],
            requests: vec![],
            aborted: vec![],
            serves: true,
            sent: VecDeque::new(),
            closes: vec![],
            events: vec![],
            asks: vec![],
            store,
            stores: vec![],
            lists: BTreeMap::new(),
            token: Some(Ok("good.token".into())),
            disk: Some(Ok(())),
            until: None,
            why: "",
        };
        rig.drain();
        rig
    }

    /// A connected client with the dialog `demo` open and live at an empty log.
    pub fn online() -> Rig {
        let mut rig = Rig::new();
        rig.client.open_dialog(rig.now, "demo").unwrap();
        rig.connect();
        rig.welcome();
        rig.receive(sub_ok("fresh", 0, 0, vec![]));
        rig.sent.clear();
        rig
    }

    /// Connects as far as the sent `hello`, which it returns.
    pub fn connect(&mut self) -> Value {
        self.client.connect(self.now);
        self.drain();
        self.accept()
    }

    /// The socket opens; returns `hello`. A connection over requests is open as soon as it is asked
    /// for.
    pub fn accept(&mut self) -> Value {
        let conn = self.conn.expect("a dial");
        if self.down(conn).is_none() {
            self.sent.clear();
            self.feed(Input::Opened { conn });
        }
        let hello = self.sent.pop_back().expect("hello");
        self.sent.clear();
        hello
    }

    pub fn welcome(&mut self) {
        self.receive(welcome("ada"));
    }

    pub fn receive(&mut self, frame: Value) {
        self.receive_text(&frame.to_string());
    }

    pub fn receive_text(&mut self, text: &str) {
        let conn = self.conn.expect("a connection");
        self.receive_on(conn, text);
    }

    pub fn receive_on(&mut self, conn: ConnId, text: &str) {
        match self.down(conn) {
            Some(request) => self.answer(request, ResponsePart::Body(format!("{text}\n").as_bytes())),
            None => self.feed(Input::Received { conn, text }),
        }
    }

    pub fn cut(&mut self) {
        self.close_with(1006);
    }

    pub fn close_with(&mut self, code: u16) {
        let conn = self.conn.expect("a connection");
        match self.down(conn) {
            Some(request) => self.answer(request, ResponsePart::Failed(None)),
            None => self.feed(Input::Closed { conn, code, cause: None }),
        }
    }

    /// The last request for messages of a connection over requests.
    pub fn down(&self, conn: ConnId) -> Option<RequestId> {
        let is_down = |request: &&Request| request.conn == conn && request.path.contains("/down");
        self.requests.iter().rfind(is_down).map(|request| request.id)
    }

    pub fn answer(&mut self, request: RequestId, part: ResponsePart<'_>) {
        self.feed(Input::Response { request, part });
    }

    fn asked(&mut self, request: Request) {
        let (id, conn) = (request.id, request.conn);
        let parts: &[ResponsePart<'_>] = match request.path {
            "/v1/http" => {
                self.conn = Some(conn);
                self.dials.push((conn, self.now.mono));
                &[
                    ResponsePart::Status(201),
                    ResponsePart::Body(br#"{"connection":"secret"}"#),
                    ResponsePart::End,
                ]
            }
            "/v1/http/up" => {
                self.take(request.body.as_deref().expect("a message"));
                &[ResponsePart::Status(204), ResponsePart::End]
            }
            down => {
                if self.down(conn).is_none() {
                    self.transports.push(match down {
                        "/v1/http/down?mode=stream" => Transport::Stream,
                        "/v1/http/down?mode=poll&wait=25000" => Transport::LongPoll,
                        "/v1/http/down?mode=poll&wait=0" => Transport::Poll,
                        other => panic!("{other}"),
                    });
                }
                &[ResponsePart::Status(200)]
            }
        };
        self.requests.push(request);
        if self.serves {
            for part in parts {
                self.client.handle(self.now, Input::Response { request: id, part: *part });
            }
        }
    }

    fn take(&mut self, message: &str) {
        match serde_json::from_str(message).expect("valid JSON") {
            Value::Array(frames) => self.sent.extend(frames),
            frame => self.sent.push_back(frame),
        }
    }

    fn gave_up(&mut self, id: RequestId) {
        self.aborted.push(id);
        let request = self.requests.iter().find(|request| request.id == id).expect("a request");
        if request.path.contains("/down") {
            self.closes.push((request.conn, 1000));
        }
    }

    pub fn feed(&mut self, input: Input<'_>) {
        self.client.handle(self.now, input);
        self.drain();
    }

    /// Carries out everything until the client waits.
    pub fn drain(&mut self) {
        for _ in 0..10_000 {
            match self.client.poll(self.now) {
                Output::Open { conn } => {
                    self.conn = Some(conn);
                    self.dials.push((conn, self.now.mono));
                    self.transports.push(Transport::WebSocket);
                }
                Output::Transmit { message, .. } => self.take(&message.0),
                Output::Request(request) => self.asked(request),
                Output::Abort { request } => self.gave_up(request),
                Output::Close { conn, code } => self.closes.push((conn, code)),
                Output::FetchToken { ask, renew } => {
                    self.asks.push((ask, renew));
                    if let Some(result) = self.token.clone() {
                        self.client.handle(self.now, Input::Token { ask, result });
                    }
                }
                Output::Store { store, change } => {
                    if let Some(result) = self.disk {
                        if result.is_ok() {
                            self.store.apply(&change);
                        }
                        self.client.handle(self.now, Input::Stored { store, result });
                    }
                    self.stores.push((store, change));
                }
                Output::Event(event) => {
                    self.fold(&event);
                    self.events.push(event);
                }
                Output::Wait { until, why } => {
                    for (view, list) in &self.lists {
                        let open = self.client.table_status(*view).is_some();
                        assert!(!open || self.client.table_rows(*view).rows == *list, "view {view}");
                    }
                    assert!(until.is_none_or(|at| at > self.now.mono), "a wait for the past: {why}");
                    self.until = until;
                    self.why = why;
                    return;
                }
            }
        }
        panic!("the client never waits");
    }

    fn fold(&mut self, event: &Event<TableEvent>) {
        let Event::Part(TableEvent { view, update }) = event else { return };
        let list = self.lists.entry(*view).or_default();
        match update.clone() {
            TableUpdate::Rows(rows) => *list = rows.rows,
            TableUpdate::Changes { list: changes, .. } => {
                for change in changes {
                    assert!(change.apply(list, |_, _| panic!("rows of tables don't grow")));
                }
            }
            TableUpdate::Status(_) | TableUpdate::Seen { .. } => {}
        }
    }

    /// Lets time pass, waking the client whenever it asked for it.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono.after(ms);
        while let Some(at) = self.until.filter(|at| *at <= end) {
            self.now.wall += at.since(self.now.mono);
            self.now.mono = at;
            self.drain();
        }
        // Nothing is polled at the end: what the client did not ask to be woken for does not
        // happen.
        self.now.wall += end.since(self.now.mono);
        self.now.mono = end;
    }

    /// The machine sleeps: the wall clock goes on, the monotonic one does not, no timer fires.
    pub fn sleep(&mut self, ms: u64) {
        self.now.wall += ms;
        self.drain();
    }

    /// Lets time pass until the next dial, at most this long, and opens the socket; returns
    /// `hello`.
    pub fn redial(&mut self, most_ms: u64) -> Value {
        let dials = self.dials.len();
        let end = self.now.mono.after(most_ms);
        while self.dials.len() == dials {
            let at = self.until.expect("a timer is armed");
            assert!(at <= end, "no dial within {most_ms} ms: waits for {}", self.why);
            self.pass(at.since(self.now.mono));
        }
        self.accept()
    }

    pub fn send(&mut self, text: &str) -> OpId {
        let id = self.client.send_text(self.now, "demo", text).unwrap();
        self.drain();
        id
    }

    pub fn ok(&mut self, id: &str, offset: u64) {
        let at = self.now.wall;
        self.receive(json!({"t":"ok","id":id,"ch":"dialog:demo","offset":offset,"at":at}));
    }

    pub fn nack(&mut self, id: &str, code: &str, retryable: bool, retry_after_ms: Option<u64>) {
        let mut frame = json!({"t":"nack","id":id,"code":code,"message":"because","retryable":retryable});
        if let Some(ms) = retry_after_ms {
            frame["retry_after_ms"] = ms.into();
        }
        self.receive(frame);
    }

    /// Ids of the ops sent since the last look.
    pub fn ops(&mut self) -> Vec<Value> {
        self.sent.drain(..).filter(|frame| frame["t"] == "op").collect()
    }

    pub fn status(&self) -> Status {
        let find = |event: &Event<TableEvent>| {
            if let Event::Status(status) = event { Some(status.clone()) } else { None }
        };
        self.events.iter().rev().find_map(find).expect("a status")
    }

    pub fn state(&self) -> State {
        self.status().state
    }

    pub fn rows(&self) -> Vec<Row> {
        self.client.rows("demo")
    }

    /// `text:state` of each row.
    pub fn shown(&self) -> Vec<String> {
        self.rows().iter().map(|row| format!("{}:{}", row.text, row.state.as_str())).collect()
    }

    pub fn op_states(&self, id: &str) -> Vec<OpState> {
        let find = |event: &Event<TableEvent>| match event {
            Event::Op { id: other, state, .. } if other == id => Some(state.clone()),
            _ => None,
        };
        self.events.iter().filter_map(find).collect()
    }

    pub fn channel_states(&self) -> Vec<ChannelState> {
        let find = |event: &Event<TableEvent>| match event {
            Event::Channel { state, .. } => Some(state.clone()),
            _ => None,
        };
        self.events.iter().filter_map(find).collect()
    }

    /// The rows as the changes told so far make them.
    pub fn folded(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = vec![];
        for event in &self.events {
            if let Event::Dialog { changes, .. } = event {
                for change in changes {
                    assert!(change.clone().apply(&mut rows, |row, text| row.text.push_str(text)));
                }
            }
        }
        rows
    }
}

pub fn user(id: &str) -> Value {
    json!({"id":id,"name":id,"kind":"guest"})
}

pub fn welcome(id: &str) -> Value {
    json!({"t":"welcome","conn":"c","user":user(id),"now":WALL,"ping_ms":25000,"grace_ms":10000,"token_ttl_ms":86_400_000,
        "limits":{"message_bytes":65536,"subscriptions":100,"inflight":32,"inflight_bytes":262144,"ops":20,"per_ms":1000,"burst":40}})
}

pub fn sub_ok(mode: &str, from: u64, head: u64, events: Vec<Value>) -> Value {
    json!({"t":"sub_ok","ch":"dialog:demo","epoch":"e1","mode":mode,"from":from,"head":head,"events":events,"more":false,"runs":[]})
}

pub fn event(offset: u64, kind: &str, by: &str, body: Value) -> Value {
    json!({"t":"event","ch":"dialog:demo","offset":offset,"id":format!("event-{offset}"),"kind":kind,"at":WALL,"by":user(by),"body":body})
}

pub fn message(offset: u64, text: &str) -> Value {
    event(offset, "message", "bob", json!({"text":text}))
}

pub fn own(offset: u64, id: &str, text: &str) -> Value {
    let mut event = event(offset, "message", "ada", json!({"text":text}));
    event["id"] = id.into();
    event
}

pub fn start(offset: u64, run: &str) -> Value {
    event(offset, "answer.start", "ai", json!({"run":run}))
}

pub fn end(offset: u64, run: &str, status: &str, text: &str) -> Value {
    event(offset, "answer.end", "ai", json!({"run":run,"status":status,"text":text}))
}

pub fn piece(run: &str, at: u64, text: &str) -> Value {
    json!({"t":"piece","ch":"dialog:demo","run":run,"at":at,"text":text})
}
