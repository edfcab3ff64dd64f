//! The thread that tells of commits.

use super::writes::Writes;
use super::{KEPT, Opened, open};
use crate::clock;
use crate::sync::lock;
use rusqlite::Connection;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewire_server_core::tables::Tables;
use tidewire_server_core::tables::sqlite::{self, Described, Log, SqliteError, Watch};

/// How often it is asked whether somebody committed if nothing is heard of a write: three microseconds of work each time.
const POLL: Duration = Duration::from_millis(5);
/// How soon it is asked again after a write was heard of, at the soonest. The commit can be seen only once the writer has synced it,
/// however long its disk takes: so the steps get longer, by this part of the time since the write.
const STEP: Duration = Duration::from_micros(30);
const PART: u32 = 8;
/// For so long after a commit was told no write is heard of: who commits all the time is followed a few commits at a time.
const PAUSE: Duration = Duration::from_millis(1);
/// How often the clock and the file are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the log on disk is trimmed, and how many changes go at a time, so that writers never wait long.
const TRIM: Duration = Duration::from_secs(30);
const TRIM_AT_ONCE: u64 = 5_000;

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
    /// Up to where it has told.
    told: u64,
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
        let (written, versions) = (None, None);
        let mut stream =
            Stream { opened, path, watches, described, tables, writes, written, told, versions, file: None };
        stream.file = stream.file_now();
        stream
    }

    /// Tells what there is.
    pub(super) fn begin(&mut self) {
        self.told = self.opened.from;
        self.versions = versions(&self.opened.connection).ok();
        self.tables.restart(&self.opened.life.epoch, self.told);
        if let Err(error) = self.read_on() {
            tracing::warn!(%error, "the tables' database can't be read");
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        let (mut ticked, mut trimmed) = (Instant::now(), Instant::now());
        short_sleeps();
        while !stop.load(Ordering::Relaxed) {
            self.wait();
            match self.look() {
                Ok(false) => {}
                Ok(true) => {
                    self.written = None;
                    std::thread::sleep(PAUSE);
                }
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
            if trimmed.elapsed() >= TRIM {
                trimmed = Instant::now();
                self.trim();
            }
        }
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
        // The one is only ever another if the other is.
        let data = data_version(&self.opened.connection)?;
        if self.versions.is_some_and(|(before, _)| before == data) {
            return Ok(false);
        }
        let now = (data, schema_version(&self.opened.connection)?);
        let reshaped = self.versions.is_none_or(|(_, schema)| schema != now.1);
        self.read_on()?;
        // Until it could be attached to, a change of the schema stays new.
        self.versions = None;
        if reshaped {
            self.attach()?;
        }
        self.versions = Some(now);
        Ok(true)
    }

    /// Tells what was committed since.
    fn read_on(&mut self) -> rusqlite::Result<()> {
        let Opened { connection, described, life, .. } = &mut self.opened;
        match sqlite::read(connection, described, self.told)? {
            Some(commit) => {
                life.tell(connection, commit.position)?;
                self.told = commit.position;
                self.tables.publish(commit);
            }
            None if Log::of(connection)?.head < self.told => self.reopen("it lost changes"),
            None => {}
        }
        Ok(())
    }

    /// The schema changed: the triggers may be gone, or tables have other columns.
    fn attach(&mut self) -> rusqlite::Result<()> {
        match sqlite::attach(&mut self.opened.connection, &self.watches) {
            Ok(now) => self.reshape(now),
            // Somebody writes for long, perhaps.
            Err(SqliteError::Database(error)) => return Err(error),
            Err(error) => {
                tracing::error!("{error}");
                // Nobody is left to believe that nothing happens.
                for (table, described) in self.opened.described.iter().enumerate() {
                    self.tables.reshape(table, described.schema.clone());
                }
            }
        }
        Ok(())
    }

    fn reshape(&mut self, now: Vec<Described>) {
        for (table, (now, before)) in now.iter().zip(&self.opened.described).enumerate() {
            if now.schema != before.schema {
                self.tables.reshape(table, now.schema.clone());
            }
        }
        lock(&self.described).clone_from(&now);
        self.opened.described = now;
    }

    /// Begins anew with what the path names now.
    fn reopen(&mut self, why: &str) {
        tracing::warn!(path = %self.path.display(), "the tables' database is opened again: {why}");
        match open(&self.path, &self.watches) {
            Ok(opened) => {
                let before = std::mem::replace(&mut self.opened, opened);
                self.file = self.file_now();
                let now = std::mem::replace(&mut self.opened.described, before.described);
                self.reshape(now);
                self.begin();
            }
            // It is tried again with the next tick.
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// Which file the path names.
    fn file_now(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino()))
    }

    fn trim(&self) {
        let up_to = self.tables.oldest();
        loop {
            match sqlite::trim(&self.opened.connection, up_to, KEPT, TRIM_AT_ONCE) {
                Ok(gone) if gone as u64 == TRIM_AT_ONCE => std::thread::yield_now(),
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "the tables' log can't be trimmed now");
                    break;
                }
            }
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

/// Lets this thread sleep for less than the 50 microseconds by which the system makes sleeps longer, to save wake-ups.
fn short_sleeps() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        tracing::debug!(%error, "sleeps stay long");
    }
}
