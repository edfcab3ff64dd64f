//! After an input or output error nobody knows whether the commit reached the disk. The database is
//! opened again, what it shows is brought to the disk for certain, and the channels in doubt are
//! compared with what their subscribers saw.

use parking_lot::Mutex;
use rusqlite::{Connection, ffi};
use std::collections::VecDeque;
use std::time::Duration;

/// How often a checkpoint is tried that somebody else keeps from being made.
const CHECKPOINT_TRIES: usize = 20;
/// Pause between two such tries.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(5);

/// Brings all that the database shows to the disk, and ends the write-ahead log in which a sync
/// failed: the system may have dropped pages of it that it still shows, and a later sync would not
/// bring them back.
pub(super) fn checkpoint_all(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 0..CHECKPOINT_TRIES {
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match busy {
            Ok(0) => return Ok(()),
            // The other thread's checkpoint is not waited for by SQLite itself.
            Ok(_) => std::thread::sleep(CHECKPOINT_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Err(failure(ffi::SQLITE_BUSY))
}

/// Commits that are to report an error, for tests: whether each reaches the disk all the same.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<bool>>);

impl Faults {
    pub(super) fn add(&self, reaches_disk: bool) {
        self.0.lock().push_back(reaches_disk);
    }

    /// The fault of the next commit.
    pub(super) fn take(&self) -> Option<bool> {
        self.0.lock().pop_front()
    }
}

/// What SQLite says when a sync fails.
pub(super) fn sync_failed() -> rusqlite::Error {
    failure(ffi::SQLITE_IOERR_FSYNC)
}

fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}
