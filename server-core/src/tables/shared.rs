//! What all tables share.

use super::directory::Directory;
use super::limits::TableLimits;
use super::log::Log;
use crate::lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What all tables share. These locks may be taken under the lock of a table, never the other way
/// round, and are released at once.
pub(super) struct Shared {
    pub(super) limits: TableLimits,
    pub(super) log: Mutex<Log>,
    pub(super) directory: Mutex<Directory>,
    /// Bytes of snapshots that are being sent.
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

    /// A new id, unique among all tables, as feeds are named by it.
    pub(super) fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The newest id. Reading it under a table's lock orders it with ids that were made under that
    /// lock.
    pub(super) fn newest_id(&self) -> u64 {
        self.ids.load(Ordering::Relaxed)
    }
}
