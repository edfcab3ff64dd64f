//! Drives the tables of the server's core with a PostgreSQL database: publishes its commits, and
//! answers the tables' requests.

use super::slot::Primary;
use super::stream::{Event, Released, Stream, StreamError};
use super::{Reader, Settings, Shape};
use crate::clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidewire_server_core::tables::{RequestId, Schema, SnapshotRequest, SourceError, SourceRequest, Tables};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// Connections for snapshots and other requests.
const CONNECTIONS: usize = 4;
/// How many of them one owner may use for snapshots at a time.
const CONNECTIONS_EACH: usize = 2;
/// How long a snapshot may take, with its waiting time, and how often it checks whether it is still
/// needed.
const MOST_WAITED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// Most events that wait for the tables.
const WAITING: usize = 64;
/// Interval of passing the time to the tables.
const TICK: Duration = Duration::from_secs(1);
/// Interval of checking the slot.
const WATCH: Duration = Duration::from_secs(30);
/// Bytes that a slot without a limit may keep before there is a warning.
const UNLIMITED: u64 = 1 << 30;
/// Shortest and longest interval of asking whether a transaction is over.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long it keeps asking. Clients don't wait longer.
const ASK_FOR: Duration = Duration::from_secs(60);

/// A database that is connected and checked.
pub struct Source {
    stream: Stream,
    released: Released,
    reader: Reader,
    shapes: Vec<Shape>,
    epoch: String,
    from: u64,
    unseen: Vec<u64>,
    primary: Primary,
}

impl Source {
    /// Connects. An error in the set-up ends this at once. Other errors are retried until
    /// `patience` is over, because the previous server may still be reading the slot.
    ///
    /// # Errors
    ///
    /// The set-up's errors, or the reason why it could not connect in time.
    pub async fn start(settings: Settings, patience: Duration) -> Result<Source, StreamError> {
        let until = Instant::now() + patience;
        let reader = Reader::new(&settings, CONNECTIONS)?;
        let (mut stream, released) = Stream::new(settings)?;
        loop {
            match stream.next().await {
                Event::Up { epoch, from, unseen, shapes, primary } => {
                    return Ok(Source { stream, released, reader, shapes, epoch, from, unseen, primary });
                }
                Event::Down { error, retry } => {
                    let passes = error.is_retryable() && Instant::now() + retry < until;
                    if !passes {
                        return Err(error);
                    }
                    tracing::info!("PostgreSQL is not connected yet: {error}");
                }
                _ => {}
            }
        }
    }

    /// The schemas of the tables, in the settings' order.
    pub fn schemas(&self) -> Vec<Schema> {
        self.shapes.iter().map(|shape| shape.schema.clone()).collect()
    }

    /// Drives the tables until it is dropped. `woken` is notified when the tables have requests.
    pub async fn run(self, tables: Arc<Tables>, woken: Arc<Notify>) {
        let Source { mut stream, released, reader, shapes, epoch, from, unseen, primary } = self;
        tables.restart(&epoch, from, &unseen);
        let mut state = Followed { reader: reader.of(primary), shapes, epoch };
        // On tasks of their own, so that other events don't restart them. They end with this set.
        let mut tasks = JoinSet::new();
        let (sender, mut events) = mpsc::channel(WAITING);
        tasks.spawn(async move { while sender.send(stream.next().await).await.is_ok() {} });
        let mut shares = Shares::default();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = tokio::time::interval(WATCH);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => state.take(&tables, event),
                    None => return tracing::error!("PostgreSQL is not read any more: restart the server"),
                },
                () = woken.notified() => {
                    for request in tables.take_requests() {
                        match request {
                            SourceRequest::Snapshot(request) => {
                                let shape = state.shapes.get(request.table).cloned();
                                let share = shares.of(&request.owner);
                                tasks.spawn(snapshot(state.reader.clone(), tables.clone(), shape, request, share));
                            }
                            SourceRequest::Locate { id, tx } => {
                                tasks.spawn(locate(state.reader.clone(), tables.clone(), id, tx));
                            }
                            other => tracing::error!("a question that nobody answers: {other:?}"),
                        }
                    }
                }
                _ = tick.tick() => {
                    tables.tick(clock::mono());
                    released.up_to(&state.epoch, tables.oldest());
                    while tasks.try_join_next().is_some() {}
                }
                _ = watch.tick() => {
                    tasks.spawn(watched(state.reader.clone()));
                }
            }
        }
    }
}

/// The database that is followed. Changes together with the tables' epoch.
struct Followed {
    reader: Reader,
    shapes: Vec<Shape>,
    epoch: String,
}

impl Followed {
    fn take(&mut self, tables: &Tables, event: Event) {
        match event {
            Event::Up { epoch, from, unseen, shapes: now, primary } => {
                tracing::info!(epoch, "PostgreSQL is connected");
                tables.restart(&epoch, from, &unseen);
                for (table, (now, before)) in now.iter().zip(self.shapes.iter()).enumerate() {
                    if now.schema != before.schema {
                        tables.reshape(table, now.schema.clone());
                    }
                }
                *self = Followed { reader: self.reader.of(primary), shapes: now, epoch };
            }
            Event::Commit(commit) => tables.publish(commit),
            Event::Idle { position } => tables.advance(position),
            Event::Table { table, shape: Ok(now) } => {
                tables.reshape(table, now.schema.clone());
                if let Some(shape) = self.shapes.get_mut(table) {
                    *shape = now;
                }
            }
            Event::Table { shape: Err(error), .. } => {
                tracing::error!("a table can't be watched any more: {error}")
            }
            Event::Down { error, retry } => {
                tracing::warn!("PostgreSQL is not connected, again in {} ms: {error}", retry.as_millis());
            }
        }
    }
}

async fn snapshot(
    reader: Reader,
    tables: Arc<Tables>,
    shape: Option<Shape>,
    request: SnapshotRequest,
    share: Arc<Semaphore>,
) {
    let read = async {
        let _share = share.acquire().await;
        let Some(shape) = &shape else { return Err(SourceError::Unavailable) };
        let limits = (request.most, request.most_bytes);
        let read = reader.snapshot(shape, request.filters(), limits, |row| request.keeps(row));
        read.await.map_err(|error| {
            tracing::warn!("no snapshot: {error}");
            SourceError::from(&error)
        })
    };
    let gone = async {
        while tables.is_pending(request.id) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(MOST_WAITED, read) => answer.unwrap_or(Err(SourceError::TooSlow)),
        () = gone => Err(SourceError::Cancelled),
    };
    tables.finish_snapshot(request.id, answer);
}

/// The semaphore of each owner that has snapshot requests: it limits how many of them are read at a
/// time.
#[derive(Default)]
struct Shares(BTreeMap<Arc<str>, Arc<Semaphore>>);

impl Shares {
    fn of(&mut self, owner: &Arc<str>) -> Arc<Semaphore> {
        self.0.retain(|_, share| Arc::strong_count(share) > 1);
        self.0.entry(owner.clone()).or_insert_with(|| Arc::new(Semaphore::new(CONNECTIONS_EACH))).clone()
    }
}

async fn locate(reader: Reader, tables: Arc<Tables>, id: RequestId, tx: String) {
    let until = Instant::now() + ASK_FOR;
    let mut again = ASK_AGAIN.0;
    let answer = loop {
        let Ok(number) = tx.parse() else { break Err(SourceError::UnknownTx) };
        match reader.position_of(number).await {
            Ok(Some(position)) => break Ok(position),
            Ok(None) if Instant::now() < until => tokio::time::sleep(again).await,
            Ok(None) => break Err(SourceError::Unavailable),
            Err(error) => break Err(SourceError::from(&error)),
        }
        again = (again * 2).min(ASK_AGAIN.1);
    };
    tables.finish_locate(id, answer);
}

/// Warns of a slot that is about to be lost, or that may fill the disk.
async fn watched(reader: Reader) {
    match reader.health().await {
        Ok(Some(health)) if health.status != "reserved" => tracing::warn!(
            behind = health.behind,
            left = health.left,
            "the replication slot is {}: raise max_slot_wal_keep_size, or the tables' log keeps too much",
            health.status
        ),
        Ok(Some(health)) if health.left.is_none() && health.behind > UNLIMITED => tracing::warn!(
            behind = health.behind,
            "the replication slot keeps much of the log and has no limit: set max_slot_wal_keep_size"
        ),
        Ok(_) => {}
        Err(error) => tracing::debug!("the slot can't be looked at: {error}"),
    }
}
