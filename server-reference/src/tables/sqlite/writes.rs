//! Notices writes to the database's files by any program.
//!
//! This is a hint, and correctness does not depend on it: a file is written some time before the
//! commit is visible, not every write is a commit, and not every system reports writes. So the
//! reader polls a few times after a hint, and now and then without one.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Watches the database's file and its write-ahead log. Each commit writes one of the two.
pub(super) struct Writes {
    paths: [PathBuf; 2],
    #[cfg(target_os = "linux")]
    told: Option<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Writes {
    pub(super) fn to(database: &Path) -> Writes {
        use rustix::fs::inotify::{CreateFlags, init};
        let told = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        if let Err(error) = &told {
            tracing::info!(%error, "the system does not tell of writes to the tables' database; it is looked at all the time");
        }
        let mut writes = Writes { paths: paths(database), told: told.ok() };
        writes.renew();
        writes
    }

    /// Watches the files that exist now, as the write-ahead log comes and goes. Files that are
    /// watched already stay so.
    pub(super) fn renew(&mut self) {
        use rustix::fs::inotify::{WatchFlags, add_watch};
        let Some(told) = &self.told else { return };
        for path in &self.paths {
            // A missing file is tried again the next time.
            let _ = add_watch(told, path, WatchFlags::MODIFY);
        }
    }

    /// Waits until something was written since the last call, at most this long; true if it was.
    pub(super) fn wait(&mut self, most: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(told) = &self.told else {
            std::thread::sleep(most);
            return false;
        };
        let most_of = Timespec::try_from(most).ok();
        match poll(&mut [PollFd::new(told, PollFlags::IN)], most_of.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => false,
            Ok(_) => {
                self.forget();
                true
            }
            Err(_) => {
                self.told = None;
                false
            }
        }
    }

    /// Discards the notices so far.
    pub(super) fn forget(&mut self) {
        let mut events = [0_u8; 4_096];
        let Some(told) = &self.told else { return };
        // The content of the notices does not matter; reading an empty queue is an error.
        while rustix::io::read(told, &mut events).is_ok_and(|length| length > events.len() / 2) {}
    }
}

#[cfg(not(target_os = "linux"))]
impl Writes {
    pub(super) fn to(database: &Path) -> Writes {
        Writes { paths: paths(database) }
    }

    pub(super) fn renew(&mut self) {}

    pub(super) fn wait(&mut self, most: Duration) -> bool {
        std::thread::sleep(most);
        false
    }

    pub(super) fn forget(&mut self) {}
}

fn paths(database: &Path) -> [PathBuf; 2] {
    // The write-ahead log is beside the file itself, not beside a link to it.
    let database = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    [database, log.into()]
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rusqlite::Connection;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn a_commit_is_heard_of_in_each_journal_mode_and_after_the_log_was_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let app = || Connection::open(&path).unwrap();
        app().execute_batch("CREATE TABLE t (a)").unwrap();
        let mut writes = Writes::to(&path);
        assert!(!writes.wait(SHORT));
        app().execute_batch("INSERT INTO t VALUES (1)").unwrap();
        assert!(writes.wait(LONG), "in a rollback journal's mode");
        let writer = app();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        for round in 0..2 {
            writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
            writes.renew();
            writes.forget();
            assert!(!writes.wait(SHORT));
            writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
            assert!(writes.wait(LONG), "ahead of it, {round}");
            writer.pragma_update(None, "journal_mode", "DELETE").unwrap();
            writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        }
    }
}
