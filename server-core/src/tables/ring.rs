//! The newest commits, which all subscriptions share: who fell behind, or comes back, reads them
//! from here.

use super::{Cell, Change, Commit, Seen};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tidewire_core::Time;

/// Most transactions that are remembered because a snapshot may lack them.
const MOST_UNSEEN: usize = 100_000;

/// A commit among the newest.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) commit: Commit,
    /// Numbers commits and what else is sent to feeds, in their order.
    pub(super) number: u64,
    /// Where the stream stood before it.
    pub(super) before: u64,
    bytes: usize,
    at: Time,
}

impl Logged {
    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// At most so many commits, bytes and ms of them.
#[derive(Debug)]
pub(super) struct Ring {
    commits: VecDeque<Arc<Logged>>,
    by_tx: BTreeMap<String, u64>,
    bytes: usize,
    /// Every commit after this position is here.
    floor: u64,
    /// Transactions that may have been committed up to there, and that no snapshot may have seen
    /// yet. A database logs a commit before it shows it, long before if it waits for a standby.
    unseen: BTreeSet<u64>,
    most_commits: usize,
    most_bytes: usize,
    most_ms: u64,
}

impl Ring {
    pub(super) fn new(most_commits: usize, most_bytes: usize, most_ms: u64) -> Ring {
        let (commits, by_tx, unseen) = (VecDeque::new(), BTreeMap::new(), BTreeSet::new());
        Ring { commits, by_tx, bytes: 0, floor: 0, unseen, most_commits, most_bytes, most_ms }
    }

    /// Begins anew at a position. Of what was committed up to there, snapshots may lack these
    /// transactions.
    pub(super) fn restart(&mut self, position: u64, unseen: &[u64]) {
        self.commits.clear();
        self.by_tx.clear();
        (self.bytes, self.floor) = (0, position);
        self.unseen = unseen.iter().copied().collect();
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the source must keep: all after this is needed if the server starts again.
    pub(super) fn oldest(&self, head: u64) -> u64 {
        self.commits.front().map_or(head, |first| first.before)
    }

    pub(super) fn push(&mut self, commit: Commit, number: u64, before: u64, now: Time) -> Arc<Logged> {
        let bytes = size(&commit);
        self.bytes += bytes;
        self.by_tx.insert(commit.tx.clone(), commit.position);
        if let Some(xid) = commit.xid {
            self.unseen.remove(&xid);
        }
        let logged = Arc::new(Logged { commit, number, before, bytes, at: now });
        self.commits.push_back(logged.clone());
        self.trim(now);
        logged
    }

    /// Forgets what is too much, and what is too old.
    pub(super) fn trim(&mut self, now: Time) {
        while let Some(first) = self.commits.front() {
            let too_much = self.commits.len() > self.most_commits || self.bytes > self.most_bytes;
            if !too_much && now.since(first.at) <= self.most_ms {
                break;
            }
            let Some(first) = self.commits.pop_front() else { break };
            self.bytes -= first.bytes;
            self.floor = first.commit.position;
            if self.by_tx.get(&first.commit.tx) == Some(&first.commit.position) {
                self.by_tx.remove(&first.commit.tx);
            }
            self.unseen.extend(first.commit.xid);
            if self.unseen.len() > MOST_UNSEEN {
                self.unseen.pop_first();
            }
        }
    }

    /// Whether something is missing in a snapshot that the log does not bring either.
    pub(super) fn is_missed(&self, seen: &Seen) -> bool {
        match seen {
            Seen::UpTo(_) => false,
            Seen::Transactions { xmax, running, .. } => {
                self.unseen.range(*xmax..).next().is_some()
                    || running.iter().any(|xid| self.unseen.contains(xid))
            }
        }
    }

    /// No snapshot that is still to come was taken before this one.
    pub(super) fn saw(&mut self, seen: &Seen) {
        if let Seen::Transactions { xmin, .. } = seen {
            self.unseen = self.unseen.split_off(xmin);
        }
    }

    /// The commits of which something lies after a position.
    pub(super) fn after(&self, position: u64) -> impl Iterator<Item = &Logged> {
        let at = self.commits.partition_point(|logged| logged.commit.position <= position);
        self.commits.range(at..).map(AsRef::as_ref)
    }

    /// The same, to be read later.
    pub(super) fn logged_after(&self, position: u64) -> impl Iterator<Item = &Arc<Logged>> {
        let at = self.commits.partition_point(|logged| logged.commit.position <= position);
        self.commits.range(at..)
    }

    /// Where to begin reading after a snapshot: every commit up to there is in it.
    pub(super) fn behind(&self, seen: &Seen, head: u64) -> u64 {
        let first = self.commits.iter().find(|logged| !seen.contains(&logged.commit));
        match (seen, first) {
            (Seen::UpTo(position), _) => *position,
            (Seen::Transactions { .. }, Some(logged)) => logged.before.max(self.floor),
            (Seen::Transactions { .. }, None) => head,
        }
    }

    /// Where a transaction is, if it is here.
    pub(super) fn position_of(&self, tx: &str) -> Option<u64> {
        self.by_tx.get(tx).copied()
    }
}

/// About what a commit takes in memory, in bytes.
fn size(commit: &Commit) -> usize {
    let cell = |cell: &Cell| match cell {
        Cell::Text(text) | Cell::Foreign(text) => size_of::<Cell>() + text.len(),
        Cell::Null | Cell::Unchanged => size_of::<Cell>(),
    };
    let change = |change: &Change| match change {
        Change::Row { old, new, .. } => {
            let rows = [old, new].into_iter().flatten();
            size_of::<Change>() + rows.flat_map(|row| row.iter()).map(cell).sum::<usize>()
        }
        Change::Lost { .. } => size_of::<Change>(),
    };
    let changes: usize = commit.changes.iter().map(change).sum();
    size_of::<Logged>() + 2 * commit.tx.len() + commit.places.len() * size_of::<u64>() + changes
}
