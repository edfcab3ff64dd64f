//! What was sent right before the end of a program: a child process of this very test writes and
//! ends, and its store is looked at.

mod common;

use std::path::Path;
use std::process::Command;

use common::{eager, soon};
use tempfile::TempDir;
use tidewire::{Client, ClientEvent, ClientOptions, Storage};

/// How many messages a child sends.
const MESSAGES: usize = 20;

/// Nothing listens here: what is sent waits.
fn options(folder: &Path) -> ClientOptions {
    let options = ClientOptions::guest("http://127.0.0.1:9", "Ada").config(eager());
    options.storage(Storage::Folder(folder.to_owned()))
}

/// Runs the test of this name in a process of its own, with a folder for its store.
fn child(test: &str, folder: &Path) {
    let program = std::env::current_exe().expect("a path");
    let status = Command::new(program)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("TIDEWIRE_FAREWELL", folder)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{test}");
}

fn folder() -> std::path::PathBuf {
    std::env::var_os("TIDEWIRE_FAREWELL").expect("a child of another test").into()
}

/// The texts that a later start finds waiting.
async fn waiting(folder: &Path) -> Vec<String> {
    let client = Client::open(options(folder)).await.expect("opens");
    let dialog = client.dialog("demo").expect("opened");
    assert_eq!(client.status().waiting as usize, dialog.rows().len(), "the first status is no guess");
    let texts = dialog.rows().iter().map(|row| row.text.clone()).collect();
    client.close().await;
    texts
}

fn expected() -> Vec<String> {
    (0..MESSAGES).map(|n| format!("message {n}")).collect()
}

fn send_all(client: &Client) -> Vec<tidewire::Outgoing> {
    expected().iter().map(|text| client.send_text("demo", text).expect("taken")).collect()
}

#[test]
#[ignore = "a child"]
fn child_returns() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = Client::open(options(&folder())).await.expect("opens");
        send_all(&client);
    });
}

#[test]
#[ignore = "a child"]
fn child_waits_and_exits() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::open(options(&folder())).await.expect("opens");
        for sent in send_all(&client) {
            soon("the disk", sent.stored()).await.expect("stored");
        }
        std::process::exit(0);
    });
}

#[tokio::test]
async fn returning_from_main_keeps_what_was_sent() {
    let folder = TempDir::new().expect("a folder");
    child("child_returns", folder.path());
    assert_eq!(waiting(folder.path()).await, expected());
}

#[tokio::test]
async fn what_is_said_to_be_stored_survives_an_exit() {
    let folder = TempDir::new().expect("a folder");
    child("child_waits_and_exits", folder.path());
    assert_eq!(waiting(folder.path()).await, expected());
}

#[tokio::test]
async fn without_a_store_nothing_is_said_to_be_stored_before_the_server_has_it() {
    let client = Client::open(ClientOptions::guest("http://127.0.0.1:9", "Ada").config(eager())).await;
    let client = client.expect("opens");
    let sent = client.send_text("demo", "hello").expect("taken");
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), sent.stored()).await;
    assert!(early.is_err());
    client.close().await;
    assert_eq!(sent.stored().await.expect_err("closed").code(), "closed");
    assert_eq!(sent.acked().await.expect_err("told again").code(), "closed");
}

#[tokio::test]
async fn whoever_asks_for_events_before_connecting_misses_nothing_of_the_start() {
    let folder = TempDir::new().expect("a folder");
    child("child_returns", folder.path());
    let client = Client::open(options(folder.path())).await.expect("opens");
    let dialog = client.dialog("demo").expect("opened");
    let mut events = client.events();
    let (mut waits, mut rows) = (None, 0);
    while waits.is_none() || rows == 0 {
        for event in soon("the start", events.next_batch(64)).await {
            match event {
                ClientEvent::Status(status) => waits = Some(status.waiting as usize),
                ClientEvent::Dialog { .. } => rows = dialog.rows().len(),
                _ => {}
            }
        }
    }
    assert_eq!((waits, rows), (Some(MESSAGES), MESSAGES));
}
