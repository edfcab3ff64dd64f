//! Recovery from a commit in doubt. After an I/O error nobody knows whether the commit reached the
//! disk. The database is opened again, everything it shows is synced to disk, and the channels in
//! doubt are compared with what their subscribers were sent.

use parking_lot::Mutex;
use rusqlite::{Connection, ffi};
use std::collections::VecDeque;
use std::time::Duration;

/// How often a checkpoint is tried that another one blocks.
const CHECKPOINT_TRIES: usize = 20;
/// Pause between two tries.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(5);

/// Writes everything that the database shows to the disk, and ends the write-ahead log in which a
/// sync failed. After a failed sync the system may have dropped pages of that log that it still
/// shows, and a later sync would not write them.
pub(super) fn checkpoint_all(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 0..CHECKPOINT_TRIES {
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match busy {
            Ok(0) => return Ok(()),
            // SQLite's busy time-out does not wait for a checkpoint on another thread.
            Ok(_) => std::thread::sleep(CHECKPOINT_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Err(failure(ffi::SQLITE_BUSY))
}

/// Injected faults for tests: the next commits report an error. Each entry says whether the commit
/// reaches the disk anyway.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<bool>>);

impl Faults {
    pub(super) fn add(&self, reaches_disk: bool) {
        self.0.lock().push_back(reaches_disk);
    }

    /// The fault of the next commit, if there is one.
    pub(super) fn take(&self) -> Option<bool> {
        self.0.lock().pop_front()
    }
}

/// The error that SQLite gives if a sync fails.
pub(super) fn sync_failed() -> rusqlite::Error {
    failure(ffi::SQLITE_IOERR_FSYNC)
}

fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}
