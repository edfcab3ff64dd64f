//! Moves committed pages from the write-ahead log into the database file. It has a thread and a
//! connection of its own, so that no commit waits for it.

use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// Pause between two checkpoints.
const PAUSE: Duration = Duration::from_millis(500);
/// The log size from which on a checkpoint is worth it.
const WORTH_BYTES: u64 = 4 << 20;
/// The log size from which on it waits for readers, to empty the log.
const URGENT_BYTES: u64 = 64 << 20;

pub(super) struct Checkpointer {
    ended: Arc<AtomicBool>,
    thread: Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    /// `failing` says whether the last write failed. Then emptying the log frees space on the disk.
    pub(super) fn start(path: PathBuf, failing: Arc<AtomicBool>) -> Checkpointer {
        let ended = Arc::new(AtomicBool::new(false));
        let handle = std::thread::spawn({
            let ended = ended.clone();
            move || run(&path, &ended, &failing)
        });
        Checkpointer { ended, thread: handle.thread().clone(), handle: Mutex::new(Some(handle)) }
    }

    /// The thread to unpark after a commit.
    pub(super) fn waker(&self) -> Thread {
        self.thread.clone()
    }

    /// Makes a full checkpoint and ends the thread. Blocks.
    pub(super) fn close(&self) {
        self.ended.store(true, Ordering::Release);
        self.thread.unpark();
        if let Some(handle) = self.handle.lock().take() {
            let _ = handle.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(path: &Path, ended: &AtomicBool, failing: &AtomicBool) {
    let log = log_of(path);
    let mut connection = None;
    loop {
        // The pause may have used up the wake-up that announces the end.
        if !ended.load(Ordering::Acquire) {
            std::thread::park();
        }
        if ended.load(Ordering::Acquire) {
            checkpoint(&mut connection, path, "TRUNCATE");
            return;
        }
        let bytes = std::fs::metadata(&log).map_or(0, |data| data.len());
        if bytes >= URGENT_BYTES || (bytes > 0 && failing.load(Ordering::Relaxed)) {
            checkpoint(&mut connection, path, "TRUNCATE");
        } else if bytes >= WORTH_BYTES {
            checkpoint(&mut connection, path, "PASSIVE");
        }
        std::thread::park_timeout(PAUSE);
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}

fn checkpoint(connection: &mut Option<Connection>, path: &Path, mode: &str) {
    if connection.is_none() {
        *connection = Connection::open(path).ok();
    }
    let Some(open) = connection else { return };
    // A reader of an older page may block it; the next round continues.
    let done = open
        .busy_timeout(Duration::from_secs(1))
        .and_then(|()| open.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())));
    if let Err(error) = done {
        tracing::warn!(%error, "the checkpoint failed");
        *connection = None;
    }
}
