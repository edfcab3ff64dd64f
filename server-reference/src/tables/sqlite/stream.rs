//! The thread that follows the change log and publishes commits.

use super::writes::Writes;
use super::{BUSY, KEPT, Opened, open};
use crate::clock;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidewire_server_core::tables::Tables;
use tidewire_server_sqlite::tables::{self as sqlite, Described, Watch};

/// Pause between polls while no write was noticed. A poll takes about three microseconds.
const POLL: Duration = Duration::from_millis(5);
/// Shortest pause between polls after a write was noticed. The commit is visible only after the
/// writer has synced it, which depends on its disk. So the pause grows with the time since the
/// write, as this fraction of it.
const STEP: Duration = Duration::from_micros(30);
const PART: u32 = 8;
/// Minimum pause between polls after publishing a commit. It doubles, up to [`POLL`], while every
/// poll finds more, so that many commits are read at a time under constant writes.
const PAUSE: Duration = Duration::from_millis(1);
/// Interval of looking at the clock and at the file's identity.
const TICK: Duration = Duration::from_secs(1);
/// The log on disk is trimmed after this many changes, or this long after the last time.
const TRIM_CHANGES: u64 = 10_000;
const TRIM: Duration = Duration::from_secs(30);
/// Most changes that are trimmed at once, so that neither writers nor readers of the log wait long.
const TRIM_AT_ONCE: u64 = 1_000;

pub(super) struct Stream {
    opened: Opened,
    path: PathBuf,
    watches: Vec<Watch>,
    /// Shared with the thread that answers requests.
    described: Arc<Mutex<Vec<Described>>>,
    tables: Arc<Tables>,
    writes: Writes,
    /// When a write was noticed whose commit is not visible yet.
    written: Option<Instant>,
    pause: Duration,
    /// The position up to which changes were published.
    told: u64,
    /// When the log was last trimmed, and the published position then.
    trimmed: Instant,
    kept: u64,
    /// `data_version` and `schema_version` at the last poll.
    versions: Option<(i64, i64)>,
    file: Option<(u64, u64)>,
}

impl Stream {
    pub(super) fn new(
        opened: Opened,
        path: PathBuf,
        watches: Vec<Watch>,
        described: Arc<Mutex<Vec<Described>>>,
        tables: Arc<Tables>,
    ) -> Stream {
        let told = opened.from;
        let writes = Writes::to(&path);
        let mut stream = Stream {
            opened,
            path,
            watches,
            described,
            tables,
            writes,
            written: None,
            pause: PAUSE,
            told,
            trimmed: Instant::now(),
            kept: told,
            versions: None,
            file: None,
        };
        stream.file = stream.file_now();
        stream
    }

    /// Publishes the changes that are in the log already.
    pub(super) fn begin(&mut self) {
        self.told = self.opened.from;
        self.versions = versions(&self.opened.connection).ok();
        self.tables.restart(&self.opened.epoch_file.epoch, self.told, &[]);
        if let Err(error) = self.read_on() {
            tracing::warn!(%error, "the tables' database can't be read");
            // Makes the next poll read again.
            self.versions = None;
        }
    }

    /// Runs until `stop` is set.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut ticked = Instant::now();
        short_sleeps();
        while !stop.load(Ordering::Relaxed) {
            self.wait();
            match self.look() {
                Ok(false) => {}
                Ok(true) => self.pause(),
                Err(error) => {
                    tracing::warn!(%error, "the tables' database can't be read");
                    std::thread::sleep(TICK);
                }
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.writes.renew();
                self.tables.tick(clock::mono());
                if self.file_now() != self.file {
                    self.reopen("the file is another one");
                }
            }
            if self.trimmed.elapsed() >= TRIM || self.told.abs_diff(self.kept) >= TRIM_CHANGES {
                self.trim();
            }
        }
    }

    /// Pauses after a commit was published.
    fn pause(&mut self) {
        std::thread::sleep(self.pause);
        let more = self.writes.wait(Duration::ZERO);
        self.pause = if more { (self.pause * 2).min(POLL) } else { PAUSE };
        self.written = more.then(Instant::now);
    }

    /// Waits until the next poll.
    fn wait(&mut self) {
        let step = self.written.map_or(POLL, |written| written.elapsed() / PART);
        if step < POLL {
            std::thread::sleep(step.max(STEP));
            // Further notices are most likely of the same commit.
            self.writes.forget();
        } else {
            self.written = self.writes.wait(POLL).then(Instant::now);
        }
    }

    /// Reads new commits, if there are any; true if something changed.
    fn look(&mut self) -> rusqlite::Result<bool> {
        let data = data_version(&self.opened.connection)?;
        if self.versions.is_some_and(|(before, _)| before == data) {
            return Ok(false);
        }
        let Some(schema) = self.read_on()? else { return Ok(true) };
        let reshaped = self.versions.is_none_or(|(_, before)| before != schema);
        // If attaching fails, the next poll sees the change of the schema again.
        self.versions = None;
        if reshaped {
            self.attach()?;
        }
        self.versions = Some((data, schema));
        Ok(true)
    }

    /// Publishes what was committed since the last time. Returns the schema's version, or `None` if
    /// the database was opened again.
    fn read_on(&mut self) -> rusqlite::Result<Option<i64>> {
        let Opened { connection, described, epoch_file, .. } = &mut self.opened;
        // One transaction for all reads, because each would take and release locks.
        let transaction = connection.unchecked_transaction()?;
        let schema = schema_version(&transaction)?;
        if !epoch_file.goes_on(&transaction)? {
            drop(transaction);
            self.reopen("it lost changes");
            return Ok(None);
        }
        let commit = sqlite::read(&transaction, described, self.told)?;
        if let Some(commit) = &commit {
            epoch_file.tell(&transaction, commit.position)?;
        }
        drop(transaction);
        if let Some(commit) = commit {
            self.told = commit.position;
            self.tables.publish(commit);
        }
        Ok(Some(schema))
    }

    /// The schema changed: attaches again, as triggers may be gone or columns may be different.
    fn attach(&mut self) -> rusqlite::Result<()> {
        let now = sqlite::reattach(&mut self.opened.connection, &self.watches)?;
        let mut described = Vec::new();
        for (table, (now, before)) in now.into_iter().zip(&self.opened.described).enumerate() {
            described.push(now.unwrap_or_else(|error| {
                tracing::error!("{error}");
                // Ends the subscriptions, so that no client takes silence for "no changes".
                self.tables.reshape(table, before.schema.clone());
                before.clone()
            }));
        }
        self.reshape(described);
        Ok(())
    }

    fn reshape(&mut self, now: Vec<Described>) {
        // The shared description first: the restart of a table leads to snapshot requests at once.
        self.described.lock().clone_from(&now);
        for (table, (now, before)) in now.iter().zip(&self.opened.described).enumerate() {
            if now.schema != before.schema {
                self.tables.reshape(table, now.schema.clone());
            }
        }
        self.opened.described = now;
    }

    /// Opens the file that the path leads to now, and restarts the tables.
    fn reopen(&mut self, why: &str) {
        tracing::warn!(path = %self.path.display(), "the tables' database is opened again: {why}");
        match open(&self.path, &self.watches) {
            Ok(opened) => {
                let before = std::mem::replace(&mut self.opened, opened);
                self.file = self.file_now();
                self.writes = Writes::to(&self.path);
                let now = std::mem::replace(&mut self.opened.described, before.described);
                self.reshape(now);
                self.begin();
            }
            // It is tried again, as the reason for reopening is still there.
            Err(error) => {
                tracing::error!("{error}");
                std::thread::sleep(TICK);
            }
        }
    }

    /// Device and inode of the file that the path leads to.
    fn file_now(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino()))
    }

    /// Trims the log on disk by one batch. The next round continues if there is more.
    fn trim(&mut self) {
        // Keeps the newest published change: its fingerprint identifies the log.
        let up_to = self.tables.oldest().min(self.told.saturating_sub(1));
        let connection = &self.opened.connection;
        // Does not wait for writers, unless they left no gap for a long time.
        let patience = if self.trimmed.elapsed() < 2 * TRIM { Duration::ZERO } else { BUSY };
        let trimmed = connection
            .busy_timeout(patience)
            .and_then(|()| sqlite::trim(connection, up_to, KEPT, TRIM_AT_ONCE));
        match connection.busy_timeout(BUSY).and(trimmed) {
            Ok(gone) if gone as u64 == TRIM_AT_ONCE => {}
            Ok(_) => (self.trimmed, self.kept) = (Instant::now(), self.told),
            Err(error) => tracing::debug!(%error, "the tables' log can't be trimmed now"),
        }
    }
}

fn versions(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    Ok((data_version(connection)?, schema_version(connection)?))
}

/// Changes with each commit of another connection.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// Allows this thread to sleep for less than 50 microseconds, the slack that Linux adds to sleeps
/// to save wake-ups.
fn short_sleeps() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        tracing::debug!(%error, "sleeps stay long");
    }
}
