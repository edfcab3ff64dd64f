//! The real server on a disk that is full or failing: a preloaded library makes its writes and
//! syncs fail while a control file says so.
//!
//! `cargo test -p tidewire-server --test disk -- --nocapture` prints the figures.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use support::*;
use tidewire_history::{Event, History};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidewire-server");
const CONFIG: &str = "[limits]\nuser = { ops = 100000, per_ms = 1000, burst = 100000 }\n";
const ROOM: &str = "dialog:room";
/// The history has one epoch, because a failing disk does not begin another log.
const EPOCH: &str = "only";

/// The path of the preloaded library, which is built unless `TIDEWIRE_IS_BUILT` says that it is.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = PathBuf::from(PROGRAM).parent().unwrap().to_owned();
        let library = folder.join("libtidewire_disk_fault.so");
        if std::env::var_os("TIDEWIRE_IS_BUILT").is_some() {
            return library;
        }
        let mut command = Command::new(env!("CARGO"));
        // The variables that cargo sets for this test would make build scripts run again.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        // With the features of `cargo xtask test`, so that its build is reused.
        command.args(["build", "--quiet", "--workspace", "--features", "tidewire/bindgen", "--lib"]);
        command.arg("--target-dir");
        assert!(command.arg(folder.parent().unwrap()).status().unwrap().success());
        library
    })
}

struct Disk {
    folder: tempfile::TempDir,
    server: Option<Child>,
    address: SocketAddr,
}

impl Disk {
    async fn start() -> Disk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.toml"), CONFIG).unwrap();
        let mut disk =
            Disk { folder, server: None, address: ([127, 0, 0, 1], tidewire_ports::free()).into() };
        disk.restart().await;
        disk
    }

    /// Kills the server with `kill -9` if it runs, and starts it on the same address.
    async fn restart(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await.unwrap();
        }
        let mut server = AsyncCommand::new(PROGRAM)
            .args([
                "--listen",
                &self.address.to_string(),
                "--database",
                "tidewire.db",
                "--config",
                "server.toml",
            ])
            .args(["--public-dialog", "room", "--model", "off", "--log", "off"])
            .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
            .env("LD_PRELOAD", library())
            .env("TIDEWIRE_DISK_FAULT", self.folder.path().join("control"))
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("it ended");
            if let Some(address) = line.strip_prefix("listening on http://") {
                self.address = address.parse().unwrap();
                break;
            }
        }
        self.server = Some(server);
    }

    /// From now on the named calls fail for the database's files, with the named error.
    fn fail(&self, fault: &str) {
        self.control(&format!("{fault} tidewire.db"));
    }

    fn heal(&self) {
        self.control("");
    }

    fn control(&self, text: &str) {
        // Renamed, so that the library never reads a part of it.
        let new = self.folder.path().join("control.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join("control")).unwrap();
    }
}

async fn join(address: SocketAddr, user: &str, subs: Value) -> Client {
    let mut client = Client::connect(address).await;
    client.hello(&token(user, json!({})), subs).await;
    client
}

/// Sends an op until it is acknowledged. Returns its offset, and the codes of the refusals before.
async fn insist(client: &mut Client, op: &Value) -> (u64, Vec<String>) {
    let mut codes = Vec::new();
    loop {
        let answer = client.op(op.clone()).await;
        if answer["t"] == "ok" {
            return (answer["offset"].as_u64().unwrap(), codes);
        }
        assert_eq!(answer["retryable"], true, "{answer}");
        codes.push(answer["code"].as_str().unwrap().to_owned());
        sleep(Duration::from_millis(5)).await;
    }
}

fn sent(client: &str, id: &str) -> Event<'static> {
    Event::Send { client: client.to_owned().into(), ch: ROOM.into(), lane: None, id: id.to_owned().into() }
}

fn acked(client: &str, id: &str, offset: u64) -> Event<'static> {
    Event::Ack { client: client.to_owned().into(), ch: ROOM.into(), id: id.to_owned().into(), offset }
}

fn applied(event: &Value) -> Event<'static> {
    Event::Apply {
        observer: "reader".into(),
        ch: ROOM.into(),
        epoch: EPOCH.into(),
        offset: event["offset"].as_u64().unwrap(),
        id: event["id"].as_str().unwrap().to_owned().into(),
    }
}

/// The whole log of the server at this address.
async fn log(address: SocketAddr) -> Vec<Event<'static>> {
    let mut reader = join(address, "fresh", json!([{"ch": ROOM, "tail": 0}])).await;
    let epoch = reader.next_of("sub_ok").await["epoch"].clone();
    reader.send(json!({"t": "sub", "ch": ROOM, "epoch": epoch, "offset": 0})).await;
    let mut frame = reader.next_of("sub_ok").await;
    assert_eq!(frame["mode"], "resumed");
    let mut log = Vec::new();
    loop {
        for event in frame["events"].as_array().unwrap() {
            let (offset, id) = (event["offset"].as_u64().unwrap(), event["id"].as_str().unwrap().to_owned());
            log.push(Event::Log { ch: ROOM.into(), epoch: EPOCH.into(), offset, id: id.into() });
        }
        if frame["more"] == false {
            return log;
        }
        reader.send(json!({"t": "next", "ch": ROOM, "from": log.len()})).await;
        frame = reader.next_of("page").await;
    }
}

/// While `fault` lasts, ops are refused with `code`. Afterwards each is committed once, in its
/// place, and all of them survive `kill -9`.
async fn refuses_and_recovers(fault: &str, code: &str) {
    let mut disk = Disk::start().await;
    let mut history = History::new();
    let mut reader = join(disk.address, "reader", json!([{"ch": ROOM, "tail": 0}])).await;
    let mut writers = Vec::new();
    for name in ["ada", "bob"] {
        let mut writer = join(disk.address, name, json!([])).await;
        let op = message(&id(), "before");
        let (offset, refusals) = insist(&mut writer, &op).await;
        assert!(refusals.is_empty(), "{refusals:?}");
        history.push(sent(name, op["id"].as_str().unwrap())).unwrap();
        history.push(acked(name, op["id"].as_str().unwrap(), offset)).unwrap();
        writers.push((name, writer));
    }

    disk.fail(fault);
    let mut refused = Vec::new();
    for round in 0..5 {
        for (at, (name, writer)) in writers.iter_mut().enumerate() {
            let op = message(&id(), &format!("in the fault {round}"));
            history.push(sent(name, op["id"].as_str().unwrap())).unwrap();
            let nack = writer.op(op.clone()).await;
            assert_eq!((&nack["t"], &nack["retryable"]), (&json!("nack"), &json!(true)), "{fault}: {nack}");
            assert_eq!(nack["code"], code, "{fault}: {nack}");
            refused.push((at, op));
        }
    }
    assert_eq!(get(disk.address, "/healthz").await.0, 503);
    // Reading still works.
    let mut late = join(disk.address, "late", json!([{"ch": ROOM}])).await;
    assert!(late.next_of("sub_ok").await["head"].as_u64().unwrap() >= 2);

    disk.heal();
    for (at, op) in &refused {
        let (name, writer) = &mut writers[*at];
        let (offset, _) = insist(writer, op).await;
        history.push(acked(name, op["id"].as_str().unwrap(), offset)).unwrap();
    }
    assert_eq!(get(disk.address, "/healthz").await.0, 200);
    for _ in 0..12 {
        history.push(applied(&reader.event("message").await)).unwrap();
    }
    disk.restart().await;
    for event in log(disk.address).await {
        history.push(event).unwrap();
    }
    history.push(Event::CaughtUp { observer: "reader".into(), ch: ROOM.into() }).unwrap();
    let report = history.finish();
    assert!(report.is_clean() && report.unverified == 0, "{fault}: {report}");
    assert_eq!((report.acked, report.logged), (12, 12), "{fault}: each of them once");
}

#[tokio::test]
async fn a_full_disk_refuses_for_now_and_loses_nothing() {
    refuses_and_recovers("write ENOSPC", "storage_full").await;
}

#[tokio::test]
async fn a_disk_that_fails_to_write_refuses_for_now_and_loses_nothing() {
    refuses_and_recovers("write EIO", "store_unavailable").await;
}

#[tokio::test]
async fn a_disk_that_fails_to_sync_acknowledges_nothing_and_loses_nothing() {
    refuses_and_recovers("sync EIO", "store_unavailable").await;
}

#[tokio::test]
async fn a_disk_that_fails_altogether_refuses_for_now_and_loses_nothing() {
    refuses_and_recovers("all EIO", "store_unavailable").await;
}

/// State that the tasks of the random test share.
struct Shared {
    history: Mutex<History>,
    address: Mutex<SocketAddr>,
    over: AtomicBool,
    refused: Mutex<HashMap<String, usize>>,
}

impl Shared {
    fn push(&self, event: Event<'_>) {
        self.history.lock().unwrap().push(event).unwrap();
    }

    /// Connects, however long the server is down.
    async fn join(&self, user: &str, subs: &Value) -> Client {
        loop {
            let address = *self.address.lock().unwrap();
            if let Some(mut client) = Client::try_connect(address).await {
                client.say_hello(&token(user, json!({})), subs.clone()).await;
                if client.try_next().await.is_some_and(|frame| frame["t"] == "welcome") {
                    return client;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn write_on(shared: Arc<Shared>, name: String) {
    let mut client = shared.join(&name, &json!([])).await;
    while !shared.over.load(Ordering::SeqCst) {
        let op = message(&id(), "x");
        let op_id = op["id"].as_str().unwrap().to_owned();
        shared.push(sent(&name, &op_id));
        loop {
            client.send(op.clone()).await;
            let answer = loop {
                match client.try_next().await {
                    Some(frame) if frame["id"] == op["id"] && frame["t"] != "event" => break Some(frame),
                    Some(_) => {}
                    None => break None,
                }
            };
            match answer {
                Some(answer) if answer["t"] == "ok" => {
                    shared.push(acked(&name, &op_id, answer["offset"].as_u64().unwrap()));
                    break;
                }
                Some(answer) => {
                    assert_eq!(answer["retryable"], true, "{answer}");
                    let code = answer["code"].as_str().unwrap().to_owned();
                    *shared.refused.lock().unwrap().entry(code).or_default() += 1;
                    sleep(Duration::from_millis(10)).await;
                }
                None => client = shared.join(&name, &json!([])).await,
            }
        }
    }
}

async fn read_on(shared: Arc<Shared>) {
    let (mut last, mut epoch) = (0, Value::Null);
    loop {
        let subs = match &epoch {
            Value::Null => json!([{"ch": ROOM, "tail": 1000}]),
            epoch => json!([{"ch": ROOM, "epoch": epoch, "offset": last}]),
        };
        let mut client = shared.join("reader", &subs).await;
        while let Some(frame) = client.try_next().await {
            let events = match frame["t"].as_str().unwrap() {
                "sub_ok" => {
                    assert_ne!(frame["mode"], "reset", "{frame}");
                    epoch = frame["epoch"].clone();
                    frame["events"].as_array().unwrap().clone()
                }
                "page" => frame["events"].as_array().unwrap().clone(),
                "event" => vec![frame.clone()],
                // Subscribes again while the disk can't be read.
                "sub_err" => {
                    assert_eq!(frame["retryable"], true, "{frame}");
                    sleep(Duration::from_millis(20)).await;
                    break;
                }
                _ => continue,
            };
            for event in &events {
                shared.push(applied(event));
                last = event["offset"].as_u64().unwrap();
            }
            if frame["more"] == true {
                client.send(json!({"t": "next", "ch": ROOM, "from": last})).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_again_and_again_under_load_and_kills_loses_nothing() {
    const FAULTS: [&str; 6] = ["write ENOSPC", "sync EIO", "write EIO", "all EIO", "sync EIO", "all ENOSPC"];
    let mut disk = Disk::start().await;
    let shared = Arc::new(Shared {
        history: Mutex::new(History::new()),
        address: Mutex::new(disk.address),
        over: AtomicBool::new(false),
        refused: Mutex::default(),
    });
    let writers: Vec<_> =
        (0..4).map(|n| tokio::spawn(write_on(shared.clone(), format!("writer {n}")))).collect();
    let reader = tokio::spawn(read_on(shared.clone()));
    let begun = Instant::now();
    let (mut faults, mut kills) = (0, 0);
    while begun.elapsed() < Duration::from_secs(6) {
        disk.fail(FAULTS[faults % FAULTS.len()]);
        sleep(Duration::from_millis(20 + faults as u64 * 37 % 90)).await;
        faults += 1;
        if faults % 5 == 0 {
            // Killed during the fault, which must end before a start.
            disk.server.take().unwrap().kill().await.unwrap();
            kills += 1;
            disk.heal();
            disk.restart().await;
            *shared.address.lock().unwrap() = disk.address;
        }
        disk.heal();
        sleep(Duration::from_millis(20 + faults as u64 * 53 % 90)).await;
    }
    shared.over.store(true, Ordering::SeqCst);
    for writer in writers {
        timeout(PATIENCE, writer).await.unwrap().unwrap();
    }
    let log = log(disk.address).await;
    let applied = || shared.history.lock().unwrap().finish().applied;
    let waited = Instant::now();
    while applied() < log.len() as u64 && !reader.is_finished() && waited.elapsed() < PATIENCE {
        sleep(Duration::from_millis(10)).await;
    }
    reader.abort();
    log.into_iter().for_each(|event| shared.push(event));
    shared.push(Event::CaughtUp { observer: "reader".into(), ch: ROOM.into() });
    (0..4).for_each(|n| shared.push(Event::Drained { client: format!("writer {n}").into() }));
    let report = shared.history.lock().unwrap().finish();
    let refused = shared.refused.lock().unwrap().clone();
    println!("figures: {faults} faults of the disk, {kills} kills, refused {refused:?}");
    println!("figures: {report}");
    assert!(report.is_clean() && report.unverified == 0, "{report}");
    assert!(report.acked > 200 && refused.len() == 2 && kills > 3, "too few were hit");
}
