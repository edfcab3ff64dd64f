//! Live tables of a SQLite file: one thread follows its change log, and one answers requests of the
//! tables.

mod epoch_file;
mod fair_scheduler;
mod request_worker;
mod stream;
mod writes;

use epoch_file::EpochFile;
use request_worker::RequestWorker;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use stream::Stream;
use thiserror::Error;
use tidewire_server_core::tables::{Schema, Tables};
use tidewire_server_sqlite::tables::{self as sqlite, Described, Log, SqliteError, Watch};

/// How many of the newest changes the log on disk keeps. Subscriptions resume within these after a
/// restart.
const KEPT: u64 = 10_000;
/// How long one of our writes waits for other writers.
const BUSY: Duration = Duration::from_secs(5);

/// Why a file can't be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A table can't be watched, or the database reports an error.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    /// The file can't be opened.
    #[error("can't open the tables' database {path}: {error}")]
    Open {
        /// The path.
        path: String,
        /// SQLite's error.
        error: rusqlite::Error,
    },
    /// The file beside it can't be written.
    #[error("can't write {path}, which tells a restored database from the running one: {error}")]
    EpochFile {
        /// The path.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
}

impl From<rusqlite::Error> for SourceError {
    fn from(error: rusqlite::Error) -> SourceError {
        SourceError::Sqlite(SqliteError::Database(error))
    }
}

/// A file that is open and has its log and triggers.
pub struct Source {
    opened: Opened,
    path: PathBuf,
    watches: Vec<Watch>,
}

/// The result of opening a file.
struct Opened {
    connection: Connection,
    described: Vec<Described>,
    epoch_file: EpochFile,
    /// The position at which the stream begins.
    from: u64,
}

/// The threads; dropping it ends them.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Source {
    /// Opens the file, which must be there, and attaches to its tables.
    ///
    /// # Errors
    ///
    /// A table that can't be watched, or a file that can't be opened or written.
    pub fn start(path: &Path, watches: Vec<Watch>) -> Result<Source, SourceError> {
        let opened = open(path, &watches)?;
        for warning in opened.described.iter().flat_map(|table| &table.warnings) {
            tracing::warn!("{warning}");
        }
        let mode: String = opened.connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if !mode.eq_ignore_ascii_case("wal") {
            let path = path.display();
            tracing::warn!(%path, mode, "readers and writers wait for each other; better: PRAGMA journal_mode = WAL");
        }
        Ok(Source { opened, path: path.to_owned(), watches })
    }

    /// The schemas of the tables, in the order of the configuration.
    pub fn schemas(&self) -> Vec<Schema> {
        self.opened.described.iter().map(|table| table.schema.clone()).collect()
    }

    /// Publishes the changes that are in the log already, then drives the tables until the result
    /// is dropped. `woken` receives a message when the tables have requests.
    pub fn run(self, tables: Arc<Tables>, woken: Receiver<()>) -> std::io::Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let described = Arc::new(parking_lot::Mutex::new(self.opened.described.clone()));
        let requests = RequestWorker::new(self.path.clone(), described.clone(), tables.clone(), stop.clone());
        let mut stream = Stream::new(self.opened, self.path, self.watches, described, tables);
        // Done before clients subscribe, so that cursors from before a restart are not ahead of the
        // tables.
        stream.begin();
        let mut running = Running { stop: stop.clone(), threads: Vec::new() };
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let stopped = stop.clone();
        running.threads.push(named("tables-stream").spawn(move || stream.run(&stopped))?);
        running.threads.push(named("tables-answers").spawn(move || requests.run(&woken))?);
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Removes everything that watching a file's tables has created, in the file and beside it, and
/// returns the names. Returns nothing if the file does not exist.
///
/// # Errors
///
/// The file can't be opened or written.
pub fn unwatch(path: &Path) -> Result<Vec<String>, SourceError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut connection = connect(path)?;
    if !sqlite::is_attached(&connection)? {
        return Ok(Vec::new());
    }
    let mut gone = sqlite::detach(&mut connection)?;
    let beside = epoch_file::beside(path);
    if std::fs::remove_file(&beside).is_ok() {
        gone.push(beside.display().to_string());
    }
    Ok(gone)
}

/// A waker for the thread that answers requests, and what that thread waits on.
pub fn waker() -> (impl Fn() + Send + Sync + 'static, Receiver<()>) {
    let (sender, receiver) = channel();
    let wake = move || {
        // The receiver is gone once the server stops.
        let _ = sender.send(());
    };
    (wake, receiver)
}

fn connect(path: &Path) -> Result<Connection, SourceError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| SourceError::Open { path: path.display().to_string(), error };
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn open(path: &Path, watches: &[Watch]) -> Result<Opened, SourceError> {
    let mut connection = connect(path)?;
    let described = sqlite::attach(&mut connection, watches)?;
    let log = Log::of(&connection)?;
    let (epoch_file, goes_on) = EpochFile::begin(&connection, path, log.head)?;
    // No client has a cursor of a new epoch, so older changes are not needed.
    let from = if goes_on { log.within(&connection, KEPT)? } else { log.head };
    Ok(Opened { connection, described, epoch_file, from })
}
