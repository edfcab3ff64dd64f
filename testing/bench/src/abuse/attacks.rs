//! The attacks of one hostile address, each as fast as it can.

use super::seen::{FROM, Seen, end};
use crate::Failure;
use crate::process::dialog;
use crate::tables;
use crate::wire::{Client, connect, id, post, request, token};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Number of sockets that attack at the same time.
const AT_ONCE: usize = 32;
/// Pause before each new socket, because a flood of the network itself is not measured.
const AGAIN: Duration = Duration::from_millis(10);
/// Number of sockets of attacks that send half requests.
const SOCKETS: usize = 1_400;

/// The attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    OpenHttp,
    Upgrades,
    SlowBodies,
    SlowUps,
    Pages,
    Subscriptions,
    UnknownFrames,
    EmptyFragments,
    Renewals,
    GuestsAndDialogs,
    TableScans,
    TableFilters,
    TableRows,
    TableUnindexed,
}

impl Attack {
    pub(crate) const ALL: [Attack; 14] = [
        Attack::OpenHttp,
        Attack::Upgrades,
        Attack::SlowBodies,
        Attack::SlowUps,
        Attack::Pages,
        Attack::Subscriptions,
        Attack::UnknownFrames,
        Attack::EmptyFragments,
        Attack::Renewals,
        Attack::GuestsAndDialogs,
        Attack::TableScans,
        Attack::TableFilters,
        Attack::TableRows,
        Attack::TableUnindexed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Attack::OpenHttp => "pipelined-http-opens",
            Attack::Upgrades => "upgrades-without-end",
            Attack::SlowBodies => "slow-bodies",
            Attack::SlowUps => "slow-ups",
            Attack::Pages => "pages-without-end",
            Attack::Subscriptions => "subscriptions-to-nothing",
            Attack::UnknownFrames => "unknown-frames",
            Attack::EmptyFragments => "empty-fragments",
            Attack::Renewals => "renewals",
            Attack::GuestsAndDialogs => "guests-and-dialogs",
            Attack::TableScans => "table-scans",
            Attack::TableFilters => "table-filters",
            Attack::TableRows => "table-rows",
            Attack::TableUnindexed => "table-unindexed",
        }
    }

    /// Whether the attack is on live tables.
    pub(crate) fn is_about_tables(self) -> bool {
        use Attack::{TableFilters, TableRows, TableScans, TableUnindexed};
        matches!(self, TableScans | TableFilters | TableRows | TableUnindexed)
    }

    pub(crate) fn named(name: &str) -> Option<Attack> {
        Attack::ALL.into_iter().find(|attack| attack.name() == name)
    }
}

/// Prepares an attack: fills a dialog with events for it to read.
pub(crate) async fn prepare(attack: Attack, address: SocketAddr) -> Result<(), Failure> {
    if attack != Attack::Pages {
        return Ok(());
    }
    let mut writer = Client::welcome(address, FROM, "writer", json!([])).await?;
    for _ in 0..30 {
        let op = json!({"t": "op", "id": id(), "ch": format!("dialog:{}", dialog(0)), "kind": "message",
            "body": {"text": "x".repeat(16_000)}});
        writer.send(&op).await?;
        writer.until("ok").await?;
    }
    Ok(())
}

/// Attacks for this long.
pub(crate) async fn run(attack: Attack, address: SocketAddr, time: Duration) -> Result<Seen, Failure> {
    let until = Instant::now() + time;
    let ch = format!("dialog:{}", dialog(0));
    match attack {
        Attack::OpenHttp => pipelined(address, until, request("/v1/http", None, "", "")).await,
        Attack::Upgrades => upgrades(address, until).await,
        Attack::SlowBodies => {
            let body = format!("{}\r\n\r\n{}", head("/v1/guest", 16_384, ""), "x".repeat(16_000));
            half(address, until, body).await
        }
        Attack::SlowUps => {
            let (_, opened) = post(address, FROM, "/v1/http", None, &Value::Null).await?;
            let connection = opened["connection"].as_str().unwrap_or_default().to_owned();
            let more = format!("\r\ntidewire-connection: {connection}\r\ntidewire-seq: 1");
            half(
                address,
                until,
                format!("{}\r\n\r\n{}", head("/v1/http/up", 131_072, &more), "x".repeat(130_000)),
            )
            .await
        }
        Attack::Pages => {
            let next = json!({"t": "next", "ch": ch, "from": 0});
            let subs = json!([{"ch": ch, "tail": 1000}]);
            frames(address, until, subs, move || Message::text(next.to_string())).await
        }
        Attack::Subscriptions => {
            let mut number = 0;
            let sub = move || {
                number += 1;
                let ch = format!("dialog:nowhere-{number}");
                Message::text(json!([{"t": "sub", "ch": ch}, {"t": "unsub", "ch": ch}]).to_string())
            };
            frames(address, until, json!([]), sub).await
        }
        Attack::UnknownFrames => {
            let many = format!("[{}]", vec![r#"{"t":"of.tomorrow"}"#; 3_000].join(","));
            frames(address, until, json!([]), move || Message::text(many.clone())).await
        }
        Attack::EmptyFragments => fragments(address, until).await,
        Attack::Renewals => {
            let (_, guest) = post(address, FROM, "/v1/guest", None, &json!({"nickname": "Eve"})).await?;
            let token = guest["token"].as_str().ok_or("no guest")?;
            pipelined(address, until, request("/v1/guest", Some(token), "", "")).await
        }
        Attack::GuestsAndDialogs => guests(address, until).await,
        Attack::TableScans => tables::scans(address, until).await,
        Attack::TableFilters => tables::filters(address, until).await,
        Attack::TableRows => tables::wide_rows(address, until).await,
        Attack::TableUnindexed => tables::unindexed(address, until).await,
    }
}

fn head(path: &str, length: usize, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}{more}")
}

/// Sends requests without waiting for responses, on many sockets.
async fn pipelined(address: SocketAddr, until: Instant, request: String) -> Result<Seen, Failure> {
    let begun = Instant::now();
    let many = request.repeat(100);
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let many = many.clone();
        tasks.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < until {
                sleep(AGAIN).await;
                let Ok(stream) = connect(address, FROM).await else { continue };
                let (mut reading, mut writing) = stream.into_split();
                let many = many.clone();
                let writer = tokio::spawn(async move {
                    while Instant::now() < until && writing.write_all(many.as_bytes()).await.is_ok() {}
                });
                let (mut answers, mut part) = (Vec::new(), [0; 16 << 10]);
                while let Ok(Ok(count @ 1..)) = timeout(left(until), reading.read(&mut part)).await {
                    answers.extend_from_slice(&part[..count]);
                    let text = String::from_utf8_lossy(&answers);
                    seen.tries += text.matches("HTTP/1.1 ").count() as u64;
                    if let Some(at) = text.find("HTTP/1.1 4").or_else(|| text.find("HTTP/1.1 5")) {
                        end(&mut seen, text.get(at + 9..at + 12).unwrap_or_default(), begun);
                    }
                    answers.clear();
                }
                if Instant::now() < until {
                    end(&mut seen, "reset", begun);
                }
                writer.abort();
            }
            seen
        });
    }
    Ok(first(tasks.join_all().await))
}

/// Opens connections without a `hello`, and keeps each until the server closes it.
async fn upgrades(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        tasks.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < until {
                seen.tries += 1;
                sleep(AGAIN).await;
                let Ok(mut client) = Client::connect(address, FROM).await else { continue };
                while Instant::now() < until {
                    match timeout(left(until), client.next()).await {
                        Ok(Ok(Some(_))) => {}
                        _ => break,
                    }
                }
                if let Some(code) = client.close {
                    end(&mut seen, &code.to_string(), begun);
                }
            }
            seen
        });
    }
    Ok(first(tasks.join_all().await))
}

/// Sends half a request on each of many sockets, and keeps them until the server closes them.
async fn half(address: SocketAddr, until: Instant, text: String) -> Result<Seen, Failure> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..SOCKETS {
        let text = text.clone();
        tasks.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < until {
                seen.tries += 1;
                if let Ok(mut stream) = connect(address, FROM).await
                    && stream.write_all(text.as_bytes()).await.is_ok()
                {
                    let mut answer = Vec::new();
                    if timeout(left(until), stream.read_to_end(&mut answer)).await.is_ok() {
                        let answer = String::from_utf8_lossy(&answer).into_owned();
                        end(&mut seen, answer.get(9..12).unwrap_or("reset"), begun);
                    }
                }
                sleep(AGAIN * 100).await;
            }
            seen
        });
    }
    Ok(first(tasks.join_all().await))
}

/// Sends messages without pause on one connection, and reads everything. Reconnects when the server
/// closes it.
async fn frames(
    address: SocketAddr,
    until: Instant,
    subs: Value,
    mut message: impl FnMut() -> Message,
) -> Result<Seen, Failure> {
    let (begun, mut seen) = (Instant::now(), Seen::default());
    while Instant::now() < until {
        let Ok(client) = Client::welcome(address, FROM, "eve", subs.clone()).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (mut sink, mut stream) = client.socket.split();
        let reader = tokio::spawn(async move {
            let mut close = None;
            while let Some(Ok(message)) = stream.next().await {
                match message {
                    Message::Close(frame) => close = frame.map(|frame| u16::from(frame.code)),
                    Message::Text(text) if close.is_none() && text.contains("rate_limited") => {
                        close = Some(0)
                    }
                    _ => {}
                }
            }
            close
        });
        while Instant::now() < until && !reader.is_finished() {
            seen.tries += 1;
            if sink.send(message()).await.is_err() {
                break;
            }
        }
        drop(sink);
        match timeout(Duration::from_secs(3), reader).await {
            Ok(Ok(Some(0))) => end(&mut seen, "rate_limited", begun),
            Ok(Ok(Some(code))) => end(&mut seen, &code.to_string(), begun),
            _ => end(&mut seen, "reset", begun),
        }
    }
    Ok(seen)
}

/// Sends a message that never ends, in empty fragments.
async fn fragments(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    let (begun, mut seen) = (Instant::now(), Seen { ended: "paced".to_owned(), ..Seen::default() });
    let mut client = Client::welcome(address, FROM, "eve", json!([])).await?;
    // A text frame that is not final, then continuation frames, each masked and empty.
    let stream = client.socket.get_mut();
    stream.write_all(&[0x01, 0x80, 0, 0, 0, 0]).await?;
    let many = [0x00, 0x80, 0, 0, 0, 0].repeat(2_000);
    while Instant::now() < until {
        match timeout(left(until), stream.write_all(&many)).await {
            Ok(Ok(())) => seen.tries += 2_000,
            Ok(Err(_)) => {
                end(&mut seen, "reset", begun);
                break;
            }
            Err(_) => break,
        }
    }
    Ok(seen)
}

/// Creates guests, and dialogs for each of them.
async fn guests(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(async move {
            let mut seen = Seen::default();
            let own = token("eve").unwrap_or_default();
            while Instant::now() < until {
                let guest = post(address, FROM, "/v1/guest", None, &json!({"nickname": "Eve"})).await;
                let guest = guest.unwrap_or_default().1["token"].as_str().map_or(own.clone(), str::to_owned);
                for _ in 0..20 {
                    sleep(AGAIN).await;
                    let made = post(address, FROM, "/v1/dialogs", Some(&guest), &json!({})).await;
                    match made {
                        Ok((201, _)) => seen.tries += 1,
                        Ok((0, _)) | Err(_) => end(&mut seen, "reset", begun),
                        Ok((status, _)) => end(&mut seen, &status.to_string(), begun),
                    }
                }
            }
            seen
        });
    }
    Ok(first(tasks.join_all().await))
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// The first end of them all, with the sum of their tries.
fn first(all: Vec<Seen>) -> Seen {
    let tries = all.iter().map(|seen| seen.tries).sum();
    let first = all.into_iter().min_by_key(|seen| seen.after_ms.unwrap_or(u64::MAX)).unwrap_or_default();
    Seen { tries, ..first }
}
