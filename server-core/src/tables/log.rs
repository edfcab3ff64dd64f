//! What the source has told: its epoch, how far it is, and its newest commits. All tables read it,
//! each under its own lock; nothing is worked out while this one is held.

use super::limits::TableLimits;
use super::ring::{Logged, Next, Ring};
use super::{Commit, Seen};
use std::sync::Arc;
use tidewire_core::Time;

/// The stream of commits.
pub(super) struct Log {
    /// Names this life of the source; none before it has told.
    pub(super) epoch: Option<Arc<str>>,
    /// Up to where the source has told.
    pub(super) head: u64,
    pub(super) ring: Ring,
    now: Time,
    /// Snapshots that were asked for and have not been answered.
    snapshots: usize,
}

impl Log {
    pub(super) fn new(limits: &TableLimits) -> Log {
        let ring = Ring::new(limits.log_commits, limits.log_bytes, limits.log_ms);
        Log { epoch: None, head: 0, ring, now: Time::default(), snapshots: 0 }
    }

    /// Whether the source goes on with what is here: the same epoch, and a position within it.
    pub(super) fn goes_on(&self, epoch: &str, position: u64) -> bool {
        let within = position <= self.head && position >= self.ring.floor();
        self.epoch.as_deref() == Some(epoch) && within
    }

    /// Begins anew at a position.
    pub(super) fn restart(&mut self, epoch: Arc<str>, position: u64, unseen: &[u64]) {
        self.epoch = Some(epoch);
        self.head = position;
        self.ring.restart(position, unseen);
    }

    /// Adds a commit; none if the source said it again, as after a new connection to its database.
    pub(super) fn push(&mut self, commit: Commit) -> Option<Arc<Logged>> {
        if commit.position <= self.head {
            return None;
        }
        let before = std::mem::replace(&mut self.head, commit.position);
        Some(self.ring.push(commit, before, self.now))
    }

    /// The next commit for a table that has all before this number, and what goes with it.
    pub(super) fn next(&self, seq: u64) -> (Next, Standing) {
        (self.ring.get(seq), self.standing())
    }

    /// How the log stands.
    pub(super) fn standing(&self) -> Standing {
        Standing { head: self.head, floor: self.ring.floor(), end: self.ring.end() }
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        self.ring.trim(now);
    }

    /// A snapshot was asked for.
    pub(super) fn snapshot_requested(&mut self) {
        self.snapshots += 1;
    }

    /// A snapshot was answered, or nobody waits for it any more.
    pub(super) fn snapshot_finished(&mut self) {
        self.snapshots = self.snapshots.saturating_sub(1);
    }

    /// Whether a snapshot lacks something that the log does not bring either. What this one shows,
    /// later ones show too, so that is forgotten.
    pub(super) fn is_missed(&mut self, seen: &Seen) -> bool {
        let missed = self.ring.is_missed(seen);
        // Others that were asked for may be older than this one.
        if self.snapshots == 0 {
            self.ring.saw(seen);
        }
        missed
    }
}

/// How the log stands at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Up to where the source has told.
    pub(super) head: u64,
    /// Every commit after this position is in the log.
    pub(super) floor: u64,
    /// The number of the next commit.
    pub(super) end: u64,
}
