//! The thread that tells of commits.

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

/// How often it is asked whether somebody committed if nothing is heard of a write: three
/// microseconds of work each time.
const POLL: Duration = Duration::from_millis(5);
/// How soon it is asked again after a write was heard of, at the soonest. The commit can be seen
/// only once the writer has synced it, however long its disk takes: so the steps get longer, by
/// this part of the time since the write.
const STEP: Duration = Duration::from_micros(30);
const PART: u32 = 8;
/// For so long after a commit was told it is not looked again. It gets longer, up to [`POLL`],
/// while there is more each time: who commits all the time is followed many commits at a time.
const PAUSE: Duration = Duration::from_millis(1);
/// How often the clock and the file are looked at.
const TICK: Duration = Duration::from_secs(1);
/// The log on disk is trimmed after so many changes, or so long after the last time.
const TRIM_CHANGES: u64 = 10_000;
const TRIM: Duration = Duration::from_secs(30);
/// How many changes go at a time, so that writers never wait long, nor those who want to hear of
/// commits.
const TRIM_AT_ONCE: u64 = 1_000;

pub(super) struct Stream {
    opened: Opened,
    path: PathBuf,
    watches: Vec<Watch>,
    /// For the thread that answers.
    described: Arc<Mutex<Vec<Described>>>,
    tables: Arc<Tables>,
    writes: Writes,
    /// When a write was heard of whose commit was not seen yet.
    written: Option<Instant>,
    pause: Duration,
    /// Up to where it has told.
    told: u64,
    /// When the log was last trimmed, and how far it had told then.
    trimmed: Instant,
    kept: u64,
    /// `data_version` and `schema_version`, as they were last.
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

    /// Tells what there is.
    pub(super) fn begin(&mut self) {
        self.told = self.opened.from;
        self.versions = versions(&self.opened.connection).ok();
        self.tables.restart(&self.opened.epoch_file.epoch, self.told, &[]);
        if let Err(error) = self.read_on() {
            tracing::warn!(%error, "the tables' database can't be read");
            // It is looked again.
            self.versions = None;
        }
    }

    /// Runs until it is told to stop.
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

    /// Leaves the database alone for a while.
    fn pause(&mut self) {
        std::thread::sleep(self.pause);
        let more = self.writes.wait(Duration::ZERO);
        self.pause = if more { (self.pause * 2).min(POLL) } else { PAUSE };
        self.written = more.then(Instant::now);
    }

    /// Waits until it is worth to look.
    fn wait(&mut self) {
        let step = self.written.map_or(POLL, |written| written.elapsed() / PART);
        if step < POLL {
            std::thread::sleep(step.max(STEP));
            // These are of the same commit, most likely.
            self.writes.forget();
        } else {
            self.written = self.writes.wait(POLL).then(Instant::now);
        }
    }

    /// Looks whether there is something new; true if there is.
    fn look(&mut self) -> rusqlite::Result<bool> {
        let data = data_version(&self.opened.connection)?;
        if self.versions.is_some_and(|(before, _)| before == data) {
            return Ok(false);
        }
        let Some(schema) = self.read_on()? else { return Ok(true) };
        let reshaped = self.versions.is_none_or(|(_, before)| before != schema);
        // Until it could be attached to, a change of the schema stays new.
        self.versions = None;
        if reshaped {
            self.attach()?;
        }
        self.versions = Some((data, schema));
        Ok(true)
    }

    /// Tells what was committed since. The result is the schema's version; none if it had to begin
    /// anew.
    fn read_on(&mut self) -> rusqlite::Result<Option<i64>> {
        let Opened { connection, described, epoch_file, .. } = &mut self.opened;
        // One for all: each is locks to take and to give back.
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

    /// The schema changed: the triggers may be gone, or tables have other columns.
    fn attach(&mut self) -> rusqlite::Result<()> {
        let now = sqlite::reattach(&mut self.opened.connection, &self.watches)?;
        let mut described = Vec::new();
        for (table, (now, before)) in now.into_iter().zip(&self.opened.described).enumerate() {
            described.push(now.unwrap_or_else(|error| {
                tracing::error!("{error}");
                // Nobody is left to believe that nothing happens.
                self.tables.reshape(table, before.schema.clone());
                before.clone()
            }));
        }
        self.reshape(described);
        Ok(())
    }

    fn reshape(&mut self, now: Vec<Described>) {
        // First who answers: whoever is told that a table is another one asks for its rows at once.
        self.described.lock().clone_from(&now);
        for (table, (now, before)) in now.iter().zip(&self.opened.described).enumerate() {
            if now.schema != before.schema {
                self.tables.reshape(table, now.schema.clone());
            }
        }
        self.opened.described = now;
    }

    /// Begins anew with what the path names now.
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
            // It is tried again, as what led here is still so.
            Err(error) => {
                tracing::error!("{error}");
                std::thread::sleep(TICK);
            }
        }
    }

    /// Which file the path names.
    fn file_now(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino()))
    }

    /// Forgets some of the log on disk. What is left is looked at again after the next look.
    fn trim(&mut self) {
        // Not the newest that was told: by it the log is known again.
        let up_to = self.tables.oldest().min(self.told.saturating_sub(1));
        let connection = &self.opened.connection;
        // Writers are not waited for, unless they have left no gap for long.
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

/// Another one after each commit of another connection.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// Lets this thread sleep for less than the 50 microseconds by which the system makes sleeps
/// longer, to save wake-ups.
fn short_sleeps() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        tracing::debug!(%error, "sleeps stay long");
    }
}
