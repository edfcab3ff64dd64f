//! The newest commits that a table's feeds have been sent. Subscriptions that catch up or resume
//! read them from here.

use super::Seen;
use super::ring::Logged;
use std::collections::VecDeque;
use std::sync::Arc;

/// A commit that changed the table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) logged: Arc<Logged>,
    /// See [`super::place`].
    pub(super) number: u64,
}

impl Entry {
    pub(super) fn position(&self) -> u64 {
        self.logged.commit.position
    }
}

/// The commits, in ascending order.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    floor: u64,
}

impl History {
    /// Empties the history and begins at a position.
    pub(super) fn restart(&mut self, position: u64) {
        self.entries.clear();
        self.floor = position;
    }

    /// Every commit after this position, up to the table's head, is here.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Removes commits that the log has removed.
    pub(super) fn trim(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while self.entries.front().is_some_and(|entry| entry.position() <= self.floor) {
            self.entries.pop_front();
        }
    }

    /// The commits of which something lies after a position.
    pub(super) fn after(&self, position: u64) -> impl Iterator<Item = &Entry> {
        let at = self.entries.partition_point(|entry| entry.position() <= position);
        self.entries.range(at..)
    }

    /// The position from which to read after a snapshot: it contains every commit up to there.
    pub(super) fn behind(&self, seen: &Seen, head: u64) -> u64 {
        let first = self.entries.iter().find(|entry| !seen.contains(&entry.logged.commit));
        match (seen, first) {
            (Seen::UpTo(position), _) => *position,
            (Seen::Transactions { .. }, Some(entry)) => entry.logged.before.max(self.floor),
            (Seen::Transactions { .. }, None) => head,
        }
    }
}
