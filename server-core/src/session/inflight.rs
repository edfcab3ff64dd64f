//! How many ops of a connection may be unanswered.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The unanswered ops of a connection.
pub(crate) struct Inflight {
    most: usize,
    most_bytes: usize,
    ops: AtomicUsize,
    bytes: AtomicUsize,
}

impl Inflight {
    pub(super) fn new(most: usize, most_bytes: usize) -> Inflight {
        Inflight { most, most_bytes, ops: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Counts one more op; false if there are too many. Only the connection's own session calls it,
    /// so checking and adding need not be atomic.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let fits = self.ops.load(Ordering::Acquire) < self.most
            && self.bytes.load(Ordering::Acquire) + bytes <= self.most_bytes;
        if fits {
            self.ops.fetch_add(1, Ordering::AcqRel);
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        fits
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.ops.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}
