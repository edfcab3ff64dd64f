//! A server in one thread on a clock of the test's own: sessions, a log, and commits when the test
//! says so.

// Each test program uses its own part of this.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod dice;
pub mod tables;

use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tidewire_core::wire::{ChannelName, User, UserKind};
use tidewire_server_core::access::{Access, Scope};
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::rules::Rules;
use tidewire_server_core::store::{Account, CreateDialog, Done, Got, Read, Reply, Store, StoreError, Write};
use tidewire_server_core::{
    Answer, Answering, AuthError, Channel, Connections, Engine, Flow, Hub, Identity, Ids, Limiter, Now, Peer,
    ServerLimits, Session, Time, Timeouts, ToWrite, Verify,
};
use tidewire_server_sqlite::log::{self, Applied, Outside};
use uuid::Uuid;

pub const ROOM: &str = "dialog:room";

pub fn room() -> ChannelName {
    ChannelName::parse(ROOM).unwrap()
}

/// A token is a user's id, or `id|issued|dialog|claim=value`; that of a guest begins with `guest`.
struct Trusting;

impl Verify for Trusting {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let mut parts = token.split('|');
        let id = parts.next().unwrap_or_default().to_owned();
        let issued_s = parts.next().and_then(|issued| issued.parse().ok());
        let (claims, dialogs): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.contains('='));
        let dialogs: Vec<String> = dialogs.into_iter().map(str::to_owned).collect();
        let claims = claims.into_iter().filter_map(|claim| claim.split_once('='));
        let values = |value: &str| value.split('+').map(str::to_owned).collect();
        let claims = claims.map(|(name, value)| (name.to_owned(), values(value)));
        let mut claims: BTreeMap<String, Vec<String>> = claims.collect();
        let roles = claims.remove("roles").unwrap_or_default().into_iter().collect();
        let scopes = claims.remove("scopes").unwrap_or_default();
        let scopes = scopes.iter().map(|word| Scope::parse(word).unwrap()).collect();
        claims.insert("dialogs".to_owned(), dialogs);
        let kind = if id.starts_with("guest") {
            UserKind::Guest
        } else if id.starts_with("op") {
            UserKind::Operator
        } else if id.starts_with("svc") {
            UserKind::Service
        } else {
            UserKind::User
        };
        let named = claims.remove("account").and_then(|mut names| names.pop());
        let account = match named.as_deref() {
            None => (!matches!(kind, UserKind::Operator | UserKind::Service)).then_some(Account::Own),
            Some("own") => Some(Account::Own),
            Some(name) => Some(Account::Named(name.to_owned())),
        };
        let user = User { name: id.clone(), id, kind, profile: None };
        Ok(Identity {
            user,
            account,
            scopes,
            roles,
            claims,
            issued_s,
            expires_s: now.wall / 1000 + 3600,
            session: None,
            site: None,
        })
    }
}

/// Writes that nobody has applied yet.
#[derive(Default)]
pub struct Inbox(Mutex<Vec<(Write, Done)>>);

impl Store for Inbox {
    fn write(&self, write: Write, done: Done) {
        self.0.lock().unwrap().push((write, done));
    }

    /// Tests read by [`Rig::read`].
    fn read(&self, _: Read, got: Got) {
        got(Err(StoreError::Unavailable));
    }
}

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

/// 1, 2, 3 …
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Ids for Counting {
    fn next(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// Dialogs whose answers are to begin.
#[derive(Default)]
pub struct Begun(pub Mutex<Vec<Arc<Channel>>>);

impl Answering for Begun {
    fn is_draining(&self) -> bool {
        false
    }

    fn start(self: Arc<Self>, channel: &Arc<Channel>) {
        self.0.lock().unwrap().push(channel.clone());
    }
}

/// Surroundings in which no time passes.
pub struct Frozen(pub u64);

impl Outside for Frozen {
    fn now_ms(&self) -> u64 {
        self.0
    }

    fn digest(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn enough(&self) -> bool {
        false
    }
}

pub struct Rig {
    pub now: Now,
    pub engine: Arc<Engine>,
    pub begun: Arc<Begun>,
    pub ids: Arc<Counting>,
    pub inbox: Arc<Inbox>,
    /// Sees only what is committed.
    pub reader: Connection,
    writer: Connection,
    applied: Option<(Applied, Vec<Done>)>,
    _folder: tempfile::TempDir,
}

pub struct Client {
    pub session: Session,
    pub flow: Flow,
    frames: VecDeque<Value>,
    pub close: Option<(u16, &'static str)>,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(|_| ())
    }

    /// With an engine of the test's own making.
    pub fn with(change: impl FnOnce(&mut Engine)) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = Connection::open(&path).unwrap();
        // With a write-ahead log a second connection reads what is committed while a transaction is
        // open.
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.pragma_update(None, "synchronous", "OFF").unwrap();
        log::migrate(&mut writer).unwrap();
        let reader = Connection::open(&path).unwrap();
        let (inbox, begun) = (Arc::new(Inbox::default()), Arc::new(Begun::default()));
        let rules = Rules::new([room()], Vec::new()).unwrap();
        let mut engine = Engine {
            limits: ServerLimits::default(),
            timeouts: Timeouts::default(),
            handshakes: None,
            epoch: "e1".into(),
            auth: Arc::new(Trusting),
            store: inbox.clone(),
            kinds: Kinds::standard(),
            hub: Arc::new(Hub::new(rules)),
            limiter: Limiter::default(),
            connections: Connections::new(10, 10, None, Box::new(|| ())),
            access: Access::default(),
            answers: Some(begun.clone()),
            tables: None,
            metrics: Arc::default(),
        };
        change(&mut engine);
        let now = Now { mono: Time(1_000), wall: 1_800_000_000_000 };
        let (engine, ids) = (Arc::new(engine), Arc::default());
        let mut rig = Rig { now, engine, begun, ids, inbox, reader, writer, applied: None, _folder: folder };
        let room = CreateDialog { name: room(), owner: None, account: Account::Own };
        rig.inbox.write(Write::CreateDialog(room), Box::new(|result| assert!(result.is_ok())));
        rig.commit();
        rig
    }

    /// Asks what is committed.
    pub fn read(&self, read: &Read) -> Reply {
        log::read(&self.reader, read).unwrap()
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.after(ms), wall: self.now.wall + ms };
    }

    /// Brings what was handed in into a transaction that is not on disk yet.
    pub fn apply(&mut self) {
        assert!(self.applied.is_none(), "one transaction at a time");
        let (writes, dones): (Vec<Write>, Vec<Done>) =
            std::mem::take(&mut *self.inbox.0.lock().unwrap()).into_iter().unzip();
        let batch: Vec<&Write> = writes.iter().collect();
        let applied = log::begin(&self.writer, &batch, &Frozen(self.now.wall)).unwrap();
        self.applied = Some((applied, dones));
    }

    pub fn commit(&mut self) {
        if self.applied.is_none() {
            self.apply();
        }
        let (applied, dones) = self.applied.take().unwrap();
        log::commit(&self.writer).unwrap();
        dones.into_iter().zip(applied.answers).for_each(|(done, answer)| done(answer));
    }

    /// The disk does not take the transaction.
    pub fn fail(&mut self) {
        let (_, dones) = self.applied.take().unwrap();
        log::rollback(&self.writer).unwrap();
        dones.into_iter().for_each(|done| done(Err(StoreError::Unavailable)));
    }

    /// The process ends: nobody hears of the transaction.
    pub fn crash(&mut self) {
        self.applied = None;
        self.inbox.0.lock().unwrap().clear();
        log::rollback(&self.writer).unwrap();
    }

    pub fn connect(&self) -> Client {
        let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
        let (session, flow) = Session::open(&self.engine, peer, Arc::new(|_| ()), self.now);
        Client { session, flow, frames: VecDeque::new(), close: None }
    }

    /// A client that is welcome, with this token.
    pub fn welcomed(&self, token: &str) -> Client {
        let mut client = self.connect();
        client.send(self, &hello(token, &json!([])));
        client.next("welcome");
        client
    }

    /// A client that is welcome and subscribed to the room.
    pub fn member(&self, user: &str) -> Client {
        let mut client = self.connect();
        client.send(self, &hello(user, &json!([{"ch": ROOM}])));
        assert_eq!(client.next("welcome")["user"]["id"], user);
        client.next("sub_ok");
        client
    }
}

impl Client {
    pub fn send(&mut self, rig: &Rig, frame: &Value) {
        self.session.heard(rig.now.mono);
        self.flow = self.session.message(rig.now, &frame.to_string());
        self.answer(rig);
    }

    /// Reads for the session what it asks for.
    pub fn answer(&mut self, rig: &Rig) {
        while let Flow::Read(read) = &self.flow {
            let answer = Answer::new(read, Ok(rig.read(read)), &rig.engine.hub);
            self.flow = self.session.answered(rig.now, answer);
        }
    }

    /// Opens the channel for the session that it asks for.
    pub fn open(&mut self, rig: &mut Rig) {
        let Flow::Open(name, account) = &self.flow else { panic!("it asks for {:?}", self.flow) };
        let channel = CreateDialog { name: name.clone(), owner: None, account: account.clone() };
        rig.inbox.write(Write::CreateDialog(channel), Box::new(|result| assert!(result.is_ok())));
        let read = Read::Channel(name.clone());
        rig.commit();
        let answer = Answer::new(&read, Ok(rig.read(&read)), &rig.engine.hub);
        self.flow = self.session.answered(rig.now, answer);
        self.answer(rig);
    }

    /// The answer to a subscription, for which the channel is opened if the session asks for that.
    pub fn subscribe(&mut self, rig: &mut Rig, ch: &str) -> Value {
        self.send(rig, &json!({"t": "sub", "ch": ch}));
        if matches!(self.flow, Flow::Open(..)) {
            self.open(rig);
        }
        self.try_next().unwrap()
    }

    fn read(&mut self) {
        while self.close.is_none()
            && let Some(next) = self.session.outgoing().take()
        {
            match next {
                ToWrite::Write(text) => match serde_json::from_str(&text).unwrap() {
                    Value::Array(frames) => self.frames.extend(frames),
                    frame => self.frames.push_back(frame),
                },
                ToWrite::Close(close) => self.close = Some((close.code, close.reason)),
            }
        }
    }

    pub fn try_next(&mut self) -> Option<Value> {
        self.read();
        self.frames.pop_front()
    }

    /// The next frame, which must be of this type.
    pub fn next(&mut self, t: &str) -> Value {
        let frame = self.try_next().unwrap_or_else(|| panic!("no {t}"));
        assert_eq!(frame["t"], t, "{frame}");
        frame
    }

    pub fn heard_nothing(&mut self) -> bool {
        self.read();
        self.frames.is_empty() && self.close.is_none()
    }
}

/// A hello of this run of the user's client.
pub fn hello_of(user: &str, session: u128, subs: &Value) -> Value {
    let mut hello = hello(user, subs);
    hello["session"] = json!(Uuid::from_u128(session).to_string());
    hello
}

pub fn hello(user: &str, subs: &Value) -> Value {
    json!({"t": "hello", "v": 1, "client": Uuid::from_u128(9).to_string(), "token": user, "subs": subs})
}

/// A message to a channel.
pub fn message(n: u128, ch: &str) -> Value {
    let id = Uuid::from_u128(0xabc0 + n).to_string();
    json!({"t": "op", "id": id, "ch": ch, "kind": "message", "body": {"text": "hi"}})
}

pub fn op(n: u128, text: &str) -> Value {
    let id = Uuid::from_u128(0xabc0 + n).to_string();
    json!({"t": "op", "id": id, "ch": ROOM, "kind": "message", "body": {"text": text}})
}
