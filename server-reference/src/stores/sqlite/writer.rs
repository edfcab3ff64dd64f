//! The thread that writes, and the thread that publishes the outcomes.

use super::checkpoint::Checkpointer;
use super::error::OpenError;
use super::flush::Flush;
use super::in_doubt::{self, Faults};
use super::incarnation::Incarnation;
use super::metrics::StoreMetrics;
use super::read::Readers;
use super::schema::Identity;
use super::{schema, transaction};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidewire_core::wire::{ChannelName, Epoch};
use tidewire_server_core::store::{Done, Got, Outcome, Read, Store, StoreError, Write};
use tidewire_server_sqlite::log;

/// Most writes in one transaction.
const BATCH: usize = 1024;
/// Most queued writes. A server that falls so far behind its disk refuses more of them.
const QUEUE: usize = 20_000;

/// How often it tries to reopen a database with a commit in doubt.
const REOPEN: Duration = Duration::from_millis(100);

/// Called with the name of each channel whose last commit was in doubt, once the database can be
/// read again. It runs on the publishing thread, in the order of the commits.
type OnDoubt = Box<dyn Fn(&str) + Send + Sync>;

struct Job {
    write: Write,
    done: Done,
}

/// Messages from the writer to the publisher.
enum News {
    /// The outcomes of a batch.
    Results(Vec<(Done, Result<Outcome, StoreError>)>),
    /// Names of channels that were in doubt.
    Doubts(BTreeSet<ChannelName>),
}

/// The log on disk. Its threads end after it is dropped.
pub(crate) struct Sqlite {
    jobs: Mutex<Option<Sender<Job>>>,
    waiting: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    checkpointer: Checkpointer,
    readers: Readers,
    identity: Identity,
    on_doubt: Arc<OnceLock<OnDoubt>>,
    faults: Arc<Faults>,
    metrics: Arc<StoreMetrics>,
    /// The lock against other servers.
    exclusive: Mutex<Option<Connection>>,
}

impl Sqlite {
    /// Opens the database and starts the threads. `key_file` has the key for guests' tokens, if it
    /// is not beside the database.
    pub(crate) fn open(path: &Path, key_file: Option<&Path>, flush: Flush) -> Result<Sqlite, OpenError> {
        let exclusive = schema::lock_out_others(path)?;
        let (connection, identity, incarnation) = schema::open_or_create(path, key_file)?;
        let (jobs, inbox) = channel();
        let (results, outbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let failing = Arc::new(AtomicBool::new(false));
        let (on_doubt, faults) = (Arc::<OnceLock<OnDoubt>>::default(), Arc::<Faults>::default());
        let metrics = Arc::<StoreMetrics>::default();
        let checkpointer = Checkpointer::start(path.to_owned(), failing.clone());
        let writer = Writer {
            path: path.to_owned(),
            incarnation,
            connection: Some(connection),
            file: file_of(path),
            in_doubt: false,
            doubtful: BTreeSet::new(),
            faults: faults.clone(),
            failing: failing.clone(),
            waiting: waiting.clone(),
            checkpoint: checkpointer.waker(),
            metrics: metrics.clone(),
            flush,
            last: None,
        };
        let threads = vec![
            spawn("writer", move || writer.run(&inbox, &results))?,
            spawn("publisher", {
                let on_doubt = on_doubt.clone();
                move || publish(&outbox, &on_doubt)
            })?,
        ];
        Ok(Sqlite {
            jobs: Mutex::new(Some(jobs)),
            waiting,
            failing,
            threads: Mutex::new(threads),
            checkpointer,
            readers: Readers::new(path.to_owned()),
            identity,
            on_doubt,
            faults,
            metrics,
            exclusive: Mutex::new(Some(exclusive)),
        })
    }

    /// The epoch of the log.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::from(self.identity.epoch.as_str())
    }

    /// The key that signs guests' tokens.
    pub(crate) fn guest_key(&self) -> &[u8] {
        &self.identity.guest_key
    }

    /// Whether the last write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// What the writer has counted.
    pub(crate) fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// How many writes wait, with those that are being committed.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Sets the callback for channels whose last commit was in doubt. Only the first call has an
    /// effect.
    pub(crate) fn on_doubt(&self, call: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.on_doubt.set(Box::new(call));
    }

    /// Lets one more commit report an error.
    pub(crate) fn fail_commit(&self, reaches_disk: bool) {
        self.faults.add(reaches_disk);
    }

    /// Queues a write. `done` is called once, after the commit, on one thread, in the order of the
    /// commits.
    fn hand_in(&self, write: Write, done: Done) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.refused.count();
            return done(Err(StoreError::Unavailable));
        }
        let jobs = self.jobs.lock();
        let job = Job { write, done };
        let refused = match jobs.as_ref() {
            Some(sender) => sender.send(job).err().map(|error| error.0),
            None => Some(job),
        };
        drop(jobs);
        if let Some(job) = refused {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            (job.done)(Err(StoreError::Unavailable));
        }
    }

    /// Commits queued writes, moves the log into the database file and ends the threads. Blocks.
    pub(crate) fn close(&self) {
        self.jobs.lock().take();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A thread that panicked has logged it already.
            let _ = thread.join();
        }
        // The last connection to close merges the log into the file, so it must not be read-only.
        self.readers.close();
        self.checkpointer.close();
        self.exclusive.lock().take();
    }
}

impl Store for Sqlite {
    fn write(&self, write: Write, done: Done) {
        self.hand_in(write, done);
    }

    fn read(&self, read: Read, got: Got) {
        self.readers.read(read, got);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(format!("tidewire-{name}"))
        .spawn(run)
        .map_err(|_| rusqlite::Error::InvalidQuery.into())
}

fn publish(outbox: &Receiver<News>, on_doubt: &OnceLock<OnDoubt>) {
    while let Ok(news) = outbox.recv() {
        match news {
            News::Results(results) => {
                for (done, result) in results {
                    guarded(|| done(result));
                }
            }
            News::Doubts(doubts) => {
                if let Some(call) = on_doubt.get() {
                    doubts.iter().for_each(|name| guarded(|| call(name)));
                }
            }
        }
    }
}

/// A panic in one callback must not end the publishing of commits.
fn guarded(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("publishing a commit failed");
    }
}

/// Device and inode, which tell one file from another at the same path.
fn file_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

struct Writer {
    path: PathBuf,
    incarnation: Incarnation,
    connection: Option<Connection>,
    /// The file that the connection has open.
    file: Option<(u64, u64)>,
    /// Whether a commit reported an error since the database was opened.
    in_doubt: bool,
    /// The channels of such commits.
    doubtful: BTreeSet<ChannelName>,
    faults: Arc<Faults>,
    failing: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    checkpoint: std::thread::Thread,
    metrics: Arc<StoreMetrics>,
    flush: Flush,
    /// When the last commit began.
    last: Option<Instant>,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Job>, news: &Sender<News>) {
        loop {
            let first = if !self.in_doubt {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(REOPEN)
            };
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    self.clear_doubts(news);
                    continue;
                }
            };
            let batch = self.gather(first, inbox);
            self.last = Some(Instant::now());
            let answers = if self.clear_doubts(news) {
                self.commit(&batch)
            } else {
                self.all_failed(&batch, StoreError::Unavailable)
            };
            self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            let batch = batch.into_iter().map(|job| job.done).zip(answers).collect();
            if news.send(News::Results(batch)).is_err() {
                return;
            }
            // At once, because subscribers wait for the events.
            self.clear_doubts(news);
            self.checkpoint.unpark();
        }
    }

    /// The writes of the next commit: those that are queued, and those that come before it is due.
    fn gather(&self, first: Job, inbox: &Receiver<Job>) -> Vec<Job> {
        let mut batch = vec![first];
        loop {
            while batch.len() < BATCH
                && let Ok(job) = inbox.try_recv()
            {
                batch.push(job);
            }
            let Some(wait) = self.flush.wait(self.last, batch.len(), Instant::now()) else { return batch };
            // Without a sender the server stops, and what is queued is committed at once.
            match inbox.recv_timeout(wait) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return batch,
            }
        }
    }

    /// Opens the database again after an error, and reports the channels in doubt; false if it
    /// can't be opened.
    fn clear_doubts(&mut self, news: &Sender<News>) -> bool {
        if !self.in_doubt {
            return true;
        }
        let opened = schema::reopen(&self.path, &mut self.incarnation).and_then(|connection| {
            in_doubt::checkpoint_all(&connection)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => {
                self.file = file_of(&self.path);
                self.connection = Some(connection);
                self.in_doubt = false;
                // Without a receiver there are no subscribers either.
                let _ = news.send(News::Doubts(std::mem::take(&mut self.doubtful)));
                true
            }
            Err(error) => {
                tracing::debug!(%error, code = error.code(), "the database can't be opened again");
                false
            }
        }
    }

    /// Commits a batch in one transaction.
    fn commit(&mut self, batch: &[Job]) -> Vec<Result<Outcome, StoreError>> {
        // Writing to a file that was moved away would succeed, and be lost.
        let file = file_of(&self.path);
        let connection = match self.connection.take().filter(|_| file == self.file) {
            Some(connection) => connection,
            None => match schema::reopen(&self.path, &mut self.incarnation) {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::error!(code = error.code(), "the database can't be opened again");
                    return self.all_failed(batch, StoreError::Unavailable);
                }
            },
        };
        self.file = file;
        let number = self.incarnation.next();
        let writes: Vec<&Write> = batch.iter().map(|job| &job.write).collect();
        let begun = Instant::now();
        match transaction::run(&connection, &writes, number, &self.faults) {
            Ok(applied) => {
                self.metrics.committed(batch.len(), begun.elapsed());
                if applied.changed {
                    self.incarnation.committed(number);
                }
                self.connection = Some(connection);
                self.note(applied.answers.iter().any(Result::is_ok));
                applied.answers
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed");
                let error = log::store_error(&error);
                // After a failed sync this connection's memory can't be trusted. A full disk is an
                // ordinary error.
                if error == StoreError::Full {
                    self.connection = Some(connection);
                } else {
                    self.in_doubt = true;
                    self.doubtful.extend(batch.iter().filter_map(|job| job.write.channel().cloned()));
                }
                self.all_failed(batch, error)
            }
        }
    }

    /// Notes whether writing works, and logs changes.
    fn note(&self, works: bool) {
        let failed = self.failing.swap(!works, Ordering::Relaxed);
        match (failed, works) {
            (true, true) => tracing::info!("the database can be written again"),
            (false, false) => tracing::error!("the database can't be written"),
            _ => {}
        }
    }

    fn all_failed(&self, batch: &[Job], error: StoreError) -> Vec<Result<Outcome, StoreError>> {
        self.metrics.failed.count();
        self.note(false);
        batch.iter().map(|_| Err(error)).collect()
    }
}
