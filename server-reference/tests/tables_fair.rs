//! One user's requests for live tables delay neither other users nor chat; and everything that live
//! tables have created can be removed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use rusqlite::Connection;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidewire-server");
const CONFIG: &str = "
    [tables]
    source = \"sqlite:app.db\"
    [tables.watch.small]
    access = { user = \"*\" }
    [tables.watch.big]
    access = { user = \"*\" }
";
const TABLES: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
    CREATE TABLE small (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO small VALUES (1, 'one');
    CREATE TABLE big (id INTEGER PRIMARY KEY, note TEXT);";
/// The longest wait of an honest user. It is less than the work of the other users takes.
const SOON: Duration = Duration::from_secs(3);

struct Process {
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

async fn run(folder: tempfile::TempDir) -> Process {
    let mut child = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--config", "server.toml", "--model", "off", "--log", "warn"])
        .args(["--public-dialog", "dialog:room"])
        .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the server ended");
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse().unwrap();
            }
        }
    });
    let address = address.await.unwrap();
    Process { folder, child, address }
}

/// A server beside an application's database with these rows.
async fn start(rows: &str) -> Process {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.toml"), CONFIG).unwrap();
    app(&folder).execute_batch(&format!("{TABLES} {rows}")).unwrap();
    run(folder).await
}

fn app(folder: &tempfile::TempDir) -> Connection {
    let app = Connection::open(folder.path().join("app.db")).unwrap();
    app.busy_timeout(PATIENCE).unwrap();
    app
}

impl Process {
    async fn client(&self, user: &str) -> Client {
        let mut client = Client::connect(self.address).await;
        client.hello(&token(user, json!({})), json!([])).await;
        client
    }

    /// The server's resident memory, in bytes.
    fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    fn most_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    async fn drain(mut self) -> tempfile::TempDir {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = timeout(Duration::from_secs(10), self.child.wait()).await.expect("it drains").unwrap();
        assert!(status.success(), "{status}");
        self.folder
    }
}

fn sub(sid: usize, table: &str, filter: &str) -> Value {
    json!({"t": "tbl.sub", "sid": format!("s{sid}"), "table": table, "filter": filter})
}

/// Subscribes to the small table; returns how long that took.
async fn honest(client: &mut Client, sid: usize) -> Duration {
    let begun = Instant::now();
    client.send(sub(sid, "small", &format!("id=lt.{}", 100 + sid))).await;
    let ok = client.next_of("tbl.ok").await;
    assert_eq!(ok["rows"], json!([["1", "one"]]), "{ok}");
    client.next_of("tbl.live").await;
    begun.elapsed()
}

#[tokio::test]
async fn long_scans_hold_up_only_who_asked_for_them_and_end_when_they_leave() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) \
                INSERT INTO big (note) SELECT hex(zeroblob(1000)) FROM n";
    let process = start(rows).await;
    let mut ada = process.client("ada").await;
    let mut mallory = process.client("mallory").await;
    mallory.send(sub(0, "big", &format!("note=ilike.*{}b*", "0".repeat(4_000)))).await;
    for sid in 1..60 {
        mallory.send(sub(sid, "big", &format!("note=ilike.*x{sid}*"))).await;
    }
    // The pong shows that the server has taken all frames before it.
    mallory.send(json!({"t": "ping", "n": "taken"})).await;
    let mut answered = 0;
    loop {
        let frame = mallory.next().await;
        answered += usize::from(frame["t"] == "tbl.ok");
        if frame["t"] == "pong" {
            break;
        }
    }
    for sid in 0..5 {
        let took = honest(&mut ada, sid).await;
        println!("{took:?}");
        assert!(took < SOON, "{took:?}");
    }
    while let Ok(frame) = timeout(Duration::from_millis(1), mallory.next()).await {
        answered += usize::from(frame["t"] == "tbl.ok");
    }
    assert!(answered < 60, "it was over before others asked");
    drop(mallory);
    // None of the scans delays the drain.
    process.drain().await;
}

#[tokio::test]
async fn filters_that_are_much_work_hold_up_neither_chat_nor_other_tables() {
    let process = start("").await;
    let mut ada = process.client("ada").await;
    let mut chat = Client::connect(process.address).await;
    chat.hello(&token("bob", json!({})), json!([{"ch": "dialog:room"}])).await;
    honest(&mut ada, 0).await;
    let mut mallories = Vec::new();
    for at in 0..3 {
        let mut mallory = process.client(&format!("mallory{at}")).await;
        for sid in 0..30 {
            let terms: Vec<String> =
                (0..15).map(|term| format!("note.ilike.*{}b{at}.{sid}.{term}*", "a_".repeat(100))).collect();
            mallory.send(sub(sid, "big", &format!("or=({})", terms.join(",")))).await;
            mallory.next_of("tbl.live").await;
        }
        mallories.push(mallory);
    }
    let app = app(&process.folder);
    let long = "a".repeat(300_000);
    app.execute("INSERT INTO big (note) VALUES (?1), (?1), (?1)", [&long]).unwrap();
    for round in 0..5 {
        let begun = Instant::now();
        app.execute("INSERT INTO small (id, note) VALUES (?, 'more')", [1_000 + round]).unwrap();
        app.execute("UPDATE small SET note = 'one' WHERE id = 1", []).unwrap();
        ada.next_of("tbl.tx").await;
        chat.say(&format!("round {round}")).await;
        println!("{:?}", begun.elapsed());
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    drop(mallories);
    process.drain().await;
}

#[tokio::test]
async fn rows_that_are_too_much_are_refused_before_they_are_kept() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                INSERT INTO big (note) SELECT hex(zeroblob(25000)) FROM n";
    let process = start(rows).await;
    let mut ada = process.client("ada").await;
    honest(&mut ada, 0).await;
    let idle = process.memory();
    let mut mallory = process.client("mallory").await;
    mallory.send(sub(0, "big", "")).await;
    let err = mallory.next_of("tbl.err").await;
    assert_eq!((&err["code"], &err["retryable"]), (&json!("too_big"), &json!(false)), "{err}");
    let more = process.most_memory().saturating_sub(idle);
    println!("{more} bytes more than idle");
    assert!(more < 8 << 20, "{more} bytes");
    honest(&mut ada, 1).await;
    process.drain().await;
}

#[tokio::test]
async fn a_user_has_a_share_of_the_filters_that_no_index_finds() {
    let process = start("").await;
    let mut mallory = process.client("mallory").await;
    let mut codes = Vec::new();
    for sid in 0..40 {
        mallory.send(sub(sid, "small", &format!("note=neq.{sid}"))).await;
        let frame = loop {
            let frame = mallory.next().await;
            if frame["t"] == "tbl.ok" || frame["t"] == "tbl.err" {
                break frame;
            }
        };
        codes.extend(frame["code"].as_str().map(str::to_owned));
    }
    assert_eq!(codes, ["too_many_subscriptions"; 8]);
    honest(&mut process.client("ada").await, 0).await;
    process.drain().await;
}

fn left(app: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_master WHERE name GLOB '_tidewire_*' ORDER BY name";
    app.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_following_tables_made_goes_with_a_start_without_them_or_a_command() {
    let process = start("").await;
    let folder = process.drain().await;
    let app = app(&folder);
    assert!(left(&app).iter().any(|name| name.ends_with("_big")));
    let less = CONFIG.split("[tables.watch.big]").next().unwrap();
    std::fs::write(folder.path().join("server.toml"), less).unwrap();
    let folder = run(folder).await.drain().await;
    let names = left(&app);
    assert!(!names.is_empty() && names.iter().all(|name| !name.ends_with("_big")), "{names:?}");
    for expected in ["removed _tidewire_change", "nothing was left to remove"] {
        let done = std::process::Command::new(PROGRAM)
            .args(["tables", "unwatch", "--tables-source", "sqlite:app.db"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && said.contains(expected), "{said}");
    }
    assert_eq!(left(&app), Vec::<String>::new());
    assert!(!folder.path().join("app.db-tables").exists());
    app.execute_batch("INSERT INTO small VALUES (7, 'seven'); ALTER TABLE small DROP COLUMN note").unwrap();
}
