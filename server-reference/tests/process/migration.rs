//! A database of the first version is migrated to the present one, completely or not at all.

use crate::support::*;
use crate::{client, run};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The schema of version 1.
const VERSION_1: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID;
    CREATE TABLE channels (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL DEFAULT 0, floor INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE dialogs (
        channel INTEGER PRIMARY KEY REFERENCES channels (id), owner TEXT, wants_answer INTEGER
    );
    CREATE TABLE events (
        key INTEGER PRIMARY KEY, op BLOB NOT NULL, author TEXT NOT NULL, frame TEXT NOT NULL
    );
    CREATE UNIQUE INDEX events_by_op ON events (op, author, key >> 40);
    CREATE TABLE runs (id TEXT PRIMARY KEY, channel INTEGER NOT NULL REFERENCES channels (id)) WITHOUT ROWID;
    CREATE TABLE pieces (
        run TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, at)
    ) WITHOUT ROWID;
    INSERT INTO meta VALUES ('schema_version', 1), ('epoch', 'the-old-epoch'), ('guest_key', randomblob(32));
";

fn now_ms() -> u64 {
    now_s() * 1000
}

/// Writes a channel with these kinds and bodies, a second apart, the newest at the present time;
/// returns the ids of its ops.
fn write_channel(database: &Connection, channel: i64, name: &str, events: &[(&str, Value)]) -> Vec<String> {
    database
        .execute("INSERT INTO channels VALUES (?, ?, ?, 0)", params![channel, name, events.len() as i64])
        .unwrap();
    database.execute("INSERT INTO dialogs VALUES (?, NULL, NULL)", [channel]).unwrap();
    let mut ids = Vec::new();
    for (index, (kind, body)) in events.iter().enumerate() {
        let (offset, op) = (index as i64 + 1, uuid::Uuid::now_v7());
        let by = match *kind {
            "message" => json!({"id": "ada", "name": "ada", "kind": "user"}),
            _ => json!({"id": "ai", "name": "Assistant", "kind": "ai"}),
        };
        let at = now_ms() - 1000 * (events.len() - index) as u64;
        let frame = json!({"t": "event", "ch": name, "offset": offset, "id": op.to_string(), "kind": kind, "at": at, "by": by, "body": body});
        let author = if *kind == "message" { "user:ada" } else { "ai:ai" };
        database
            .execute(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                params![channel << 40 | offset, op.as_bytes().as_slice(), author, frame.to_string()],
            )
            .unwrap();
        ids.push(op.to_string());
    }
    ids
}

fn version_1(folder: &Path) -> Connection {
    let database = Connection::open(folder.join("tidewire.db")).unwrap();
    database.execute_batch(VERSION_1).unwrap();
    database
}

fn version(folder: &Path) -> u32 {
    let database = Connection::open(folder.join("tidewire.db")).unwrap();
    database.query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_log_of_the_first_version_goes_on_with_its_epoch_its_ops_and_its_broken_answer() {
    let folder = tempfile::tempdir().unwrap();
    let database = version_1(folder.path());
    let ids = write_channel(
        &database,
        1,
        "dialog:room",
        &[
            ("message", json!({"text": "one"})),
            ("message", json!({"text": "two"})),
            ("answer.start", json!({"run": "r1"})),
        ],
    );
    database.execute("INSERT INTO runs VALUES ('r1', 1)", []).unwrap();
    database.execute("INSERT INTO pieces VALUES ('r1', 0, 'so far')", []).unwrap();
    drop(database);
    let running = run(folder.path(), &["--model", "off"]).await;
    let mut ada = client(running.address, "ada").await;
    let sub = ada.next_of("sub_ok").await;
    assert_eq!((&sub["epoch"], &sub["from"]), (&json!("the-old-epoch"), &json!(0)));
    let end = match sub["events"].as_array().unwrap().last() {
        Some(last) if last["kind"] == "answer.end" => last.clone(),
        _ => ada.event("answer.end").await,
    };
    assert_eq!((&end["offset"], &end["body"]["text"]), (&json!(4), &json!("so far")));
    let again =
        json!({"t": "op", "id": ids[1], "ch": "dialog:room", "kind": "message", "body": {"text": "two"}});
    let ok = ada.op(again).await;
    assert_eq!((&ok["offset"], &ok["dup"]), (&json!(2), &json!(true)));
    assert_eq!(version(folder.path()), tidewire_server::SCHEMA_VERSION);
}

#[tokio::test]
async fn what_the_first_version_wrote_is_trimmed_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let database = version_1(folder.path());
    write_channel(
        &database,
        1,
        "dialog:room",
        &[("message", json!({"text": "1"})), ("message", json!({"text": "2"}))],
    );
    let old = now_ms() - 3 * 86_400_000;
    database
        .execute(
            "UPDATE events SET frame = json_set(frame, '$.at', ?) WHERE key & 0xffffffff = 1",
            [old as i64],
        )
        .unwrap();
    drop(database);
    let running = run(folder.path(), &["--model", "off", "--retention-days", "2"]).await;
    let mut ada = client(running.address, "ada").await;
    let mut sub = ada.next_of("sub_ok").await;
    while sub["from"] != 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ada.send(json!({"t": "sub", "ch": "dialog:room"})).await;
        sub = ada.next_of("sub_ok").await;
    }
    assert_eq!(sub["events"].as_array().unwrap().len(), 1);
}

/// Starts a server again and again and kills it later each time; returns how often it had not
/// migrated the database by then.
async fn kill_while_it_migrates(folder: &Path) -> usize {
    let mut unfinished = 0;
    for ms in [0, 10, 20, 30, 40, 50, 60, 80] {
        let mut child = std::process::Command::new(crate::PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--database", "tidewire.db", "--log", "error"])
            .current_dir(folder)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(ms)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let version = version(folder);
        let database = Connection::open(folder.join("tidewire.db")).unwrap();
        let columns: i64 = database
            .query_row(
                "SELECT count(*) FROM pragma_table_info('channels') WHERE name = 'oldest'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(columns == 1, version > 1, "half a migration");
        unfinished += usize::from(version == 1);
    }
    unfinished
}

#[tokio::test]
async fn a_migration_that_is_killed_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = version_1(folder.path());
    let filling = database.transaction().unwrap();
    for channel in 1..=20_000 {
        write_channel(&filling, channel, &format!("dialog:{channel}"), &[("message", json!({"text": "x"}))]);
    }
    filling.commit().unwrap();
    drop(database);
    let (file, old) = (folder.path().join("tidewire.db"), folder.path().join("old.db"));
    std::fs::copy(&file, &old).unwrap();
    let mut unfinished = 0;
    // On a busy machine every migration may be done before it is killed.
    for _ in 0..20 {
        for suffix in ["-wal", "-shm"] {
            // They may not exist.
            let _ = std::fs::remove_file(folder.path().join(format!("tidewire.db{suffix}")));
        }
        std::fs::copy(&old, &file).unwrap();
        unfinished += kill_while_it_migrates(folder.path()).await;
        if unfinished > 0 {
            break;
        }
    }
    assert!(unfinished > 0);
    let running = run(folder.path(), &["--public-dialog", "7", "--model", "off"]).await;
    let mut ada = Client::connect(running.address).await;
    ada.hello(&token("ada", json!({})), json!([{"ch": "dialog:7"}])).await;
    let sub = ada.next_of("sub_ok").await;
    assert_eq!((&sub["epoch"], &sub["head"]), (&json!("the-old-epoch"), &json!(1)));
    let database = Connection::open(folder.path().join("tidewire.db")).unwrap();
    let without: i64 = database
        .query_row("SELECT count(*) FROM channels WHERE oldest IS NULL AND head > 0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(without, 0);
}
