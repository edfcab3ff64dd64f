//! An engine without a log, whose tables the test drives.

// Not every test uses all of it.
#![allow(dead_code)]

pub(crate) mod counter;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tidewire_core::tables::Type;
use tidewire_core::wire::{User, UserKind};
use tidewire_server_core::access::Access;
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::rules::Rules;
use tidewire_server_core::store::{Account, Done, Got, Read, Store, Write};
use tidewire_server_core::tables::{Cell, Change, Column, Commit, Row, Schema, TableConfig, Tables};
use tidewire_server_core::{
    AuthError, Budget, Connections, Counted, Engine, Hub, Identity, Limiter, Now, Peer, ServerLimits,
    Session, Time, Timeouts, ToWrite, Verify, Wake,
};

pub(crate) const NOW: Now = Now { mono: Time(1_000), wall: 1_800_000_000_000 };

struct Trusting;

impl Verify for Trusting {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        Ok(Identity {
            user: User { id: token.to_owned(), name: token.to_owned(), kind: UserKind::User, profile: None },
            account: Some(Account::Own),
            scopes: Default::default(),
            roles: Default::default(),
            claims: BTreeMap::new(),
            issued_s: None,
            expires_s: now.wall / 1000 + 86_400,
            session: None,
            site: None,
        })
    }
}

struct NoLog;

impl Store for NoLog {
    fn write(&self, _: Write, _: Done) {}
    fn read(&self, _: Read, _: Got) {}
}

/// A table with columns `id` and `n`.
pub(crate) fn config(name: &str) -> TableConfig {
    let column = |name: &str| Column {
        name: name.to_owned(),
        declared: "bigint".to_owned(),
        kind: Type::named("bigint"),
        tracked: true,
    };
    TableConfig {
        name: name.to_owned(),
        schema: Schema { columns: vec![column("id"), column("n")], key: vec![0] },
        access: vec![(UserKind::User, "*".to_owned())],
    }
}

/// An engine with these tables; a client's queue takes so many bytes.
pub(crate) fn engine(tables: &Arc<Tables>, queue_bytes: usize, counted: Counted) -> Arc<Engine> {
    Arc::new(Engine {
        limits: ServerLimits {
            queue_bytes,
            table_subs: Budget { ops: 1, per_ms: 1, burst: 1 << 40 },
            frames: Budget { ops: 1, per_ms: 1, burst: 1 << 40 },
            ..ServerLimits::default()
        },
        timeouts: Timeouts::default(),
        handshakes: None,
        epoch: "log".into(),
        auth: Arc::new(Trusting),
        store: Arc::new(NoLog),
        kinds: Kinds::standard(),
        hub: Arc::new(Hub::new(Rules::of_dialogs())),
        limiter: Limiter::default(),
        connections: Connections::new(10_000, 10_000, None, counted),
        access: Access::default(),
        answers: None,
        tables: Some(tables.clone()),
        metrics: Arc::default(),
    })
}

/// A client's connection, which is welcome.
pub(crate) fn connect(engine: &Arc<Engine>, user: &str, wake: Wake) -> Session {
    let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
    let (mut session, _) = Session::open(engine, peer, wake, NOW);
    let client = "00000000-0000-7000-8000-000000000007";
    let hello = json!({"t": "hello", "v": 1, "token": user, "client": client, "subs": []});
    session.message(NOW, &hello.to_string());
    session
}

/// What waits for a client.
pub(crate) fn frames(session: &Session) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Some(ToWrite::Write(text)) = session.outgoing().take() {
        match serde_json::from_str(&text).unwrap() {
            Value::Array(several) => frames.extend(several),
            one => frames.push(one),
        }
    }
    frames
}

pub(crate) fn row(id: u64, n: u64) -> Row {
    [id, n].map(|value| Cell::Text(value.to_string().into())).into()
}

/// The commit at a position, which counts row 0 of each of these tables up to it.
pub(crate) fn count_up(tables: &[usize], position: u64) -> Commit {
    let change = |table: &usize| Change::Row {
        table: *table,
        old: Some(row(0, position - 1)),
        new: Some(row(0, position)),
    };
    Commit {
        position,
        xid: Some(position),
        tx: position.to_string(),
        at: NOW.wall,
        changes: tables.iter().map(change).collect(),
        places: Vec::new(),
    }
}
