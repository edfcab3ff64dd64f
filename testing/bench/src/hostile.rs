//! Hostile peers, and how much of the server's memory they can take at its default limits.
//!
//! Each kind has a server of its own, so that the peak of the memory is due to this kind. The bound
//! is the sum of what the limits let each peer hold, and of the server's own caches ([`CACHES`]).

use crate::client::{Client, Socket};
use crate::figures::Hostile;
use crate::process::{Process, Resident, Server, dialog};
use crate::{Failure, REST};
use futures_util::SinkExt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tidewire_core::wire::PAGE_BYTES;
use tidewire_server_core::ServerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Number of peers of each kind, except of those that send half a request.
const PEERS: u32 = 20;
/// A receive buffer so small that the server has to keep what it can't send.
const SMALL: Option<u32> = Some(4_096);
/// Size of all events for peers that don't read. Without a limit the server would queue all of it.
const OFFERED_BYTES: u64 = 64 << 20;
/// Size of such an event's text, which may have at most 16,384 bytes.
const EVENT_BYTES: usize = 16_000;
/// SQLite's page caches: 2 MiB for each of the server's seven connections to its database.
const CACHES: u64 = 7 * (2 << 20);
/// Size of the messages that frames are joined into. The socket has a second copy of the message
/// that it writes.
const JOINED: u64 = 128 << 10;
/// Largest size of a page: its events, and the rest of the frame. The queue may hold one, and the
/// writer another.
const PAGE: u64 = PAGE_BYTES as u64 + (32 << 10);
/// How many bytes of memory a byte of a message may take: the shortest frame has 9 bytes with its
/// comma, and takes 136.
const DECODED: u64 = 16;
/// Largest size of a request's header and body.
const REQUEST: u64 = (32 << 10) + (16 << 10);
/// Short time-outs, so that a silent peer is soon disconnected: after `ping_ms` and `grace_ms`
/// together. The time-out of a header stays at 5 s.
const SETTINGS: &str = "ping_ms = 3000\ngrace_ms = 3000\n";
/// Time after which all peers must be disconnected: the longest time-out is the 10 s of a write.
const CUT: Duration = Duration::from_secs(13);

/// Runs all kinds of peers. `each` is what an idle connection costs in bytes, `sockets` is how many
/// send half a request, and `noise` is how long garbage is sent.
pub(crate) async fn all(
    program: &Path,
    top: &Path,
    each: u64,
    sockets: u32,
    noise: Duration,
) -> Result<Vec<Hostile>, Failure> {
    let (silent, greedy, noisy, half) = tokio::join!(
        silent(program, top, each),
        greedy(program, top, each),
        noisy(program, top, each, noise),
        half(program, top, each, sockets),
    );
    Ok(vec![silent?, greedy?, noisy?, half?])
}

/// Subscribers that never read, while others write.
async fn silent(program: &Path, top: &Path, each: u64) -> Result<Hostile, Failure> {
    let (server, idle) = start(program, top).await?;
    let mut peers = Vec::new();
    for user in 1..=PEERS {
        peers.push(Client::connect(server.address, user, 0, SMALL).await?);
    }
    fill(&server, OFFERED_BYTES).await?;
    let limits = ServerLimits::default();
    let bound = u64::from(PEERS) * (limits.queue_bytes as u64 + 2 * JOINED + each) + CACHES;
    let rss = grown(&server.process, &idle)?;
    let mut cut = 0;
    for peer in peers {
        // A peer that is disconnected in the middle of a message gets no close frame.
        cut += u32::from(matches!(peer.end().await?, None | Some(4002)));
    }
    Ok(Hostile { kind: "silent", peers: PEERS, rss, bound, cut })
}

/// Subscribers that request page after page and never read one.
async fn greedy(program: &Path, top: &Path, each: u64) -> Result<Hostile, Failure> {
    let (server, _) = start(program, top).await?;
    fill(&server, 4 << 20).await?;
    let idle = server.process.memory()?;
    let limits = ServerLimits::default();
    // More pages than fit in the system's buffers, and frames that take as much memory as possible
    // for their bytes while they wait.
    let next = format!(r#"{{"t":"next","ch":"dialog:{}","from":0}},"#, dialog(0)).repeat(60);
    let frames = vec![r#"{"t":""}"#; (limits.message_bytes - next.len() - 2) / 9].join(",");
    let mut peers = Vec::new();
    for user in 1..=PEERS {
        let mut peer = Client::connect(server.address, user, 0, SMALL).await?;
        peer.socket.send(Message::text(format!("[{next}{frames}]"))).await?;
        peers.push(peer);
    }
    tokio::time::sleep(CUT).await;
    let message = limits.message_bytes as u64;
    let bound =
        u64::from(PEERS) * (limits.queue_bytes as u64 + 2 * PAGE + (DECODED + 4) * message + each) + CACHES;
    let rss = grown(&server.process, &idle)?;
    let mut cut = 0;
    for peer in peers {
        cut += u32::from(matches!(peer.end().await?, None | Some(4002)));
    }
    Ok(Hostile { kind: "greedy", peers: PEERS, rss, bound, cut })
}

/// Peers that send the longest messages, half messages, arrays of the shortest frames, floods of
/// pings and garbage as fast as they can, read nothing, and reconnect when they are disconnected.
async fn noisy(program: &Path, top: &Path, each: u64, time: Duration) -> Result<Hostile, Failure> {
    let (server, idle) = start(program, top).await?;
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for user in 1..=PEERS {
        let address = server.address;
        tasks.spawn(async move {
            let mut rounds = 0;
            while Instant::now() < until {
                // Fails when the server disconnects it, which is expected.
                let _ = timeout(REST, noise(address, user, rounds)).await;
                rounds += 1;
            }
            rounds
        });
    }
    let mut rounds = 0;
    while let Some(done) = tasks.join_next().await {
        rounds += done?;
    }
    let limits = ServerLimits::default();
    let message = limits.message_bytes as u64;
    let bound =
        u64::from(PEERS) * (limits.queue_bytes as u64 + 2 * JOINED + (DECODED + 4) * message + each) + CACHES;
    let rss = grown(&server.process, &idle)?;
    tokio::time::sleep(REST).await;
    let left = connections(&server).await?;
    Ok(Hostile { kind: "noisy", peers: rounds, rss, bound, cut: rounds.saturating_sub(left) })
}

/// Sends one kind of garbage, which `user` and `round` choose.
async fn noise(address: SocketAddr, user: u32, round: u32) -> Result<(), Failure> {
    let limit = ServerLimits::default().message_bytes;
    let mut peer = Client::connect(address, user, 0, SMALL).await?.socket;
    match (user + round) % 5 {
        0 => flood(&mut peer, &Message::text("x".repeat(limit * 2 - 1))).await,
        1 => {
            let frames = vec![r#"{"t":""}"#; limit / 9 - 1].join(",");
            flood(&mut peer, &Message::text(format!("[{frames}]"))).await
        }
        2 => flood(&mut peer, &Message::Ping(vec![0; 125].into())).await,
        3 => {
            // A text frame that is not final, and of which the last byte is missing.
            let mut half = vec![0x01, 0xff];
            half.extend((limit as u64 * 2).to_be_bytes());
            half.resize(half.len() + 3 + limit * 2, 0);
            peer.get_mut().write_all(&half).await?;
            tokio::time::sleep(REST).await;
            Ok(())
        }
        _ => {
            let garbage: Vec<u8> = (0..256).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
            loop {
                peer.get_mut().write_all(&garbage).await?;
            }
        }
    }
}

async fn flood(peer: &mut Socket, message: &Message) -> Result<(), Failure> {
    loop {
        peer.send(message.clone()).await?;
    }
}

/// Sockets that send nothing, half a header, or half a body, and wait.
async fn half(program: &Path, top: &Path, each: u64, sockets: u32) -> Result<Hostile, Failure> {
    let (server, idle) = start(program, top).await?;
    let header = format!("GET / HTTP/1.1\r\nhost: bench\r\nx-long: {}", "x".repeat(24_000));
    let body = format!(
        "POST /v1/guest HTTP/1.1\r\nhost: bench\r\ncontent-length: 16384\r\n\r\n{}",
        "x".repeat(16_000)
    );
    let mut peers = Vec::new();
    for number in 0..sockets {
        let mut stream = TcpStream::connect(server.address).await?;
        match number % 3 {
            0 => {}
            1 => stream.write_all(header.as_bytes()).await?,
            _ => stream.write_all(body.as_bytes()).await?,
        }
        peers.push(stream);
    }
    tokio::time::sleep(CUT).await;
    let mut ends = JoinSet::new();
    for mut stream in peers {
        ends.spawn(async move { timeout(REST, stream.read_to_end(&mut Vec::new())).await.is_ok() });
    }
    let cut = ends.join_all().await.into_iter().map(u32::from).sum();
    let bound = u64::from(sockets) * (REQUEST + each) + CACHES;
    Ok(Hostile { kind: "half", peers: sockets, rss: grown(&server.process, &idle)?, bound, cut })
}

async fn start(program: &Path, top: &Path) -> Result<(Server, Resident), Failure> {
    // With the default budgets of ops and of bytes it would take half a minute to fill a queue.
    let budgets = "[limits]\nuser = { ops = 1000000, per_ms = 1000, burst = 1000000 }\n\
        read_bytes = { ops = 1000000000, per_ms = 1000, burst = 1000000000 }\n";
    let server = Server::start(program, top, 1, &format!("{SETTINGS}{budgets}")).await?;
    tokio::time::sleep(REST).await;
    let idle = server.process.memory()?;
    Ok((server, idle))
}

/// Writes this many bytes into the dialog.
async fn fill(server: &Server, bytes: u64) -> Result<(), Failure> {
    let writer = Client::connect(server.address, 0, 0, None).await?;
    let (now, ever) = (Instant::now(), Instant::now() + Duration::from_secs(3_600));
    writer.write(EVENT_BYTES, 8, now, ever, bytes / EVENT_BYTES as u64).await.map(drop)
}

/// How far the peak is above what the process used when it was idle, in bytes.
fn grown(process: &Process, idle: &Resident) -> Result<u64, Failure> {
    Ok(process.memory()?.most.saturating_sub(idle.now))
}

/// The number of connections, as the server reports it.
async fn connections(server: &Server) -> Result<u32, Failure> {
    let mut stream = TcpStream::connect(server.address).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no health")?;
    let health: serde_json::Value = serde_json::from_str(body)?;
    Ok(u32::try_from(health["connections"].as_u64().ok_or("no count")?)?)
}
