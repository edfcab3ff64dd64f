//! Live tables of a real PostgreSQL whose standby takes over.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::{Client as Plain, config, token};
use tidewire::{Client, ClientOptions, Config, RowOp, Table, TableQuery, TableStatus, TableUpdate, Why};
use tidewire_fault_proxy::{Faults, Proxy};
use tidewire_postgres::Cluster;
use tidewire_server::tables::{PostgresConfig, SourceConfig, TablesConfig, WatchConfig, plan};
use tidewire_server::{Server, UserKind};
use tokio_postgres::NoTls;

/// Time-out; long enough for a promotion on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(cluster: &Cluster) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&cluster.address("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(client: &tokio_postgres::Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// A primary with three tasks, set up by the plan, and a standby with the same tasks.
async fn pair() -> (Cluster, Cluster) {
    let primary = Cluster::start(&[]).unwrap();
    let admin = connect(&primary).await;
    let table = "create table tasks (id bigint primary key, owner text not null, title text)";
    admin.batch_execute(table).await.unwrap();
    let rows = "insert into tasks values (1, 'ada', 'one'), (2, 'ada', 'two'), (3, 'ada', 'three')";
    admin.batch_execute(rows).await.unwrap();
    let planned = plan(&tables(primary.address("postgres")), "tidewire").await.unwrap();
    for statement in planned.split(";\n") {
        admin.batch_execute(statement).await.unwrap();
    }
    let standby = primary.standby().unwrap();
    (primary, standby)
}

fn tables(address: String) -> TablesConfig {
    TablesConfig {
        source: Some(SourceConfig::Postgres(PostgresConfig {
            address,
            ca: None,
            publication: "tidewire".to_owned(),
            slot: "tidewire".to_owned(),
        })),
        watch: vec![WatchConfig {
            name: "tasks".to_owned(),
            table: None,
            columns: None,
            filters: Vec::new(),
            access: vec![(UserKind::User, "owner=eq.{sub}".to_owned())],
        }],
        ..TablesConfig::default()
    }
}

fn both(one: u16, other: u16) -> String {
    format!("postgres://tidewire@127.0.0.1:{one},127.0.0.1:{other}/postgres")
}

struct Serving {
    server: Server,
    _folder: tempfile::TempDir,
}

async fn serve(address: String) -> Serving {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.tables = tables(address);
    Serving { server: Server::start(config).await.unwrap(), _folder: folder }
}

/// A client that checks its changes: each must fit the rows before it.
struct Told {
    _client: Client,
    table: Table,
    rows: BTreeMap<String, Value>,
    /// The key of each changed row, the operation and the reason.
    changes: Vec<(String, RowOp, Why)>,
}

impl Told {
    async fn of(serving: &Serving) -> Told {
        let token = token("ada", json!({}));
        let provider = tidewire::token::from_fn(move |_| {
            let token = token.clone();
            async move { Ok(token) }
        });
        let eager = Config { backoff_base_ms: 20, backoff_cap_ms: 200, ..Config::default() };
        let options = ClientOptions::new(format!("http://{}", serving.server.address()), provider);
        let client = Client::open(options.config(eager)).await.unwrap();
        client.connect();
        let table = client.table(&TableQuery { table: "tasks".into(), ..TableQuery::default() }).unwrap();
        let mut told = Told { _client: client, table, rows: BTreeMap::new(), changes: Vec::new() };
        told.until("the first rows", |told| told.table.status() == TableStatus::Live).await;
        told.rows = told.shown();
        told
    }

    fn shown(&self) -> BTreeMap<String, Value> {
        let rows = self.table.rows();
        let rows = rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
        rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
    }

    fn take(&mut self, update: TableUpdate) {
        let TableUpdate::Changes { changes, .. } = update else { return };
        for change in changes {
            let read = |text: &Option<std::sync::Arc<str>>| {
                text.as_ref().map(|text| serde_json::from_str::<Value>(text).unwrap())
            };
            let (old, new) = (read(&change.old), read(&change.new));
            let id = old.as_ref().or(new.as_ref()).unwrap()["id"].as_str().unwrap().to_owned();
            assert_eq!(self.rows.get(&id), old.as_ref(), "{:?} of a row that was not so", change.event);
            match new {
                Some(new) => self.rows.insert(id.clone(), new),
                None => self.rows.remove(&id),
            };
            self.changes.push((id, change.event, change.why));
        }
    }

    /// Takes updates until a condition is met.
    async fn until(&mut self, what: &str, met: impl Fn(&Told) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !met(self) {
            assert!(Instant::now() < until, "waited in vain for {what}: {:?}, {:?}", self.rows, self.changes);
            if let Ok(update) = tokio::time::timeout(Duration::from_millis(50), self.table.next()).await {
                self.take(update.unwrap());
            }
        }
    }

    /// Takes updates until the rows are the database's and live.
    async fn has_all_of(&mut self, admin: &tokio_postgres::Client) {
        let sql = "select coalesce(jsonb_object_agg(id, jsonb_build_object('id', id::text, 'owner', owner, 'title', title)), '{}')::text from tasks";
        let wanted: BTreeMap<String, Value> = serde_json::from_str(&ask(admin, sql).await).unwrap();
        self.until("the database's rows", |told| {
            told.rows == wanted && told.table.status() == TableStatus::Live && told.shown() == wanted
        })
        .await;
    }
}

async fn caught_up(primary: &tokio_postgres::Client) {
    let until = Instant::now() + PATIENCE;
    let behind = "select (count(*) filter (where replay_lsn >= pg_current_wal_lsn()) = 0)::text from pg_stat_replication where application_name = 'walreceiver'";
    while ask(primary, behind).await == "true" {
        assert!(Instant::now() < until, "the standby does not follow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_standby_that_takes_over_is_followed_and_the_difference_is_told() {
    let (mut primary, standby) = pair().await;
    let serving = serve(both(primary.port(), standby.port())).await;
    let mut told = Told::of(&serving).await;
    let admin = connect(&primary).await;
    admin.batch_execute("update tasks set title = 'first' where id = 1").await.unwrap();
    told.has_all_of(&admin).await;
    assert_eq!(told.changes, [("1".to_owned(), RowOp::Update, Why::Commit)]);
    caught_up(&admin).await;

    // What the standby does not get is lost with the primary, and clients that saw it must be
    // notified.
    let reader = connect(&standby).await;
    reader.batch_execute("alter system set primary_conninfo = ''").await.unwrap();
    reader.batch_execute("select pg_reload_conf()").await.unwrap();
    let until = Instant::now() + PATIENCE;
    while ask(&admin, "select count(*)::text from pg_stat_replication where application_name = 'walreceiver'")
        .await
        != "0"
    {
        assert!(Instant::now() < until, "the standby still follows");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admin.batch_execute("insert into tasks values (4, 'ada', 'lost')").await.unwrap();
    admin.batch_execute("update tasks set title = 'lost' where id = 2").await.unwrap();
    told.has_all_of(&admin).await;
    told.changes.clear();
    primary.kill_hard().unwrap();
    standby.promote().unwrap();
    // Some of these commits come before the server connects, some after.
    reader.batch_execute("delete from tasks where id = 3").await.unwrap();
    for id in 100..200 {
        reader.batch_execute(&format!("insert into tasks values ({id}, 'ada', 'new')")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told.has_all_of(&reader).await;
    for (id, event) in
        [("2", RowOp::Update), ("3", RowOp::Delete), ("4", RowOp::Delete), ("100", RowOp::Insert)]
    {
        let found: Vec<_> = told.changes.iter().filter(|(other, ..)| other == id).collect();
        assert_eq!(found, [&(id.to_owned(), event, Why::Resync)]);
    }
    assert_eq!(told.changes.iter().filter(|(_, event, _)| *event == RowOp::Insert).count(), 100);

    // The new primary is followed live: a writer can wait for its transaction.
    told.changes.clear();
    reader.batch_execute("begin; update tasks set title = 'again' where id = 1").await.unwrap();
    let tx = ask(&reader, "select pg_current_xact_id()::text").await;
    reader.batch_execute("commit").await.unwrap();
    tokio::time::timeout(PATIENCE, told.table.await_tx(&tx)).await.unwrap().unwrap();
    told.has_all_of(&reader).await;
    assert_eq!(told.changes, [("1".to_owned(), RowOp::Update, Why::Commit)]);
    let slots = "select count(*)::text from pg_replication_slots where active";
    assert_eq!(ask(&reader, slots).await, "1");
    serving.server.drain().await;
}

#[tokio::test]
async fn a_standby_is_refused_and_nothing_is_read_of_it_until_it_is_promoted() {
    let (mut primary, standby) = pair().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.tables = tables(standby.address("tidewire"));
    let error = Server::start(config).await.err().unwrap();
    let said = error.to_string();
    assert_eq!(error.code(), "postgres_standby");
    assert!(said.contains("the address of the primary") && said.contains("pg_promote()"), "{said}");

    // Of several hosts the primary is found, in any order.
    let serving = serve(both(standby.port(), primary.port())).await;
    let mut told = Told::of(&serving).await;
    let admin = connect(&primary).await;
    admin.batch_execute("insert into tasks values (4, 'ada', 'four')").await.unwrap();
    told.has_all_of(&admin).await;
    caught_up(&admin).await;
    // A planned stop, which must not wait for the server.
    let stopping = tokio::task::spawn_blocking(move || primary.stop());
    tokio::time::timeout(Duration::from_secs(20), stopping).await.unwrap().unwrap().unwrap();
    let mut ada = Plain::connect(serving.server.address()).await;
    ada.hello(&token("ada", json!({})), json!([])).await;
    for _ in 0..5 {
        ada.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": "id=gt.1"})).await;
        let refused = ada.next().await;
        let said = (&refused["code"], &refused["retryable"]);
        assert_eq!(said, (&json!("table_unavailable"), &json!(true)), "{refused}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    standby.promote().unwrap();
    let reader = connect(&standby).await;
    reader.batch_execute("update tasks set title = 'vier' where id = 4").await.unwrap();
    told.has_all_of(&reader).await;
    serving.server.drain().await;
}

#[tokio::test]
async fn a_primary_that_does_not_know_that_it_is_one_no_more_is_not_read() {
    let (primary, standby) = pair().await;
    let proxy = Proxy::start(&format!("127.0.0.1:{}", primary.port())).await.unwrap();
    let serving = serve(both(proxy.address().port(), standby.port())).await;
    let mut told = Told::of(&serving).await;
    let old = connect(&primary).await;
    caught_up(&old).await;
    standby.promote().unwrap();
    // The stream ends and new connections are refused, but open ones remain.
    proxy.set(Faults { refuse: true, ..Faults::default() });
    old.batch_execute("insert into tasks values (66, 'ada', 'ghost')").await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_replication where application_name = 'tidewire'";
    old.batch_execute(end).await.unwrap();
    let new = connect(&standby).await;
    new.batch_execute("insert into tasks values (5, 'ada', 'five')").await.unwrap();
    told.has_all_of(&new).await;
    let mut second = Told::of(&serving).await;
    assert_eq!(second.rows, told.rows, "a new subscription has read elsewhere");
    old.batch_execute("insert into tasks values (67, 'ada', 'ghost')").await.unwrap();
    new.batch_execute("insert into tasks values (6, 'ada', 'six')").await.unwrap();
    told.has_all_of(&new).await;
    second.has_all_of(&new).await;
    serving.server.drain().await;
}
