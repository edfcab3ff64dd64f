//! After an input or output error nobody knows whether the commit reached the disk. The database is opened again, what it
//! shows is brought to the disk for certain, and the channels in doubt are compared with what their subscribers saw.

use super::Write;
use crate::sync::lock;
use rusqlite::{Connection, OptionalExtension, ffi};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

/// How often a checkpoint is tried that somebody else keeps from being made.
const SETTLE_TRIES: usize = 20;
/// Pause between two such tries.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// A channel whose last commit is in doubt, as the database has it now.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// The channel's row.
    pub(crate) channel: i64,
    /// The channel's name.
    pub(crate) name: String,
    /// Its newest offset.
    pub(crate) head: u64,
    /// Every event up to here was trimmed.
    pub(crate) floor: u64,
    /// Offset of the newest message that no answer covers yet.
    pub(crate) wants_answer: Option<u64>,
}

/// The channel that a write changes.
pub(super) fn channel_of(write: &Write) -> Option<i64> {
    match write {
        Write::Append(event) => Some(event.channel),
        Write::StartRun(start) => Some(start.event.channel),
        Write::EndRun(end) => Some(end.event.channel),
        Write::Trim(trim) => Some(trim.channel),
        _ => None,
    }
}

/// Brings all that the database shows to the disk, and ends the write-ahead log in which a sync failed: the system may have
/// dropped pages of it that it still shows, and a later sync would not bring them back.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 0..SETTLE_TRIES {
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match busy {
            Ok(0) => return Ok(()),
            // The other thread's checkpoint is not waited for by SQLite itself.
            Ok(_) => std::thread::sleep(SETTLE_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Err(failure(ffi::SQLITE_BUSY))
}

/// The channels as they are now.
pub(super) fn look(connection: &Connection, channels: &BTreeSet<i64>) -> rusqlite::Result<Vec<Doubt>> {
    let mut statement = connection.prepare(
        "SELECT name, head, floor, wants_answer FROM channels JOIN dialogs ON dialogs.channel = channels.id
         WHERE id = ?",
    )?;
    let mut found = Vec::new();
    for &channel in channels {
        let doubt = statement
            .query_row([channel], |row| {
                Ok(Doubt {
                    channel,
                    name: row.get(0)?,
                    head: row.get::<_, i64>(1)?.cast_unsigned(),
                    floor: row.get::<_, i64>(2)?.cast_unsigned(),
                    wants_answer: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
                })
            })
            .optional()?;
        found.extend(doubt);
    }
    Ok(found)
}

/// Commits that are to report an error, for tests: whether each reaches the disk all the same.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<bool>>);

impl Faults {
    pub(super) fn add(&self, reaches_disk: bool) {
        lock(&self.0).push_back(reaches_disk);
    }

    /// The fault of the next commit.
    pub(super) fn take(&self) -> Option<bool> {
        lock(&self.0).pop_front()
    }
}

/// What SQLite says when a sync fails.
pub(super) fn sync_failed() -> rusqlite::Error {
    failure(ffi::SQLITE_IOERR_FSYNC)
}

fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}
