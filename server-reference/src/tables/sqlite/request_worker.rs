//! The thread that answers what the tables want. Snapshots are read on threads of their own, in
//! turns.

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

/// How often it is looked whether a transaction has come, and whether snapshots are still wanted.
const AGAIN: Duration = Duration::from_millis(20);
/// How long it is looked for; no client waits longer.
const LOOK_FOR: Duration = Duration::from_secs(15);
/// How many snapshots are read at a time, each in its turn, and how many of one owner.
const READERS: usize = 16;
const READERS_EACH: usize = 2;
/// What each keeps of the file, in KiB as SQLite has it.
const READER_CACHE: i32 = -512;
/// How long one may take while others may read too, and by the clock.
const MOST_READ: Duration = Duration::from_secs(10);
const MOST_WAITED: Duration = Duration::from_secs(60);

pub(super) struct RequestWorker {
    path: PathBuf,
    described: Arc<Mutex<Vec<Described>>>,
    tables: Arc<Tables>,
    stop: Arc<AtomicBool>,
    /// Transactions that have not come: the question, the position, and until when it is looked
    /// for.
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

    /// Runs until it is told to stop.
    pub(super) fn run(mut self, woken: &Receiver<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            match woken.recv_timeout(AGAIN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // One look is enough for all that woke it.
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

    /// Forgets those that are done, and ends those that need not go on, also in the midst of a
    /// statement.
    fn end_readers(&mut self) {
        self.readers.retain(|reader| !reader.thread.is_finished());
        for reader in &self.readers {
            if !self.tables.is_pending(reader.id) || reader.begun.elapsed() > MOST_WAITED {
                reader.interrupt();
            }
        }
    }

    /// Begins to read for those who have read least of late.
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

    /// RequestWorker for the transactions that have come.
    fn look(&mut self) {
        // Each time anew, so that it is the file that the path names now.
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

    /// Each time anew, so that it is the file that the path names now.
    fn connect(&self, path: &Path) -> Result<Connection, SourceError> {
        let unavailable = |error: super::SourceError| {
            tracing::warn!("{error}");
            SourceError::Unavailable
        };
        let connection = connect(path).map_err(unavailable)?;
        // Rows are read once, and there may be many readers.
        connection
            .pragma_update(None, "cache_size", READER_CACHE)
            .map_err(|error| unavailable(error.into()))?;
        Ok(connection)
    }
}
