//! The one thread that writes, and the one that tells the results.

use super::checkpoint::Checkpointer;
use super::{Identity, Outcome, Readers, StoreError, Write, ops, schema};
use crate::sync::lock;
use rusqlite::Connection;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Most writes in one transaction.
const BATCH: usize = 1024;
/// Most writes waiting; a server that far behind its disk says so instead of queueing more.
const QUEUE: usize = 20_000;

/// Called on one thread, in the order of the commits.
pub(crate) type Publish = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

struct Job {
    write: Write,
    done: Publish,
}

/// The log on disk. Dropping it lets the threads end.
pub(crate) struct Store {
    jobs: Mutex<Option<Sender<Job>>>,
    waiting: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    checkpointer: Checkpointer,
    readers: Readers,
    identity: Identity,
    /// Keeps other servers away.
    exclusive: Mutex<Option<Connection>>,
}

impl Store {
    /// Opens the database and starts the threads.
    pub(crate) fn open(path: &Path) -> Result<Store, schema::OpenError> {
        let exclusive = schema::lock_out_others(path)?;
        let (connection, identity) = schema::open_or_create(path)?;
        let (jobs, inbox) = channel();
        let (results, outbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let failing = Arc::new(AtomicBool::new(false));
        let checkpointer = Checkpointer::start(path.to_owned(), failing.clone());
        let writer = Writer {
            path: path.to_owned(),
            identity: identity.clone(),
            connection: Some(connection),
            file: file_of(path),
            failing: failing.clone(),
            waiting: waiting.clone(),
            checkpoint: checkpointer.waker(),
        };
        let threads = vec![
            spawn("writer", move || writer.run(&inbox, &results))?,
            spawn("publisher", move || publish(&outbox))?,
        ];
        Ok(Store {
            jobs: Mutex::new(Some(jobs)),
            waiting,
            failing,
            threads: Mutex::new(threads),
            checkpointer,
            readers: Readers::new(path.to_owned()),
            identity,
            exclusive: Mutex::new(Some(exclusive)),
        })
    }

    /// Names this life of the log.
    pub(crate) fn epoch(&self) -> &str {
        &self.identity.epoch
    }

    /// The key that signs guests' tokens.
    pub(crate) fn guest_key(&self) -> &[u8] {
        &self.identity.guest_key
    }

    /// Reads.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Whether the last write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Hands a write in; `done` is called once, after the commit, in commit order.
    pub(crate) fn submit(&self, write: Write, done: Publish) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return done(Err(StoreError::Unavailable));
        }
        let jobs = lock(&self.jobs);
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

    /// Writes and waits for the commit.
    pub(crate) async fn write(&self, write: Write) -> Result<Outcome, StoreError> {
        self.write_then(write, |_| ()).await
    }

    /// Writes and waits for the commit; `then` is called before any later write is published.
    pub(crate) async fn write_then(
        &self,
        write: Write,
        then: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Result<Outcome, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(
            write,
            Box::new(move |result| {
                if let Ok(outcome) = &result {
                    then(outcome);
                }
                // Nobody waits any more: nobody needs to know.
                let _ = sender.send(result);
            }),
        );
        receiver.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Commits what was handed in, moves the log into the database file and ends the threads. Blocks.
    pub(crate) fn close(&self) {
        lock(&self.jobs).take();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread that panicked has reported it already.
            let _ = thread.join();
        }
        // The last connection that closes leaves a single file behind, so it must be one that may write.
        self.readers.close();
        self.checkpointer.close();
        lock(&self.exclusive).take();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, schema::OpenError> {
    std::thread::Builder::new()
        .name(format!("tidewire-{name}"))
        .spawn(run)
        .map_err(|_| rusqlite::Error::InvalidQuery.into())
}

fn publish(outbox: &Receiver<Vec<(Publish, Result<Outcome, StoreError>)>>) {
    while let Ok(results) = outbox.recv() {
        for (done, result) in results {
            // One fault must not keep everybody else from ever hearing of a commit again.
            if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
                tracing::error!("publishing a commit failed");
            }
        }
    }
}

/// What tells one file from another at the same path: device and inode.
fn file_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

struct Writer {
    path: PathBuf,
    identity: Identity,
    connection: Option<Connection>,
    /// Which file the connection has open.
    file: Option<(u64, u64)>,
    failing: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    checkpoint: std::thread::Thread,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Job>, results: &Sender<Vec<(Publish, Result<Outcome, StoreError>)>>) {
        while let Ok(first) = inbox.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(job) = inbox.try_recv()
            {
                batch.push(job);
            }
            let answers = self.commit(&batch);
            self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            let batch = batch.into_iter().map(|job| job.done).zip(answers).collect();
            if results.send(batch).is_err() {
                return;
            }
            self.checkpoint.unpark();
        }
    }

    /// One transaction for all of the batch.
    fn commit(&mut self, batch: &[Job]) -> Vec<Result<Outcome, StoreError>> {
        // Writing to a file that was moved away would succeed, and be lost with the process.
        let file = file_of(&self.path);
        let connection = match self.connection.take().filter(|_| file == self.file) {
            Some(connection) => connection,
            None => match schema::reopen(&self.path, &self.identity) {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::error!(code = error.code(), "the database can't be opened again");
                    return self.all_failed(batch, StoreError::Unavailable);
                }
            },
        };
        self.file = file;
        let result = transaction(&connection, batch);
        match result {
            Ok(answers) => {
                self.connection = Some(connection);
                self.note(answers.iter().any(Result::is_ok));
                answers
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed");
                let error = StoreError::from(error);
                // After a failed sync nothing that this connection holds in memory can be trusted; a full disk is
                // an orderly refusal.
                if error == StoreError::Full {
                    self.connection = Some(connection);
                }
                self.all_failed(batch, error)
            }
        }
    }

    /// Remembers, and logs once, whether writing works.
    fn note(&self, works: bool) {
        let failed = self.failing.swap(!works, Ordering::Relaxed);
        match (failed, works) {
            (true, true) => tracing::info!("the database can be written again"),
            (false, false) => tracing::error!("the database can't be written"),
            _ => {}
        }
    }

    fn all_failed(&self, batch: &[Job], error: StoreError) -> Vec<Result<Outcome, StoreError>> {
        self.note(false);
        batch.iter().map(|_| Err(error)).collect()
    }
}

fn transaction(connection: &Connection, batch: &[Job]) -> rusqlite::Result<Vec<Result<Outcome, StoreError>>> {
    let result = try_transaction(connection, batch);
    if result.is_err() && !connection.is_autocommit() {
        // When this fails too the connection is dropped, which rolls back.
        connection.execute_batch("ROLLBACK")?;
    }
    result
}

fn try_transaction(
    connection: &Connection,
    batch: &[Job],
) -> rusqlite::Result<Vec<Result<Outcome, StoreError>>> {
    let statement = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
    // SQLite sets the limit only outside of a transaction's snapshot.
    for job in batch {
        if matches!(job.write, Write::LimitPages(_)) {
            ops::apply(connection, &job.write)?;
        }
    }
    statement("BEGIN IMMEDIATE")?;
    let mut answers = Vec::with_capacity(batch.len());
    for job in batch {
        if matches!(job.write, Write::LimitPages(_)) {
            answers.push(Ok(Outcome::Done));
            continue;
        }
        statement("SAVEPOINT one")?;
        match ops::apply(connection, &job.write) {
            Ok(outcome) => {
                statement("RELEASE one")?;
                answers.push(Ok(outcome));
            }
            // SQLite has rolled everything back by itself (full disk, I/O error).
            Err(error) if connection.is_autocommit() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "one write of a batch failed");
                statement("ROLLBACK TO one")?;
                statement("RELEASE one")?;
                answers.push(Err(StoreError::from(error)));
            }
        }
    }
    statement("COMMIT")?;
    Ok(answers)
}
