//! The memory that hostile peers cost the program.

use crate::support::*;
use crate::{Running, client, run};
use serde_json::{Value, json};

const PEERS: usize = 8;
/// The lowest limit of a connection's queue: a page has to fit.
const QUEUE_BYTES: usize = 512 << 10;
/// Frames are joined to messages of at most this size; the socket holds a second copy of the one
/// that it writes.
const JOINED_BYTES: usize = 128 << 10;
/// For each peer, several times what its queue and the system's buffers hold.
const PUBLISHED_BYTES: usize = 32 << 20;

/// The highest resident memory so far, in bytes (`VmHWM` of `proc_pid_status(5)`).
fn most(running: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

async fn publish(writer: &mut Client, bytes: usize) {
    let text = "x".repeat(16_000);
    for _ in 0..bytes / text.len() / 8 {
        let ops: Vec<Value> = (0..8).map(|_| message(&id(), &text)).collect();
        for op in ops {
            writer.send(op).await;
        }
        for _ in 0..8 {
            writer.next_of("ok").await;
        }
    }
}

#[tokio::test]
async fn peers_that_never_read_cost_what_their_queues_may_hold_and_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "[limits]\nqueue_bytes = {QUEUE_BYTES}\nuser = {{ ops = 100000, per_ms = 1000, burst = 100000 }}\n\
         read_bytes = {{ ops = 1000000000, per_ms = 1000, burst = 1000000000 }}\n"
    );
    std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
    let running = run(folder.path(), &["--model", "off", "--config", "settings.toml"]).await;
    let mut writer = client(running.address, "writer").await;
    // Fills the caches first, which are not part of the cost of peers.
    publish(&mut writer, PUBLISHED_BYTES).await;
    let before = most(&running);
    let mut peers = Vec::new();
    for n in 0..PEERS {
        let mut peer = Client::connect_with(running.address, None, Some(4096)).await;
        let subs = json!([{"ch": "dialog:room", "tail": 0}]);
        peer.say_hello(&token(&format!("peer{n}"), json!({})), subs).await;
        // From here on it reads nothing.
        assert_eq!(peer.next_of("sub_ok").await["more"], false);
        peers.push(peer);
    }
    publish(&mut writer, PUBLISHED_BYTES).await;
    let grown = most(&running) - before;

    let bound = PEERS * (QUEUE_BYTES + 2 * JOINED_BYTES);
    assert!(grown < bound, "{grown} bytes, more than {bound}");
    for mut peer in peers {
        assert_eq!(peer.refusal().await, ("slow_consumer".to_owned(), 4002));
    }
    assert!(writer.is_alive().await);
}
