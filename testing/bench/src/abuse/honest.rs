//! Honest clients: some write all the time, and others arrive.

use crate::Failure;
use crate::process::dialog;
use crate::tables;
use crate::wire::{self, Client};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Number of clients that write.
const WRITERS: u8 = 4;
/// Interval of each writer's messages.
const PAUSE: Duration = Duration::from_millis(60);
/// Interval at which other clients arrive.
const ARRIVES: Duration = Duration::from_millis(500);

/// The honest clients of a server.
pub(crate) struct Honest {
    address: SocketAddr,
    writers: Vec<Client>,
    arrived: u8,
    /// Whether arriving clients subscribe to a table.
    of_tables: bool,
    /// The database that the application writes long rows to.
    app: Option<PathBuf>,
}

/// What the clients noticed.
#[derive(Default)]
pub(crate) struct Noticed {
    waits: Vec<Duration>,
    /// How many arriving clients the server refused.
    pub(crate) refused: u32,
}

impl Noticed {
    /// The 99th percentile of the time until a message was acknowledged, or a table's subscription
    /// was live, in ms.
    pub(crate) fn p99_ms(&self) -> f64 {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let at = (waits.len() * 99 / 100).min(waits.len().saturating_sub(1));
        waits.get(at).copied().unwrap_or_default().as_secs_f64() * 1_000.0
    }
}

impl Honest {
    /// Connects the writers, each from an address of its own.
    pub(crate) async fn connect(address: SocketAddr, of_tables: bool) -> Result<Honest, Failure> {
        let mut writers = Vec::new();
        for n in 0..WRITERS {
            let subs = json!([{"ch": format!("dialog:{}", dialog(0)), "tail": 0}]);
            writers.push(Client::welcome(address, 2 + n, &format!("honest-{n}"), subs).await?);
        }
        Ok(Honest { address, writers, arrived: 0, of_tables, app: None })
    }

    /// From now on the application writes to this database while the clients write.
    pub(crate) fn application_writes(&mut self, app: PathBuf) {
        self.app = Some(app);
    }

    /// Lets the clients write for this long.
    pub(crate) async fn write(&mut self, time: Duration) -> Result<Noticed, Failure> {
        let until = Instant::now() + time;
        let app = self.app.clone();
        let application = tokio::task::spawn_blocking(move || match app {
            Some(app) => tables::write_long_rows(&app, until),
            None => Ok(()),
        });
        let mut tasks = JoinSet::new();
        let first = tokio::time::Instant::now();
        for (n, writer) in (0..).zip(self.writers.drain(..)) {
            // Writers take turns, so that a slow commit makes only one message slow.
            tasks.spawn(write(writer, first + PAUSE / u32::from(WRITERS) * n, until));
        }
        let mut noticed = Noticed::default();
        while Instant::now() < until {
            tokio::time::sleep(ARRIVES).await;
            let (address, number) = (self.address, self.arrived);
            self.arrived = (self.arrived + 1) % 100;
            let came = Client::welcome(address, 100 + number, &format!("guest-{number}"), json!([])).await;
            let Ok(mut came) = came else {
                noticed.refused += 1;
                continue;
            };
            if self.of_tables {
                let begun = Instant::now();
                came.send(&json!({"t": "tbl.sub", "sid": "s", "table": "small", "filter": "id=eq.1"}))
                    .await?;
                match came.until("tbl.live").await {
                    Ok(_) => noticed.waits.push(begun.elapsed()),
                    Err(_) => noticed.refused += 1,
                }
            }
        }
        while let Some(done) = tasks.join_next().await {
            let (writer, mut waits) = done??;
            self.writers.push(writer);
            noticed.waits.append(&mut waits);
        }
        application.await??;
        Ok(noticed)
    }
}

async fn write(
    mut writer: Client,
    first: tokio::time::Instant,
    until: Instant,
) -> Result<(Client, Vec<Duration>), Failure> {
    let mut waits = Vec::new();
    let mut turns = tokio::time::interval_at(first, PAUSE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while Instant::now() < until {
        turns.tick().await;
        let op = json!({"t": "op", "id": wire::id(), "ch": format!("dialog:{}", dialog(0)), "kind": "message",
            "body": {"text": "an honest word"}});
        let begun = Instant::now();
        writer.send(&op).await?;
        writer.until("ok").await?;
        waits.push(begun.elapsed());
    }
    Ok((writer, waits))
}
