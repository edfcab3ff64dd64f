//! The real program: its output, its signals, and crashes.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod life;
mod memory;
mod migration;

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::time::timeout;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidewire-server");

struct Running {
    child: Child,
    address: std::net::SocketAddr,
    printed: String,
}

async fn run(folder: &Path, args: &[&str]) -> Running {
    let mut child = AsyncCommand::new(PROGRAM)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--database",
            "tidewire.db",
            "--public-dialog",
            "room",
            "--log",
            "warn",
        ])
        .args(args)
        .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("it ended");
        printed.push_str(&line);
        printed.push('\n');
        if let Some(address) = line.strip_prefix("listening on http://") {
            return Running { child, address: address.parse().unwrap(), printed };
        }
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

fn fails(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(PROGRAM).args(args).current_dir(folder.path()).output().unwrap()
}

async fn client(address: std::net::SocketAddr, user: &str) -> Client {
    let mut client = Client::connect(address).await;
    client.hello(&token(user, json!({})), json!([{"ch": "dialog:room", "tail": 1000}])).await;
    client
}

#[tokio::test]
async fn the_start_summary_ends_with_the_address_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[]).await;
    assert!(!running.printed.contains(SECRET));
    assert!(running.printed.contains("HS256") && running.printed.contains("room"), "{}", running.printed);
    assert_eq!(get(running.address, "/healthz").await.0, 200);
}

#[tokio::test]
async fn its_log_holds_no_token_and_no_text_however_much_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let mut child = AsyncCommand::new(PROGRAM)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--database",
            "tidewire.db",
            "--public-dialog",
            "room",
            "--log",
            "trace",
        ])
        .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
        .current_dir(folder.path())
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&path).unwrap();
    let listening = || {
        let said = said();
        said.lines().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
    };
    let address = soon(async || listening()).await;
    let good = token("ada", json!({}));
    let mut client = Client::connect(address).await;
    client.hello(&good, json!([{"ch": "dialog:room"}])).await;
    // The built-in model quotes the message, so its pieces contain the word too.
    assert_eq!(client.say("canarytext").await["t"], "ok");
    assert!(client.event("answer.end").await["body"]["text"].as_str().unwrap().contains("canarytext"));
    let mut refused = Client::connect(address).await;
    refused.say_hello("canary.token.refused", json!([])).await;
    assert_eq!(refused.refusal().await.1, 4501);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{address}/v1/http");
    let opened: Value = http.post(&base).send().await.unwrap().json().await.unwrap();
    let connection = opened["connection"].as_str().unwrap();
    let hello = json!({"t": "hello", "v": 1, "client": id(), "token": good, "subs": []});
    let op = message(&id(), "canarytext");
    for (seq, body) in [("1", hello), ("2", op), ("9", json!({"t": "bye"}))] {
        let up = http.post(format!("{base}/up")).header("tidewire-connection", connection);
        up.header("tidewire-seq", seq).body(body.to_string()).send().await.unwrap();
    }
    for query in ["mode=stream", "mode=poll", "mode=nonsense"] {
        let down = http.get(format!("{base}/down?{query}")).header("tidewire-connection", connection);
        down.send().await.unwrap().bytes().await.unwrap();
    }
    child.kill().await.unwrap();
    let said = said();
    assert!(said.matches(" hello ").count() == 2, "{said}");
    assert!(said.contains("answer started") && said.contains("token refused"), "{said}");
    for secret in [good.as_str(), "canarytext", "canary.token.refused", SECRET, connection] {
        let line = said.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{line:?}");
    }
}

#[tokio::test]
async fn mistakes_end_it_with_one_line_and_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, hint) in [
        (vec!["--listen", taken.as_str()], "port_in_use", "--listen 127.0.0.1:0"),
        (vec!["--config", "nowhere.toml"], "config_unreadable", "nowhere.toml"),
        (vec!["--web-root", "nowhere"], "missing_web_root", "nowhere"),
        (vec!["--listen", "nonsense"], "listen_failed", "nonsense"),
        (vec!["--ping-ms", "soon"], "bad_flag", "--help"),
        (
            vec!["--database", "no/such/folder/x.db", "--listen", "127.0.0.1:0"],
            "database_unavailable",
            "folder",
        ),
        (vec!["--demo", "--listen", "0.0.0.0:0"], "demo_not_local", "127.0.0.1"),
        (vec!["--public-dialog", "a b", "--listen", "127.0.0.1:0"], "bad_value", "a b"),
    ] {
        let output = fails(&args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.starts_with(&format!("error[{code}]: ")) && text.contains(hint), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[tokio::test]
async fn rules_of_channels_are_read_again_when_their_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let put = |rules: &str| std::fs::write(&file, rules).unwrap();
    let news = "[[channel]]\nname = \"news\"\nread = [\"everyone\"]\n";
    put("");
    let running = run(folder.path(), &["--model", "off", "--config", file.to_str().unwrap()]).await;
    let subscribe = async || {
        let mut reader = Client::connect(running.address).await;
        reader.hello(&token("reader", json!({})), json!([{"ch": "news"}])).await;
        let answer = reader.next().await;
        (answer["t"].as_str().unwrap().to_owned(), reader)
    };
    assert_eq!(subscribe().await.0, "sub_err");
    put(news);
    let mut reader = soon(async || Some(subscribe().await).filter(|(t, _)| t == "sub_ok")).await.1;
    // A file that is not valid changes nothing.
    put("[[channel]]\nname = \"news\"\nread = [\"nobody at all\"]\n");
    // The file is looked at each second.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(subscribe().await.0, "sub_ok");
    put("");
    assert_eq!(reader.next_of("sub_err").await["code"], "forbidden");
}

#[tokio::test]
async fn settings_come_from_the_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "issuer = \"from-the-file\"\naudience = \"from-the-file\"").unwrap();
    let mut child = AsyncCommand::new(PROGRAM)
        .args(["--audience", "from-the-flag"])
        .env("TIDEWIRE_LISTEN", "127.0.0.1:0")
        .env("TIDEWIRE_CONFIG", &file)
        .env("TIDEWIRE_DEMO", "1")
        .env("TIDEWIRE_AUDIENCE", "from-the-environment")
        .env("TIDEWIRE_MODEL_URL", "http://127.0.0.1:1/v1")
        .env("TIDEWIRE_MODEL_NAME", "a-model")
        .env("TIDEWIRE_MODEL_KEY", SECRET)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    while !printed.contains("listening on http://127.0.0.1:") {
        printed += &timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("it ended");
        printed.push('\n');
    }
    assert!(printed.contains("from-the-flag") && !printed.contains("from-the-environment"), "{printed}");
    assert!(
        printed.contains("demo") && printed.contains("a-model") && !printed.contains(SECRET),
        "{printed}"
    );
    child.kill().await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("the demo is on"));
}

#[tokio::test]
async fn a_signal_drains_it_with_an_interrupted_answer_and_exit_code_0() {
    for name in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = run(folder.path(), &[]).await;
        let mut ada = client(running.address, "ada").await;
        ada.send(message(&id(), "tell me a long story")).await;
        ada.next_of("piece").await;
        let begun = Instant::now();
        signal(&running.child, name);
        let (mut goaway, mut end) = (Value::Null, Value::Null);
        while let Some(frame) = ada.try_next().await {
            if frame["t"] == "goaway" {
                goaway = frame;
            } else if frame["kind"] == "answer.end" {
                end = frame;
            }
        }
        assert_eq!(goaway["reason"], "restart");
        assert_eq!(end["body"]["status"], "interrupted");
        assert_eq!(ada.close.unwrap().0, 4000);
        let status = timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_crash_in_the_middle_of_an_answer_loses_nothing_that_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = run(folder.path(), &["--model-pace-ms", "10"]).await;
    let mut ada = client(running.address, "ada").await;
    ada.send(message(&id(), "tell me a long story")).await;
    let run_id = ada.event("answer.start").await["body"]["run"].clone();
    let mut shown = String::new();
    for _ in 0..6 {
        let piece = ada.next_of("piece").await;
        assert_eq!(piece["at"], shown.len());
        shown.push_str(piece["text"].as_str().unwrap());
    }
    // This message comes during the answer, so it has no answer yet at the crash.
    let second = message(&id(), "count to 3");
    assert_eq!(ada.op(second.clone()).await["offset"], 3);
    running.child.kill().await.unwrap();
    while let Some(frame) = ada.try_next().await {
        if frame["t"] == "piece" {
            shown.push_str(frame["text"].as_str().unwrap());
        }
    }

    let running = run(folder.path(), &["--model-pace-ms", "0"]).await;
    let mut ada = client(running.address, "ada").await;
    let mut events: Vec<Value> = Vec::new();
    while events.iter().filter(|event| event["kind"] == "answer.end").count() < 2 {
        let frame = ada.next().await;
        match frame["t"].as_str().unwrap() {
            "sub_ok" => events.extend(frame["events"].as_array().unwrap().clone()),
            "event" => events.push(frame),
            _ => {}
        }
    }
    let offsets: Vec<u64> = events.iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=6).collect::<Vec<_>>());
    let ends: Vec<&Value> = events.iter().filter(|event| event["kind"] == "answer.end").collect();
    let interrupted = ends.iter().find(|end| end["body"]["run"] == run_id).unwrap();
    assert_eq!(interrupted["body"]["status"], "interrupted");
    let text = interrupted["body"]["text"].as_str().unwrap();
    assert!(text.starts_with(&shown) && shown.len() > 10, "shown {shown:?}, kept {text:?}");
    let answered = ends.iter().find(|end| end["body"]["run"] != run_id).unwrap();
    assert_eq!(
        (&answered["body"]["status"], &answered["body"]["text"]),
        (&json!("done"), &json!("1, 2, 3."))
    );
    // An op that was acknowledged before the crash is a duplicate after it.
    assert_eq!(ada.op(second).await["dup"], true);
}

#[tokio::test]
async fn acknowledged_messages_survive_kill_9_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = run(folder.path(), &["--model", "off"]).await;
    let mut writers = Vec::new();
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    for n in 0..4 {
        let mut writer = client(running.address, &format!("writer{n}")).await;
        let count = count.clone();
        writers.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let op = id();
                writer.send(message(&op, "x")).await;
                loop {
                    match writer.try_next().await {
                        None => return acknowledged,
                        Some(frame) if frame["t"] == "ok" && frame["id"] == op => {
                            acknowledged.push((op, frame["offset"].as_u64().unwrap()));
                            count.fetch_add(1, Ordering::SeqCst);
                            break;
                        }
                        // The budget is used up; these ops are enough.
                        Some(frame) if frame["t"] == "nack" => return acknowledged,
                        Some(_) => {}
                    }
                }
            }
        }));
    }
    // Killed while all of them write.
    soon(async || (count.load(Ordering::SeqCst) > 100).then_some(())).await;
    running.child.kill().await.unwrap();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let running = run(folder.path(), &["--model", "off"]).await;
    let mut reader = client(running.address, "reader").await;
    let mut events = std::collections::HashMap::new();
    let mut frame = reader.next_of("sub_ok").await;
    loop {
        for event in frame["events"].as_array().unwrap() {
            events.insert(event["offset"].as_u64().unwrap(), event["id"].as_str().unwrap().to_owned());
        }
        if frame["more"] == false {
            break;
        }
        reader.send(json!({"t": "next", "ch": "dialog:room", "from": events.keys().max()})).await;
        frame = reader.next_of("page").await;
    }
    for (op, offset) in acknowledged {
        assert_eq!(events.get(&offset), Some(&op), "offset {offset}");
    }
}

/// A file's mode.
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_reads_the_database_and_the_guests_key_is_not_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[]).await;
    let mut ada = client(running.address, "ada").await;
    assert_eq!(ada.say("a word of ada's").await["t"], "ok");
    let files = [
        "tidewire.db",
        "tidewire.db-wal",
        "tidewire.db-shm",
        "tidewire.db-life",
        "tidewire.db-lock",
        "tidewire.db-key",
    ];
    for file in files {
        assert_eq!(mode(&folder.path().join(file)), 0o600, "{file}");
    }
    let (_, guest) = post(running.address, "/v1/guest", None, &json!({"nickname": "Ada"})).await;
    let key = std::fs::read_to_string(folder.path().join("tidewire.db-key")).unwrap();
    let stop = |running: &Running| signal(&running.child, "-TERM");
    stop(&running);
    let mut running = running;
    timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    let kept: i64 = database
        .query_row("SELECT count(*) FROM meta WHERE key = 'guest_key'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 0);
    // As an earlier server left it: everybody may read the files, and the database contains the
    // key.
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(key.trim()).unwrap();
    database.execute("INSERT INTO meta VALUES ('guest_key', ?)", [&bytes]).unwrap();
    drop(database);
    std::fs::remove_file(folder.path().join("tidewire.db-key")).unwrap();
    for file in ["tidewire.db", "tidewire.db-life"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder.path().join(file), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let running = run(folder.path(), &[]).await;
    let token = guest["token"].as_str();
    let (status, again) = post(running.address, "/v1/guest", token, &json!({})).await;
    assert_eq!((status, &again["user"]["id"]), (200, &guest["user"]["id"]), "the same guest");
    for file in ["tidewire.db", "tidewire.db-life", "tidewire.db-key"] {
        assert_eq!(mode(&folder.path().join(file)), 0o600, "{file}");
    }
    for file in ["tidewire.db", "tidewire.db-wal"] {
        let stored = std::fs::read(folder.path().join(file)).unwrap();
        let found = stored.windows(bytes.len()).any(|window| window == bytes);
        assert!(!found, "{file} still holds the key");
    }
}

#[test]
fn a_secret_among_the_flags_is_refused_without_being_shown() {
    let output = fails(&["--jwt-hs256-secret", "a secret that everybody could see in ps"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.starts_with("error[secret_flag]"), "{said}");
    assert!(said.contains("TIDEWIRE_JWT_HS256_SECRET") && !said.contains("everybody could"), "{said}");
}

#[tokio::test]
async fn a_secret_may_stand_in_a_file_and_open_files_are_raised_to_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    // The usual limit of a shell.
    let program = format!("ulimit -S -n 256; exec {PROGRAM} \"$@\"");
    let mut child = AsyncCommand::new("sh")
        .args(["-c", &program, "sh", "--listen", "127.0.0.1:0", "--database", "tidewire.db", "--log", "warn"])
        .args(["--public-dialog", "room"])
        .env_remove("TIDEWIRE_JWT_HS256_SECRET")
        .env("TIDEWIRE_JWT_HS256_SECRET_FILE", folder.path().join("secret"))
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("it ended");
        if let Some(address) = line.strip_prefix("listening on http://") {
            break address.parse().unwrap();
        }
    };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    let mut ada = client(address, "ada").await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    assert!(ada.is_alive().await);
}

#[tokio::test]
async fn whoever_is_refused_again_and_again_fills_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let mut child = AsyncCommand::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--database", "tidewire.db", "--max-ip-handshakes", "1"])
        .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("it ended");
        if let Some(address) = line.strip_prefix("listening on http://") {
            break address.parse().unwrap();
        }
    };
    // The first connection counts only for the time-out of a hello, 10 s. A round that took about
    // as long proves nothing and is repeated.
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 6, "this machine is too busy");
        let begun = Instant::now();
        let _first = Client::connect(address).await;
        let refused = (0..20).map(|_| {
            tokio::spawn(async move {
                let code = Client::connect(address).await.refusal().await.1;
                (code, post(address, "/v1/http", None, &json!({})).await.0)
            })
        });
        let mut answers = Vec::new();
        for refused in refused.collect::<Vec<_>>() {
            answers.push(refused.await.unwrap());
        }
        if begun.elapsed() < Duration::from_secs(9) {
            assert_eq!(answers, [(4003, 429); 20]);
            break;
        }
    }
    let said = std::fs::read_to_string(&path).unwrap();
    let refusals = said.lines().filter(|line| line.contains("rate_limited")).count();
    assert!((1..=8 * rounds).contains(&refusals), "{refusals} of {}: {said}", 40 * rounds);
}
