//! How much memory a native client needs: `tidewire-peer` when it is idle, with a full outbox, and
//! with a long history.

use crate::Failure;
use crate::client::{Client, token};
use crate::figures::ClientMemory;
use crate::process::{Process, Server, dialog};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// One less than fit in the outbox, so that none is refused.
const MESSAGES: u64 = 999;
/// So long that all of them nearly reach the outbox's limit of 5 MiB.
const MESSAGE_BYTES: usize = 4_900;
/// Events of the history, and the length of their texts.
const EVENTS: u64 = 1_000;
const EVENT_BYTES: usize = 1_000;

/// Starts a client for each figure.
pub(crate) async fn memory(peer: &Path, server: &Path, top: &Path) -> Result<ClientMemory, Failure> {
    // No server listens there.
    let nowhere = "http://127.0.0.1:9";
    let stores = tempfile::tempdir_in(top)?;
    let start = |server: &str, name: &str| start(peer, server, &stores.path().join(name));
    let mut idle = start(nowhere, "idle")?;
    idle.line_after(r#"{"p":"status""#).await?;
    let mut waiting = start(nowhere, "waiting")?;
    let mut input = waiting.child.stdin.take().ok_or("no input")?;
    for n in 0..MESSAGES {
        input.write_all(format!("{n:0MESSAGE_BYTES$}\n").as_bytes()).await?;
        waiting.line_after(r#"{"id""#).await?;
    }
    let server =
        Server::start(server, top, 1, "[limits]\nuser = { ops = 100000, per_ms = 1000, burst = 100000 }\n");
    let server = server.await?;
    let writer = Client::connect(server.address, 0, 0, None).await?;
    let (now, ever) = (Instant::now(), Instant::now() + Duration::from_secs(600));
    writer.write(EVENT_BYTES, 32, now, ever, EVENTS).await?;
    let mut reader = start(&format!("http://{}", server.address), "reader")?;
    for _ in 0..EVENTS {
        reader.line_after(r#"{"e":"apply""#).await?;
    }
    Ok(ClientMemory {
        idle: idle.memory()?.most,
        outbox: waiting.memory()?.most,
        history: reader.memory()?.most,
    })
}

fn start(peer: &Path, server: &str, store: &Path) -> Result<Process, Failure> {
    let mut command = Command::new(std::path::absolute(peer)?);
    command.args(["--server", server, "--token", &token(1)?, "--dialog", &dialog(0)]);
    command.args(["--name", "bench", "--observer", "bench"]).arg("--store").arg(store).stdin(Stdio::piped());
    Process::start(&mut command)
}
