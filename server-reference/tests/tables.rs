//! Live tables of a SQLite file that other programs write, on a real server that may be killed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use support::*;
use tidewire_server::tables::{SourceConfig, WatchConfig};
use tidewire_server::{Server, UserKind};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidewire-server");
const CONFIG: &str = "
    [tables]
    source = \"sqlite:app.db\"
    [tables.watch.tasks]
    access = { user = \"owner=eq.{sub}\" }
";
const TASKS: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE tasks (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, title TEXT UNIQUE)";

/// A server's process and the application's database.
struct Life {
    folder: tempfile::TempDir,
    server: Option<Child>,
    address: SocketAddr,
}

impl Life {
    async fn start() -> Life {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.toml"), CONFIG).unwrap();
        let mut life =
            Life { folder, server: None, address: ([127, 0, 0, 1], tidewire_ports::free()).into() };
        life.app().execute_batch(TASKS).unwrap();
        life.run().await;
        life
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    fn app(&self) -> Connection {
        let app = Connection::open(self.path()).unwrap();
        app.busy_timeout(PATIENCE).unwrap();
        app.pragma_update(None, "synchronous", "OFF").unwrap();
        app
    }

    async fn run(&mut self) {
        let listen = self.address.to_string();
        let mut server = Command::new(PROGRAM)
            .args(["--listen", &listen, "--config", "server.toml", "--model", "off", "--log", "warn"])
            .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        self.address = timeout(PATIENCE, async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the server ended");
                if let Some(address) = line.strip_prefix("listening on http://") {
                    break address.parse().unwrap();
                }
            }
        })
        .await
        .unwrap();
        self.server = Some(server);
    }

    /// `kill -9`.
    async fn kill(&mut self) {
        self.server.take().unwrap().kill().await.unwrap();
    }
}

/// A subscription's rows.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<String, Value>,
    cursor: Option<String>,
    transactions: usize,
}

async fn connect(address: SocketAddr, user: &str) -> Client {
    let mut client = Client::connect(address).await;
    client.hello(&token(user, json!({})), json!([])).await;
    client
}

impl Rows {
    async fn subscribe(&mut self, client: &mut Client) -> Value {
        let mut frame = json!({"t": "tbl.sub", "sid": "s", "table": "tasks"});
        if let Some(cursor) = &self.cursor {
            frame["cursor"] = json!(cursor);
        }
        client.send(frame).await;
        let ok = client.next().await;
        assert_eq!(ok["t"], "tbl.ok", "{ok}");
        if ok["mode"] == "snapshot" {
            self.rows.clear();
        }
        for row in ok["rows"].as_array().unwrap() {
            self.rows.insert(json!([row[0]]).to_string(), row.clone());
        }
        ok
    }

    fn take(&mut self, frame: &Value) {
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        let txs: Vec<&Value> = frame["txs"].as_array().into_iter().flatten().collect();
        self.transactions += txs.len();
        for change in txs.iter().flat_map(|tx| tx[2].as_array().unwrap()) {
            let key = match change.get("row") {
                Some(row) => json!([row[0]]).to_string(),
                None => change["key"].to_string(),
            };
            let there = self.rows.remove(&key);
            assert_eq!(there.is_some(), change["op"] != "insert", "{change}");
            if change["op"] != "delete" {
                self.rows.insert(key, change["row"].clone());
            }
        }
    }

    /// Takes frames until the rows are the table's.
    async fn follow(&mut self, client: &mut Client, expected: &BTreeMap<String, Value>) {
        let result = timeout(PATIENCE, async {
            while self.rows != *expected || self.cursor.is_none() {
                let frame = client.next().await;
                assert_ne!(frame["t"], "tbl.reset", "{frame}");
                self.take(&frame);
            }
        });
        assert!(result.await.is_ok(), "{:?} instead of {expected:?}", self.rows);
    }
}

/// The reason of the next `tbl.reset`. Frames already under way come first, such as `tbl.live`.
async fn reason_to_reset(client: &mut Client) -> Value {
    let reset = timeout(PATIENCE, async {
        loop {
            let frame = client.next().await;
            if frame["t"] == "tbl.reset" {
                break frame;
            }
        }
    });
    reset.await.expect("no tbl.reset came")["reason"].clone()
}

fn table(app: &Connection, owner: &str) -> BTreeMap<String, Value> {
    let sql = "SELECT id, owner, title FROM tasks WHERE owner = ?";
    let mut statement = app.prepare(sql).unwrap();
    let rows = statement.query_map([owner], |row| {
        let (id, owner, title): (i64, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((json!([id.to_string()]).to_string(), json!([id.to_string(), owner, title])))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_other_programs_write_is_followed() {
    let life = Life::start().await;
    let app = life.app();
    app.execute_batch("INSERT INTO tasks VALUES (1, 'ada', 'a'), (2, 'bob', 'b')").unwrap();
    let (mut ada, mut rows) = (connect(life.address, "ada").await, Rows::default());
    let ok = rows.subscribe(&mut ada).await;
    assert_eq!(ok["columns"][0], json!({"name": "id", "type": "bigint"}));
    assert_eq!(ok["rows"], json!([["1", "ada", "a"]]));
    assert_eq!(ada.next().await["t"], "tbl.live");
    for statement in [
        "INSERT OR REPLACE INTO tasks VALUES (1, 'ada', 'again')",
        "REPLACE INTO tasks VALUES (3, 'ada', 'again')",
        "UPDATE tasks SET owner = 'bob' WHERE id = 3",
        "UPDATE tasks SET owner = 'ada'",
        "DELETE FROM tasks",
    ] {
        app.execute_batch(statement).unwrap();
        rows.follow(&mut ada, &table(&app, "ada")).await;
    }
    // A writer knows the number of its own transaction.
    app.execute_batch("BEGIN; INSERT INTO tasks VALUES (9, 'ada', 'mine')").unwrap();
    let tx: i64 = app.query_row("SELECT max(seq) FROM _tidewire_change", [], |row| row.get(0)).unwrap();
    app.execute_batch("COMMIT").unwrap();
    ada.send(json!({"t": "tbl.wait", "sid": "s", "tx": tx.to_string()})).await;
    assert_eq!(ada.next().await["txs"][0][2][0]["row"][0], "9");
    assert_eq!(ada.next().await, json!({"t": "tbl.seen", "sid": "s", "tx": tx.to_string()}));
}

#[tokio::test]
async fn a_server_that_is_killed_loses_no_change_and_no_subscription() {
    let mut life = Life::start().await;
    let app = life.app();
    let (mut ada, mut rows) = (connect(life.address, "ada").await, Rows::default());
    rows.subscribe(&mut ada).await;
    let mut resumed = 0;
    for round in 0..6 {
        for id in 0..20 {
            let sql = "REPLACE INTO tasks VALUES (?, ?, ?)";
            let owner = if (id + round) % 3 == 0 { "bob" } else { "ada" };
            app.execute(sql, (id, owner, format!("{round}.{id}"))).unwrap();
        }
        // In every other round the server is killed before the client has all changes.
        if round % 2 == 0 {
            rows.follow(&mut ada, &table(&app, "ada")).await;
        } else {
            let frame = ada.next().await;
            rows.take(&frame);
        }
        life.kill().await;
        app.execute_batch(
            "BEGIN; DELETE FROM tasks WHERE id % 7 = 1; UPDATE tasks SET owner = 'ada' WHERE id = 3; COMMIT",
        )
        .unwrap();
        life.run().await;
        ada = connect(life.address, "ada").await;
        let ok = rows.subscribe(&mut ada).await;
        assert_eq!(ok["mode"], "resumed", "{ok}");
        resumed += 1;
        rows.follow(&mut ada, &table(&app, "ada")).await;
    }
    assert!(resumed == 6 && rows.transactions > 6);
}

#[tokio::test]
async fn a_database_that_was_put_back_is_another_one() {
    let mut life = Life::start().await;
    let app = life.app();
    app.execute_batch("INSERT INTO tasks VALUES (1, 'ada', 'a')").unwrap();
    let (mut ada, mut rows) = (connect(life.address, "ada").await, Rows::default());
    rows.subscribe(&mut ada).await;
    rows.follow(&mut ada, &table(&app, "ada")).await;
    let backup = life.folder.path().join("backup.db");
    app.execute("VACUUM INTO ?", [backup.to_str().unwrap()]).unwrap();
    app.execute_batch("INSERT INTO tasks VALUES (2, 'ada', 'lost'), (3, 'ada', 'lost too')").unwrap();
    rows.follow(&mut ada, &table(&app, "ada")).await;
    life.kill().await;
    drop(app);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", life.path().display()));
    }
    std::fs::copy(&backup, life.path()).unwrap();
    let app = life.app();
    // As many changes as before, and more, so the positions alone don't show the difference.
    app.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO tasks VALUES (7, 'ada', 'x'), (8, 'ada', 'y'), (9, 'ada', 'z')").unwrap();
    life.run().await;
    ada = connect(life.address, "ada").await;
    let ok = rows.subscribe(&mut ada).await;
    assert_eq!((&ok["mode"], &ok["reason"]), (&json!("snapshot"), &json!("epoch")));
    assert_eq!(rows.rows, table(&app, "ada"));
    // The same while the server runs.
    rows.cursor = None;
    rows.follow(&mut ada, &table(&app, "ada")).await;
    drop(app);
    std::fs::rename(&backup, life.path()).unwrap();
    assert_eq!(reason_to_reset(&mut ada).await, "epoch");
}

#[tokio::test]
async fn a_log_that_somebody_emptied_is_noticed_though_its_numbers_are_given_again() {
    let life = Life::start().await;
    let app = life.app();
    let (mut ada, mut rows) = (connect(life.address, "ada").await, Rows::default());
    rows.subscribe(&mut ada).await;
    app.execute_batch("INSERT INTO tasks VALUES (1, 'ada', 'a'), (2, 'ada', 'b')").unwrap();
    rows.follow(&mut ada, &table(&app, "ada")).await;
    app.execute_batch(
        "BEGIN; DELETE FROM _tidewire_change; UPDATE tasks SET title = id; UPDATE tasks SET owner = 'ada'; COMMIT",
    )
    .unwrap();
    assert_eq!(reason_to_reset(&mut ada).await, "epoch");
    rows.cursor = None;
    rows.subscribe(&mut ada).await;
    rows.follow(&mut ada, &table(&app, "ada")).await;
}

#[tokio::test]
async fn a_table_that_changes_is_told_anew() {
    let life = Life::start().await;
    let app = life.app();
    let (mut ada, mut rows) = (connect(life.address, "ada").await, Rows::default());
    rows.subscribe(&mut ada).await;
    assert_eq!(ada.next().await["t"], "tbl.live");
    app.execute_batch("ALTER TABLE tasks ADD COLUMN done BOOLEAN").unwrap();
    assert_eq!(ada.next().await["reason"], "schema");
    app.execute_batch("INSERT INTO tasks VALUES (1, 'ada', 'a', 1)").unwrap();
    let ok = rows.subscribe(&mut ada).await;
    assert_eq!(ok["columns"][3], json!({"name": "done", "type": "boolean"}));
    assert_eq!(ok["rows"], json!([["1", "ada", "a", true]]));
}

fn tasks(access: &str) -> WatchConfig {
    let access = vec![(UserKind::User, access.to_owned())];
    WatchConfig { name: "tasks".to_owned(), table: None, columns: None, filters: Vec::new(), access }
}

#[tokio::test]
async fn permissions_name_claims_of_the_token() {
    let server = start(|config| {
        let app = config.database.with_file_name("app.db");
        Connection::open(&app)
            .unwrap()
            .execute_batch("CREATE TABLE tasks (id INTEGER PRIMARY KEY, org INTEGER); INSERT INTO tasks VALUES (1, 7), (2, 8)")
            .unwrap();
        config.tables.source = Some(SourceConfig::Sqlite(app));
        config.tables.watch = vec![tasks("org=in.({claim:org})")];
    })
    .await;
    for (org, rows) in [
        (json!(8), json!([["2", "8"]])),
        (json!([7, "8"]), json!([["1", "7"], ["2", "8"]])),
        (json!([]), json!([])),
    ] {
        let mut client = Client::connect(server.address).await;
        client.hello(&token("ada", json!({"org": org})), json!([])).await;
        assert_eq!(Rows::default().subscribe(&mut client).await["rows"], rows, "{org}");
    }
    for other in [json!({}), json!({"org": {"id": 8}}), json!({"org": [8, null]}), json!({"org": "eight"})] {
        let mut client = Client::connect(server.address).await;
        client.hello(&token("bob", other.clone()), json!([])).await;
        client.send(json!({"t": "tbl.sub", "sid": "s", "table": "tasks"})).await;
        assert_eq!(client.next().await["code"], "forbidden", "{other}");
    }
    server.server.drain().await;
}

#[tokio::test]
async fn tables_that_cannot_be_served_end_the_start_with_the_reason() {
    for (sql, access, part) in [
        ("", "*", "table `tasks`: is not in the database"),
        ("CREATE TABLE tasks (a)", "*", "table `tasks`: has no PRIMARY KEY"),
        ("CREATE TABLE tasks (id INTEGER PRIMARY KEY)", "owner=eq.{sub}", "no column `owner`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        let app = folder.path().join("app.db");
        Connection::open(&app).unwrap().execute_batch(&format!("PRAGMA user_version = 1; {sql}")).unwrap();
        config.tables.source = Some(SourceConfig::Sqlite(app));
        config.tables.watch = vec![tasks(access)];
        let error = Server::start(config).await.err().unwrap();
        assert!(error.to_string().contains(part), "{error}");
        assert!(["bad_table", "tables_unavailable"].contains(&error.code()), "{}", error.code());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.tables.source = Some(SourceConfig::Sqlite(folder.path().join("missing.db")));
    config.tables.watch = vec![tasks("*")];
    let error = Server::start(config).await.err().unwrap();
    assert!(error.to_string().contains("can't open the tables' database"), "{error}");
}

#[tokio::test]
async fn a_change_is_there_within_milliseconds() {
    let life = Life::start().await;
    let app = life.app();
    let (mut ada, mut rows) = (connect(life.address, "ada").await, Rows::default());
    rows.subscribe(&mut ada).await;
    ada.next().await;
    let mut times = Vec::new();
    for id in 0..100 {
        sleep(Duration::from_millis(3)).await;
        let begun = std::time::Instant::now();
        app.execute("INSERT INTO tasks VALUES (?, 'ada', NULL)", [id]).unwrap();
        assert_eq!(ada.next().await["t"], "tbl.tx");
        times.push(begun.elapsed());
    }
    times.sort();
    println!("median {:?}, 99th percentile {:?}", times[50], times[98]);
    assert!(times[50] < Duration::from_millis(200), "{:?}", times[50]);
}
