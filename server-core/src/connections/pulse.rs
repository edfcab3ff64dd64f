//! When a connection was made, last heard, and last used by its user.

use std::sync::atomic::{AtomicU64, Ordering};
use tidewire_core::{Now, Time};

/// The times of a connection. Its session sets them, and the registry reads them.
pub(crate) struct Pulse {
    opened: Now,
    heard: AtomicU64,
    acted: AtomicU64,
}

impl Pulse {
    /// A connection that is made now.
    pub(crate) fn new(now: Now) -> Pulse {
        let at = || AtomicU64::new(now.mono.0);
        Pulse { opened: now, heard: at(), acted: at() }
    }

    /// When it was made.
    pub(crate) fn opened(&self) -> Now {
        self.opened
    }

    /// When the last byte came.
    pub(crate) fn heard(&self) -> Time {
        Time(self.heard.load(Ordering::Relaxed))
    }

    /// Notes that a byte came.
    pub(crate) fn hears(&self, at: Time) {
        self.heard.fetch_max(at.0, Ordering::Relaxed);
    }

    /// When its user last did something.
    pub(crate) fn acted(&self) -> Time {
        Time(self.acted.load(Ordering::Relaxed))
    }

    /// Notes that its user did something.
    pub(crate) fn acts(&self, at: Time) {
        self.acted.fetch_max(at.0, Ordering::Relaxed);
    }

    /// A time of the monotonic clock by the wall clock, in ms since the Unix epoch.
    pub(crate) fn wall(at: Time, now: Now) -> u64 {
        now.wall.saturating_sub(now.mono.since(at))
    }
}
