//! Live tables of a real PostgreSQL, on a real server.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::*;
use tidewire_postgres::Cluster;
use tidewire_server::tables::{PostgresConfig, SourceConfig, WatchConfig};
use tidewire_server::{Server, UserKind};
use tokio_postgres::NoTls;

/// The SQL that the program prints for an administrator.
fn plan(address: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let tables = "[tables.watch.tasks]\nfilters = [\"room\"]\naccess = { user = \"owner=eq.{sub}\" }";
    std::fs::write(&path, tables).unwrap();
    let planned = std::process::Command::new(env!("CARGO_BIN_EXE_tidewire-server"))
        .args(["tables", "plan", "--tables-source", address, "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    String::from_utf8(planned.stdout).unwrap()
}

#[tokio::test]
async fn a_subscription_follows_what_transactions_commit() {
    let cluster = Cluster::start(&[]).unwrap();
    let (admin, connection) = tokio_postgres::connect(&cluster.address("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    admin
        .batch_execute(
            "create table tasks (id bigint primary key, owner text not null, room int not null, title text)",
        )
        .await
        .unwrap();
    admin.batch_execute("insert into tasks values (1, 'ada', 7, 'one'), (2, 'bob', 7, 'two')").await.unwrap();
    let planned = plan(&format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port()));
    for statement in planned.split(";\n") {
        admin.batch_execute(statement).await.unwrap();
    }

    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.tables.source = Some(SourceConfig::Postgres(PostgresConfig {
        address: cluster.address("tidewire"),
        ca: None,
        publication: "tidewire".to_owned(),
        slot: "tidewire".to_owned(),
    }));
    config.tables.watch = vec![WatchConfig {
        name: "tasks".to_owned(),
        table: None,
        columns: None,
        filters: vec!["room".to_owned()],
        access: vec![(UserKind::User, "owner=eq.{sub}".to_owned())],
    }];
    let server = Server::start(config).await.unwrap();
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&token("ada", json!({})), json!([])).await;
    ada.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": "room=eq.7"})).await;
    let mut ok = ada.next().await;
    while ok["t"] == "tbl.err" && ok["retryable"] == true {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ada.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": "room=eq.7"})).await;
        ok = ada.next().await;
    }
    assert_eq!(ok["rows"], json!([["1", "ada", 7, "one"]]), "{ok}");
    assert_eq!(ada.next().await["t"], "tbl.live");

    admin.batch_execute("begin; insert into tasks values (3, 'ada', 7, 'three'); update tasks set owner = 'bob' where id = 1").await.unwrap();
    let tx: String = admin.query_one("select pg_current_xact_id()::text", &[]).await.unwrap().get(0);
    admin.batch_execute("commit").await.unwrap();
    ada.send(json!({"t": "tbl.wait", "sid": "s", "tx": tx})).await;
    let told = ada.next().await;
    let changes = json!([
        {"op": "insert", "row": ["3", "ada", 7, "three"]},
        {"op": "delete", "key": ["1"], "moved": true},
    ]);
    assert_eq!((&told["t"], &told["txs"][0][2]), (&json!("tbl.tx"), &changes), "{told}");
    assert_eq!(ada.next().await, json!({"t": "tbl.seen", "sid": "s", "tx": tx}));
    admin.batch_execute("truncate tasks").await.unwrap();
    assert_eq!(ada.next().await["reason"], "truncated");
    // Columns whose old values the database does not send can't be used in filters.
    ada.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": "title=eq.one"})).await;
    assert_eq!(ada.next().await["code"], "bad_column");
    // A new column changes no row in the stream, but the rows are different, so subscriptions are
    // reset.
    ada.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": "room=eq.7"})).await;
    assert_eq!(ada.next_of("tbl.ok").await["columns"].as_array().unwrap().len(), 4);
    admin.batch_execute("alter table tasks add column done boolean not null default false").await.unwrap();
    assert_eq!(ada.next_of("tbl.reset").await["reason"], "schema");
    ada.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": "room=eq.7"})).await;
    assert_eq!(ada.next_of("tbl.ok").await["columns"][4], json!({"name": "done", "type": "boolean"}));
    admin.batch_execute("insert into tasks values (4, 'ada', 7, 'four', true)").await.unwrap();
    let told = ada.next_of("tbl.tx").await;
    assert_eq!(told["txs"][0][2][0]["row"], json!(["4", "ada", 7, "four", true]), "{told}");
    server.drain().await;
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_tidewire-server"))
        .args([
            "tables",
            "unwatch",
            "--tables-source",
            &format!("postgres://tidewire@127.0.0.1:{}/postgres", cluster.port()),
        ])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let slots = admin.query_one("select count(*) from pg_replication_slots", &[]).await.unwrap();
    assert_eq!(slots.get::<_, i64>(0), 0);
}
