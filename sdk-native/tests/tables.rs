//! Live tables through the client, the real server's process and a SQLite file that others write.

mod common;

use common::server::Server;
use common::{PATIENCE, eager, soon, until};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tidewire::{Client, ClientOptions, RowOp, Storage, Table, TableQuery, TableStatus, TableUpdate, Why};

const SQL: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE rules (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, priority INTEGER, enabled BOOLEAN NOT NULL DEFAULT 1);
    INSERT INTO rules (id, owner, priority) VALUES (1, 'guests', 5), (2, 'guests', NULL), (3, 'nobody', 9)";
const TABLES: &str = "[tables.watch.rules]\naccess = { guest = \"owner=eq.guests\" }\n";

async fn guest(server: &Server, storage: Storage) -> Client {
    let options = ClientOptions::guest(server.url(), "Ada").config(eager()).storage(storage);
    let client = Client::open(options).await.expect("opens");
    client.connect();
    client
}

fn rules() -> TableQuery {
    TableQuery { table: "rules".into(), order: "priority.desc.nullslast".into(), ..TableQuery::default() }
}

fn rows(table: &Table) -> Vec<Value> {
    table.rows().iter().map(|row| serde_json::from_str(row).expect("JSON")).collect()
}

fn ids(table: &Table) -> Vec<Value> {
    rows(table).iter().map(|row| row["id"].clone()).collect()
}

async fn live(table: &Table) {
    until("a live table", || table.status() == TableStatus::Live).await;
}

/// The next changes, past what else is told.
async fn changes(table: &mut Table) -> Vec<tidewire::RowChange> {
    loop {
        match soon("changes", table.next()).await.expect("the client lives") {
            TableUpdate::Changes { changes, .. } => return changes,
            _ => continue,
        }
    }
}

#[tokio::test]
async fn what_others_write_is_seen_as_far_as_it_may_be() {
    let server = Server::with_tables(SQL, TABLES, &["--model", "off"]);
    let client = guest(&server, Storage::Memory).await;
    let mut table = client.table(&rules()).expect("opened");
    live(&table).await;
    assert_eq!(
        rows(&table),
        [
            json!({"id":"1","owner":"guests","priority":"5","enabled":true}),
            json!({"id":"2","owner":"guests","priority":null,"enabled":true})
        ]
    );
    let app = server.app();
    app.execute_batch(
        "BEGIN; UPDATE rules SET priority = 7 WHERE id = 2; DELETE FROM rules WHERE id = 1; COMMIT",
    )
    .expect("written");
    let told = changes(&mut table).await;
    let events: Vec<(RowOp, Why)> = told.iter().map(|change| (change.event, change.why)).collect();
    assert_eq!(
        events,
        [(RowOp::Update, Why::Commit), (RowOp::Delete, Why::Commit)],
        "one transaction together"
    );
    let old: Value = serde_json::from_str(told[0].old.as_deref().expect("it was there")).expect("JSON");
    assert_eq!(old["priority"], Value::Null);
    // Rows come into what may be seen, and leave it.
    app.execute_batch("UPDATE rules SET owner = 'guests' WHERE id = 3").expect("written");
    assert_eq!(changes(&mut table).await[0].why, Why::MovedIn);
    assert_eq!(ids(&table), ["3", "2"]);
    app.execute_batch("UPDATE rules SET owner = 'nobody' WHERE id = 3").expect("written");
    let gone = changes(&mut table).await;
    assert_eq!((gone[0].event, gone[0].why, &gone[0].new), (RowOp::Delete, Why::MovedOut, &None));
    client.close().await;
}

#[tokio::test]
async fn a_writer_can_wait_until_what_it_wrote_is_here() {
    let server = Server::with_tables(SQL, TABLES, &["--model", "off"]);
    let client = guest(&server, Storage::Memory).await;
    let table = client.table(&rules()).expect("opened");
    live(&table).await;
    let mut app = server.app();
    for id in 10..30 {
        let transaction = app.transaction().expect("begun");
        transaction.execute("INSERT INTO rules (id, owner) VALUES (?1, 'guests')", [id]).expect("written");
        let tx: i64 = transaction
            .query_row("SELECT max(seq) FROM _tidewire_change", [], |row| row.get(0))
            .expect("the triggers wrote");
        transaction.commit().expect("committed");
        soon("the transaction", table.await_tx(&tx.to_string())).await.expect("seen");
        assert!(ids(&table).contains(&json!(id.to_string())), "{id} is here");
    }
    assert_eq!(table.await_tx("what?").await.expect_err("no such").code(), "unknown_tx");
    client.close().await;
}

#[tokio::test]
async fn a_killed_server_and_a_killed_client_miss_nothing() {
    let mut server = Server::with_tables(SQL, TABLES, &["--model", "off"]);
    let folder = TempDir::new().expect("a folder");
    let storage = || Storage::Folder(folder.path().to_owned());
    let client = guest(&server, storage()).await;
    let mut table = client.table(&rules()).expect("opened");
    live(&table).await;
    server.kill();
    until("stale rows", || table.status() == TableStatus::Stale).await;
    assert_eq!(ids(&table), ["1", "2"], "what was seen stays");
    server
        .app()
        .execute_batch("INSERT INTO rules (id, owner, priority) VALUES (4, 'guests', 8)")
        .expect("written");
    server.restart();
    let told = changes(&mut table).await;
    assert_eq!((told.len(), told[0].why), (1, Why::Commit), "gone on from the cursor, not compared");
    live(&table).await;
    assert_eq!(ids(&table), ["4", "1", "2"]);
    // Long enough to be stored.
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.close().await;
    server.app().execute_batch("DELETE FROM rules WHERE id = 4").expect("written");
    let client = guest(&server, storage()).await;
    let mut table = client.table(&rules()).expect("opened");
    assert_eq!(ids(&table), ["4", "1", "2"], "what was seen is there before any connection");
    let told = changes(&mut table).await;
    assert_eq!((told[0].event, told[0].why), (RowOp::Delete, Why::Commit));
    live(&table).await;
    assert_eq!(ids(&table), ["1", "2"]);
    client.close().await;
}

#[tokio::test]
async fn a_client_that_was_away_for_longer_than_the_log_is_told_the_difference_and_the_log_stays_short() {
    let server = Server::with_tables(SQL, &format!("log_mb = 1\n{TABLES}"), &["--model", "off"]);
    let client = guest(&server, Storage::Memory).await;
    let mut table = client.table(&rules()).expect("opened");
    live(&table).await;
    client.disconnect();
    until("stale rows", || table.status() == TableStatus::Stale).await;
    let mut app = server.app();
    app.pragma_update(None, "synchronous", "OFF").expect("set");
    app.execute_batch(
        "UPDATE rules SET priority = 6 WHERE id = 1; UPDATE rules SET priority = 7 WHERE id = 1;
         DELETE FROM rules WHERE id = 2; INSERT INTO rules (id, owner) VALUES (4, 'guests'), (5, 'guests');
         DELETE FROM rules WHERE id = 5",
    )
    .expect("written");
    let left: i64 = 7;
    for round in 0..3_i64 {
        for _ in 0..50 {
            let transaction = app.transaction().expect("begun");
            for id in 1_000..1_200 {
                let sql = "INSERT INTO rules (id, owner, priority) VALUES (?1, 'nobody', ?2)
                    ON CONFLICT (id) DO UPDATE SET priority = priority + 1";
                transaction.execute(sql, [id, round]).expect("written");
            }
            transaction.commit().expect("committed");
        }
        let written = left + 10_000 * (round + 1);
        let log = || {
            let sql = "SELECT min(seq), max(seq), count(*) FROM _tidewire_change";
            app.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("a log")
        };
        let (_, last, _): (i64, i64, i64) = log();
        assert!(last >= written, "{last} changes are logged");
        // 10,000 are kept for those who come back after a restart, and it is not trimmed for each
        // single one.
        until("a short log", || log().2 <= 20_000).await;
        if round == 2 {
            until("what was missed is gone", || log().0 > left + 1).await;
        }
    }
    assert_eq!(ids(&table), ["1", "2"], "nothing of it was heard");
    client.connect();
    let (told, tx, at) = loop {
        if let TableUpdate::Changes { changes, tx, at, .. } =
            soon("changes", table.next()).await.expect("it lives")
        {
            break (changes, tx, at);
        }
    };
    assert_eq!((tx, at), (None, None));
    assert!(told.iter().all(|change| change.why == Why::Resync), "{told:?}");
    let row = |row: &Option<std::sync::Arc<str>>| {
        row.as_deref().map_or(Value::Null, |row| serde_json::from_str(row).expect("JSON"))["priority"].clone()
    };
    let mut told: Vec<(&str, Value, Value)> =
        told.iter().map(|change| (change.event.as_str(), row(&change.old), row(&change.new))).collect();
    told.sort_by_key(|change| change.0);
    assert_eq!(
        told,
        [
            ("delete", Value::Null, Value::Null),
            ("insert", Value::Null, Value::Null),
            ("update", json!("5"), json!("7"))
        ],
        "what came and went is not told"
    );
    live(&table).await;
    assert_eq!(ids(&table), ["1", "4"]);
    app.execute_batch("UPDATE rules SET priority = 8 WHERE id = 4").expect("written");
    assert_eq!(changes(&mut table).await[0].why, Why::Commit);
    client.close().await;
}

#[tokio::test]
async fn refusals_have_codes() {
    let server = Server::with_tables(SQL, TABLES, &["--model", "off"]);
    let client = guest(&server, Storage::Memory).await;
    for (query, code) in [
        (TableQuery { table: "nothing".into(), ..rules() }, "unknown_table"),
        (TableQuery { filter: "colour=eq.red".into(), ..rules() }, "bad_column"),
        (TableQuery { filter: "priority=eq.high".into(), ..rules() }, "bad_literal"),
        (TableQuery { select: Some(vec!["colour".into()]), ..rules() }, "bad_column"),
        (TableQuery { order: "colour".into(), ..rules() }, "bad_order"),
    ] {
        let table = client.table(&query).expect("opened");
        until("a refusal", || matches!(table.status(), TableStatus::Failed { .. })).await;
        let TableStatus::Failed { code: said, .. } = table.status() else { unreachable!("it has failed") };
        assert_eq!(said, code, "{query:?}");
    }
    let error =
        client.table(&TableQuery { filter: "priority=near.3".into(), ..rules() }).expect_err("refused");
    assert_eq!((error.code(), error.at()), ("bad_filter", Some(9)));
    tokio::time::timeout(PATIENCE, client.close()).await.expect("closed");
    assert_eq!(client.table(&rules()).expect_err("closed").code(), "closed");
}
