//! The bindings, proven by programs in other languages. Ignored by default because they need those
//! languages:
//!
//! ```sh
//! cargo xtask test --only python   # Python 3.9 or newer
//! cargo xtask test --only kotlin   # a JDK and Maven
//! ```
//!
//! Each test builds the library, generates the bindings, starts the server and runs the program,
//! which asks for the server to be stopped and started in the middle, and for a row to be changed.

#![cfg(feature = "ffi")]

mod common;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::build::build;
use common::server::Server;
use tempfile::TempDir;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library with its bindings beside it, in a folder of the language's own.
fn generate(language: &str) -> PathBuf {
    let built = build(&["--lib", "--bin", "uniffi-bindgen"]);
    let folder = built.join("bindings").join(language);
    std::fs::create_dir_all(&folder).expect("a folder");
    let name = format!("{}tidewire{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    // A copy: a later build without the surface would take the library's place.
    let library = folder.join(&name);
    std::fs::copy(built.join(&name), &library).expect("copied");
    let status = Command::new(built.join("uniffi-bindgen"))
        .current_dir(package())
        .arg("generate")
        .arg(&library)
        .args(["--language", language, "--no-format", "--out-dir"])
        .arg(&folder)
        .status()
        .expect("the generator runs");
    assert!(status.success(), "no bindings for {language}");
    folder
}

const SQL: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE rules (id INTEGER PRIMARY KEY, owner TEXT, priority INTEGER);
    INSERT INTO rules VALUES (1, 'Ada', 5), (2, 'Ada', 7), (3, 'Ada', 1), (4, 'Bob', 9)";
const TABLES: &str = r#"
    [tables.watch.rules]
    access = { guest = "owner=eq.Ada" }
    [[channel]]
    name = "guild:{id}"
    read = ["everyone"]
    people = true
    receipts = true
    [channel.kinds]
    "poll.vote" = ["everyone"]
    "notice" = ["operators"]
"#;

/// Runs a program and serves its wishes until it is done.
async fn prove(mut command: Command) {
    let mut server = Server::with_tables(SQL, TABLES, &["--model-pace-ms", "40"]);
    let store = TempDir::new().expect("a folder");
    let mut program = command
        .env("TIDEWIRE_SERVER_URL", server.url())
        .env("TIDEWIRE_STORE", store.path().join("store"))
        .env("TIDEWIRE_TOKEN", server.token("Grace", 3_600).await)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut wishes = program.stdin.take().expect("piped");
    let mut done = false;
    for line in BufReader::new(program.stdout.take().expect("piped")).lines() {
        let line = line.expect("UTF-8");
        // Maven resets the colours that it does not use.
        let line = line.trim_start_matches("\u{1b}[0m");
        println!("{line}");
        match line {
            "NEED stop" => server.kill(),
            "NEED start" => server.restart(),
            "NEED a raised priority" => {
                server.app().execute_batch("UPDATE rules SET priority = 8 WHERE id = 1").expect("written");
            }
            "DONE" => {
                done = true;
                continue;
            }
            _ => continue,
        }
        writeln!(wishes, "done").expect("the program listens");
    }
    let status = program.wait().expect("ended");
    assert!(status.success() && done, "the program ended with {status}");
}

#[tokio::test]
#[ignore = "needs Python"]
async fn python() {
    let bindings = generate("python");
    let mut command = Command::new("python3");
    command.arg(package().join("python/chat_roundtrip.py")).env("PYTHONPATH", bindings);
    prove(command).await;
}

#[tokio::test]
#[ignore = "needs a JDK and Maven"]
async fn kotlin() {
    let bindings = generate("kotlin");
    let property = |name: &str, value: &OsStr| {
        let mut property = std::ffi::OsString::from(format!("-D{name}="));
        property.push(value);
        property
    };
    let mut command = Command::new("mvn");
    command
        .current_dir(package().join("kotlin"))
        .args(["-q", "-B", "-Dstyle.color=never", "compile", "exec:java"])
        .arg(property("bindings", bindings.as_os_str()))
        .arg(property("outputs", bindings.join("classes").as_os_str()))
        .arg(property("jna.library.path", bindings.as_os_str()));
    prove(command).await;
}
