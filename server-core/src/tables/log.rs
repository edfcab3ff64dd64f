//! The log that all tables share: the source's epoch and position, and its newest commits. Its lock
//! is held only for short look-ups.

use super::limits::TableLimits;
use super::ring::{Logged, Next, Ring};
use super::{Commit, Seen};
use std::sync::Arc;
use tidewire_core::Time;

/// The source's stream of commits.
pub(super) struct Log {
    /// The source's epoch; `None` before the first restart.
    pub(super) epoch: Option<Arc<str>>,
    /// The position up to which the source has published everything.
    pub(super) head: u64,
    pub(super) ring: Ring,
    now: Time,
    /// The number of pending snapshot requests.
    snapshots: usize,
}

impl Log {
    pub(super) fn new(limits: &TableLimits) -> Log {
        let ring = Ring::new(limits.log_commits, limits.log_bytes, limits.log_ms);
        Log { epoch: None, head: 0, ring, now: Time::default(), snapshots: 0 }
    }

    /// Whether the source continues what is here: the same epoch, and a position within the log.
    pub(super) fn goes_on(&self, epoch: &str, position: u64) -> bool {
        let within = position <= self.head && position >= self.ring.floor();
        self.epoch.as_deref() == Some(epoch) && within
    }

    /// Begins a new epoch at a position.
    pub(super) fn restart(&mut self, epoch: Arc<str>, position: u64, unseen: &[u64]) {
        self.epoch = Some(epoch);
        self.head = position;
        self.ring.restart(position, unseen);
    }

    /// Adds a commit; `None` if it is here already, as after the source connected to its database
    /// again.
    pub(super) fn push(&mut self, commit: Commit) -> Option<Arc<Logged>> {
        if commit.position <= self.head {
            return None;
        }
        let before = std::mem::replace(&mut self.head, commit.position);
        Some(self.ring.push(commit, before, self.now))
    }

    /// The commit with this sequence number, and the log's standing.
    pub(super) fn next(&self, seq: u64) -> (Next, Standing) {
        (self.ring.get(seq), self.standing())
    }

    /// The log's standing.
    pub(super) fn standing(&self) -> Standing {
        Standing { head: self.head, floor: self.ring.floor(), end: self.ring.end() }
    }

    /// Notes the time, and removes commits that are too old.
    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        self.ring.trim(now);
    }

    /// Counts a snapshot request.
    pub(super) fn snapshot_requested(&mut self) {
        self.snapshots += 1;
    }

    /// Counts a snapshot request as finished: it was answered, or is no longer needed.
    pub(super) fn snapshot_finished(&mut self) {
        self.snapshots = self.snapshots.saturating_sub(1);
    }

    /// Whether a commit is neither in this snapshot nor in the log.
    ///
    /// If no other snapshot is pending, what this one contains is forgotten, as later ones contain
    /// it too.
    pub(super) fn is_missed(&mut self, seen: &Seen) -> bool {
        let missed = self.ring.is_missed(seen);
        // A pending snapshot may be older than this one.
        if self.snapshots == 0 {
            self.ring.saw(seen);
        }
        missed
    }
}

/// The log's positions and sequence number at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The position up to which the source has published everything.
    pub(super) head: u64,
    /// Every commit after this position is in the log.
    pub(super) floor: u64,
    /// The sequence number of the next commit.
    pub(super) end: u64,
}
