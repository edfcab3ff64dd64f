//! What all tables share.

use super::directory::Directory;
use super::limits::TableLimits;
use super::log::Log;
use crate::lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What all tables share. Whoever holds the lock of a table may take one of these, never the other
/// way round, and gives it back at once.
pub(super) struct Shared {
    pub(super) limits: TableLimits,
    pub(super) log: Mutex<Log>,
    pub(super) directory: Mutex<Directory>,
    /// Bytes of snapshots that clients are reading.
    pub(super) held: Arc<AtomicUsize>,
    ids: AtomicU64,
}

impl Shared {
    pub(super) fn new(limits: TableLimits) -> Shared {
        Shared {
            log: Mutex::new(Log::new(&limits)),
            directory: Mutex::default(),
            limits,
            held: Arc::default(),
            ids: AtomicU64::new(0),
        }
    }

    /// One that was never given before: feeds of all tables go by it.
    pub(super) fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last one that was given. A table's lock orders it with the ids that were given under it.
    pub(super) fn newest_id(&self) -> u64 {
        self.ids.load(Ordering::Relaxed)
    }
}
