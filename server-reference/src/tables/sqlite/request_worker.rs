//! The thread that answers requests of the tables. Each snapshot is read on a thread of its own,
//! scheduled fairly between owners.

use super::connect;
use super::fair_scheduler::FairScheduler;
use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidewire_server_core::tables::{RequestId, SnapshotRequest, SourceError, SourceRequest, Tables};
use tidewire_server_sqlite::tables::{self as sqlite, Described, Log};

/// How often it checks whether a transaction has come, and whether snapshots are still needed.
const AGAIN: Duration = Duration::from_millis(20);
/// How long it looks for a transaction; no client waits longer.
const LOOK_FOR: Duration = Duration::from_secs(15);
/// Most snapshots that are read at a time, in all and for one owner.
const READERS: usize = 16;
const READERS_EACH: usize = 2;
/// SQLite's `cache_size` of each reader; negative values are KiB.
const READER_CACHE: i32 = -512;
/// Most time that one snapshot may take: reading, and in all with waiting.
const MOST_READ: Duration = Duration::from_secs(10);
const MOST_WAITED: Duration = Duration::from_secs(60);

pub(super) struct RequestWorker {
    path: PathBuf,
    described: Arc<Mutex<Vec<Described>>>,
    tables: Arc<Tables>,
    stop: Arc<AtomicBool>,
    /// Transactions that have not come: the request, the position, and until when it looks.
    open: Vec<(RequestId, u64, Instant)>,
    scheduler: Arc<FairScheduler>,
    queue: Vec<SnapshotRequest>,
    readers: Vec<Reader>,
}

/// A snapshot that is being read.
struct Reader {
    id: RequestId,
    owner: Arc<str>,
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
    begun: Instant,
    thread: JoinHandle<()>,
}

impl RequestWorker {
    pub(super) fn new(
        path: PathBuf,
        described: Arc<Mutex<Vec<Described>>>,
        tables: Arc<Tables>,
        stop: Arc<AtomicBool>,
    ) -> RequestWorker {
        let (open, queue, readers) = (Vec::new(), Vec::new(), Vec::new());
        RequestWorker { path, described, tables, stop, open, scheduler: Arc::default(), queue, readers }
    }

    /// Runs until `stop` is set.
    pub(super) fn run(mut self, woken: &Receiver<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            match woken.recv_timeout(AGAIN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // One round handles all requests that woke it.
            while woken.try_recv().is_ok() {}
            for request in self.tables.take_requests() {
                match request {
                    SourceRequest::Snapshot(request) => self.queue.push(request),
                    SourceRequest::Locate { id, tx } => match tx.parse() {
                        Ok(position) => self.open.push((id, position, Instant::now() + LOOK_FOR)),
                        Err(_) => self.tables.finish_locate(id, Err(SourceError::UnknownTx)),
                    },
                    other => tracing::error!("a question that nobody answers: {other:?}"),
                }
            }
            self.end_readers();
            self.begin_readers();
            if !self.open.is_empty() {
                self.look();
            }
        }
        for reader in self.readers {
            reader.interrupt();
            let _ = reader.thread.join();
        }
    }

    /// Forgets finished readers, and interrupts those that are no longer needed or take too long,
    /// even within a statement.
    fn end_readers(&mut self) {
        self.readers.retain(|reader| !reader.thread.is_finished());
        for reader in &self.readers {
            if !self.tables.is_pending(reader.id) || reader.begun.elapsed() > MOST_WAITED {
                reader.interrupt();
            }
        }
    }

    /// Starts readers, first for owners that have read least recently.
    fn begin_readers(&mut self) {
        self.queue.retain(|request| self.tables.is_pending(request.id));
        while self.readers.len() < READERS {
            let of = |owner: &Arc<str>| self.readers.iter().filter(|reader| reader.owner == *owner).count();
            let places = self.queue.iter().enumerate();
            let next = places
                .filter(|(_, request)| of(&request.owner) < READERS_EACH)
                .min_by_key(|(at, request)| (self.scheduler.used(&request.owner), *at))
                .map(|(at, _)| at);
            let Some(next) = next else { return };
            let request = self.queue.remove(next);
            self.begin(request);
        }
    }

    fn begin(&mut self, request: SnapshotRequest) {
        let (id, owner) = (request.id, request.owner.clone());
        let interrupt = Arc::new(Mutex::new(None));
        let reading = Reading {
            path: self.path.clone(),
            described: self.described.lock().clone(),
            tables: self.tables.clone(),
            stop: self.stop.clone(),
            scheduler: self.scheduler.clone(),
            interrupt: interrupt.clone(),
            request,
            begun: Instant::now(),
        };
        match std::thread::Builder::new().name("tables-reader".to_owned()).spawn(move || reading.run()) {
            Ok(thread) => {
                let begun = Instant::now();
                self.readers.push(Reader { id, owner, interrupt, begun, thread });
            }
            Err(error) => {
                tracing::warn!(%error, "can't start a thread for a snapshot");
                self.tables.finish_snapshot(id, Err(SourceError::Unavailable));
            }
        }
    }

    /// Answers requests for the position of transactions that have come.
    fn look(&mut self) {
        // Connects each time, so that it reads the file that the path leads to now.
        let head = connect(&self.path).ok().and_then(|connection| Log::of(&connection).ok());
        let (head, now) = (head.map_or(0, |log| log.head), Instant::now());
        self.open.retain(|(id, position, until)| {
            let there = *position <= head;
            if there {
                self.tables.finish_locate(*id, Ok(*position));
            }
            !there && *until > now
        });
    }
}

impl Reader {
    fn interrupt(&self) {
        if let Some(interrupt) = &*self.interrupt.lock() {
            interrupt.interrupt();
        }
    }
}

/// What a thread needs to read a snapshot.
struct Reading {
    path: PathBuf,
    described: Vec<Described>,
    tables: Arc<Tables>,
    stop: Arc<AtomicBool>,
    scheduler: Arc<FairScheduler>,
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
    request: SnapshotRequest,
    begun: Instant,
}

impl Reading {
    fn run(self) {
        let answer = self.read();
        self.tables.finish_snapshot(self.request.id, answer);
    }

    fn read(&self) -> Result<tidewire_server_core::tables::Snapshot, SourceError> {
        let mut turn = self.scheduler.reader(self.request.owner.clone());
        let go_on = || {
            if self.stop.load(Ordering::Relaxed) || !self.tables.is_pending(self.request.id) {
                return Err(SourceError::Cancelled);
            }
            if self.begun.elapsed() > MOST_WAITED { Err(SourceError::TooSlow) } else { Ok(()) }
        };
        turn.begin(&go_on)?;
        let mut connection = self.connect(&self.path)?;
        *self.interrupt.lock() = Some(connection.get_interrupt_handle());
        sqlite::snapshot(&mut connection, &self.described, &self.request, &mut || {
            if turn.read() > MOST_READ {
                return Err(SourceError::TooSlow);
            }
            turn.pause(&go_on)
        })
    }

    /// Connects each time, so that it reads the file that the path leads to now.
    fn connect(&self, path: &Path) -> Result<Connection, SourceError> {
        let unavailable = |error: super::SourceError| {
            tracing::warn!("{error}");
            SourceError::Unavailable
        };
        let connection = connect(path).map_err(unavailable)?;
        // Each row is read once, so a cache is of little use, and there may be many readers.
        connection
            .pragma_update(None, "cache_size", READER_CACHE)
            .map_err(|error| unavailable(error.into()))?;
        Ok(connection)
    }
}
