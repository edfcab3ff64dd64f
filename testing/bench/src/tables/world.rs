//! The server's tables and sessions in this thread, without sockets.

use crate::Failure;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tidewire_core::tables::Type;
use tidewire_core::wire::{User, UserKind};
use tidewire_core::{Now, Time};
use tidewire_server_core::access::Access;
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::rules::Rules;
use tidewire_server_core::store::{Account, Done, Got, Read, Store, Write};
use tidewire_server_core::tables::{
    Cell, Change, Column, Commit, Row, Schema, Seen, Snapshot, SourceRequest, TableConfig, TableLimits,
    Tables, Wake,
};
use tidewire_server_core::{
    AuthError, Budget, Connections, Engine, Hub, Identity, Limiter, Peer, ServerLimits, Session, Timeouts,
    ToWrite, Verify,
};

pub(crate) const NOW: Now = Now { mono: Time(1), wall: 1_795_228_800_000 };

pub(crate) struct Anybody;

impl Verify for Anybody {
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

pub(crate) struct NoLog;

impl Store for NoLog {
    fn write(&self, _: Write, _: Done) {}
    fn read(&self, _: Read, _: Got) {}
}

/// A table `items` with columns `id`, `owner` and `body`.
pub(crate) fn engine() -> Result<Arc<Engine>, Failure> {
    engine_of(&["items"], Arc::new(|_| ()))
}

/// Tables of these names, each with columns `id`, `owner` and `body`.
pub(crate) fn engine_of(names: &[&str], wake: Wake) -> Result<Arc<Engine>, Failure> {
    let column = |(name, declared): (&str, &str)| Column {
        name: name.to_owned(),
        declared: declared.to_owned(),
        kind: Type::named(declared),
        tracked: true,
    };
    let columns = [("id", "bigint"), ("owner", "bigint"), ("body", "text")].map(column).to_vec();
    let config = |name: &&str| TableConfig {
        name: (*name).to_owned(),
        schema: Schema { columns: columns.clone(), key: vec![0] },
        access: vec![(UserKind::User, "*".to_owned())],
    };
    let limits = TableLimits {
        subscriptions: 2_000_000,
        total: 2_000_000,
        log_commits: 1_000_000,
        log_bytes: 1 << 30,
        ..TableLimits::default()
    };
    let tables = Tables::new(names.iter().map(config).collect(), limits, wake)?;
    tables.restart("e1", 0, &[]);
    Ok(Arc::new(Engine {
        limits: ServerLimits {
            queue_bytes: 1 << 30,
            queue_messages: 1 << 24,
            table_subs: Budget { ops: 1, per_ms: 1, burst: 1 << 40 },
            ..ServerLimits::default()
        },
        timeouts: Timeouts::default(),
        handshakes: None,
        epoch: "log".into(),
        auth: Arc::new(Anybody),
        store: Arc::new(NoLog),
        kinds: Kinds::standard(),
        hub: Arc::new(Hub::new(Rules::of_dialogs())),
        limiter: Limiter::default(),
        connections: Connections::new(20_000, 20_000, None, Box::new(|| ())),
        access: Access::default(),
        answers: None,
        tables: Some(Arc::new(tables)),
        metrics: Arc::default(),
    }))
}

pub(crate) fn tables(engine: &Engine) -> Result<&Arc<Tables>, Failure> {
    engine.tables.as_ref().ok_or_else(|| "there are no tables".into())
}

/// A session after its welcome.
pub(crate) fn session(engine: &Arc<Engine>, name: &str) -> Session {
    session_that_wakes(engine, name, Arc::new(|_| ()))
}

/// As [`session`], with a callback for when frames are queued.
pub(crate) fn session_that_wakes(
    engine: &Arc<Engine>,
    name: &str,
    wake: tidewire_server_core::Wake,
) -> Session {
    let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
    let (mut session, _) = Session::open(engine, peer, wake, NOW);
    let hello = serde_json::json!({"t":"hello","v":1,"token":name,"client":"00000000-0000-7000-8000-000000000007","subs":[]});
    session.message(NOW, &hello.to_string());
    session
}

/// Answers snapshots with no rows, and returns what was written to the client.
pub(crate) fn settle(engine: &Engine, session: &Session) -> Result<Vec<String>, Failure> {
    let tables = tables(engine)?;
    while tables.catch_up() {}
    for wanted in tables.take_requests() {
        if let SourceRequest::Snapshot(wanted) = wanted {
            tables.finish_snapshot(wanted.id, Ok(Snapshot { rows: Vec::new(), seen: Seen::UpTo(0) }));
        }
    }
    Ok(written(session))
}

/// Takes the messages that are queued for the client.
pub(crate) fn written(session: &Session) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(ToWrite::Write(text)) = session.outgoing().take() {
        texts.push(text.as_str().to_owned());
    }
    texts
}

pub(crate) fn row(id: u64, owner: u64, body: &str) -> Row {
    let cell = |text: String| Cell::Text(text.into());
    [cell(id.to_string()), cell(owner.to_string()), cell(body.to_owned())].into()
}

pub(crate) fn commit(position: u64, old: Option<Row>, new: Row) -> Commit {
    commit_of(0, position, old, new)
}

/// As above, of the table with this index.
pub(crate) fn commit_of(table: usize, position: u64, old: Option<Row>, new: Row) -> Commit {
    Commit {
        position,
        xid: None,
        tx: position.to_string(),
        at: NOW.wall,
        changes: vec![Change::Row { table, old, new: Some(new) }],
        places: Vec::new(),
    }
}
