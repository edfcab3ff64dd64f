//! A restored backup is another log; a crash is not.

use crate::support::*;
use crate::{Running, client, run, signal};
use serde_json::{Value, json};
use std::path::Path;
use tokio::time::timeout;

const OFF: &[&str] = &["--model", "off"];

async fn stop(mut running: Running) {
    signal(&running.child, "-TERM");
    timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap();
}

/// The log's epoch and head.
async fn log(running: &Running) -> (Value, u64) {
    let mut reader = client(running.address, "reader").await;
    let sub = reader.next_of("sub_ok").await;
    (sub["epoch"].clone(), sub["head"].as_u64().unwrap())
}

async fn write(running: &Running, events: usize) {
    let mut writer = client(running.address, "writer").await;
    for _ in 0..events {
        assert_eq!(writer.say("x").await["t"], "ok");
    }
}

/// The response to a client that had seen all of the first log.
async fn resume(running: &Running, (epoch, head): &(Value, u64)) -> Value {
    let mut reader = Client::connect(running.address).await;
    let subs = json!([{"ch": "dialog:room", "epoch": epoch, "offset": head, "tail": 10}]);
    reader.hello(&token("reader", json!({})), subs).await;
    reader.next_of("sub_ok").await
}

/// Copies the database without the file beside it.
fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(to.join(format!("tidewire.db{end}")));
    }
    std::fs::copy(from.join("tidewire.db"), to.join("tidewire.db")).unwrap();
}

fn expect_another_log(reset: &Value) {
    assert_eq!((&reset["mode"], &reset["reason"]), (&json!("reset"), &json!("epoch")), "{reset}");
}

#[tokio::test]
async fn a_backup_of_an_earlier_start_is_another_log() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = run(folder.path(), OFF).await;
    write(&running, 3).await;
    stop(running).await;
    copy(folder.path(), backup.path());
    let running = run(folder.path(), OFF).await;
    write(&running, 3).await;
    let seen = log(&running).await;
    assert_eq!(seen.1, 6);
    stop(running).await;
    copy(backup.path(), folder.path());
    let running = run(folder.path(), OFF).await;
    // Past the client's position: its offset exists, but in another log.
    write(&running, 5).await;
    let reset = resume(&running, &seen).await;
    expect_another_log(&reset);
    assert_eq!(reset["head"], 8);
    let now = log(&running).await;
    stop(running).await;
    assert_eq!(log(&run(folder.path(), OFF).await).await, now, "and from there on it is one log");
}

#[tokio::test]
async fn a_backup_made_while_it_ran_is_another_log_too() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut running = run(folder.path(), OFF).await;
    write(&running, 3).await;
    rusqlite::Connection::open(folder.path().join("tidewire.db"))
        .unwrap()
        .execute("VACUUM INTO ?", [backup.path().join("tidewire.db").to_str().unwrap()])
        .unwrap();
    // A single commit makes the difference.
    write(&running, 1).await;
    let seen = log(&running).await;
    running.child.kill().await.unwrap();
    copy(backup.path(), folder.path());
    let running = run(folder.path(), OFF).await;
    write(&running, 2).await;
    expect_another_log(&resume(&running, &seen).await);
}

#[tokio::test]
async fn twenty_crashes_leave_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = None;
    for round in 0..20 {
        let mut running = run(folder.path(), OFF).await;
        let (epoch, _) = log(&running).await;
        assert_eq!(*first.get_or_insert(epoch.clone()), epoch, "round {round}");
        let mut writer = client(running.address, "writer").await;
        for _ in 0..3 {
            // The kill cuts the last ones off.
            writer.send(json!([message(&id(), "x"), message(&id(), "y"), message(&id(), "z")])).await;
        }
        writer.next_of("ok").await;
        running.child.kill().await.unwrap();
    }
    let running = run(folder.path(), OFF).await;
    let (epoch, head) = log(&running).await;
    assert!(first == Some(epoch) && head >= 20);
}

#[tokio::test]
async fn starts_that_are_killed_leave_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), OFF).await;
    write(&running, 1).await;
    let seen = log(&running).await;
    stop(running).await;
    for ms in 0..20 {
        let mut child = std::process::Command::new(crate::PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--database", "tidewire.db", "--log", "error"])
            .current_dir(folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(log(&run(folder.path(), OFF).await).await, seen);
}

#[tokio::test]
async fn a_file_that_lost_its_last_writes_is_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let life = folder.path().join("tidewire.db-life");
    let mut running = run(folder.path(), OFF).await;
    let before = std::fs::read(&life).unwrap();
    write(&running, 5).await;
    assert_ne!(std::fs::read(&life).unwrap(), before);
    let seen = log(&running).await;
    running.child.kill().await.unwrap();
    // As after a power loss: the database was synced, the file beside it was not.
    std::fs::write(&life, before).unwrap();
    let running = run(folder.path(), OFF).await;
    assert_eq!(log(&running).await, seen);
    assert_eq!(resume(&running, &seen).await["mode"], "resumed");
}

#[tokio::test]
async fn a_database_that_moves_with_its_file_is_the_same_log_and_without_it_another() {
    let (folder, moved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = run(folder.path(), OFF).await;
    write(&running, 2).await;
    let seen = log(&running).await;
    stop(running).await;
    for name in ["tidewire.db", "tidewire.db-life"] {
        std::fs::rename(folder.path().join(name), moved.path().join(name)).unwrap();
    }
    let running = run(moved.path(), OFF).await;
    assert_eq!(log(&running).await, seen);
    stop(running).await;
    std::fs::remove_file(moved.path().join("tidewire.db-life")).unwrap();
    expect_another_log(&resume(&run(moved.path(), OFF).await, &seen).await);
}
