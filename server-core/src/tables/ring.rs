//! The source's newest commits, numbered without gaps. Each table reads them from here at its own
//! pace.

use super::{Cell, Change, Commit, Seen};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tidewire_core::Time;

/// Most transactions that are remembered because a snapshot may lack them.
const MOST_UNSEEN: usize = 100_000;

/// A commit in the log.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) commit: Commit,
    /// Sequence number, from 0 on.
    pub(super) seq: u64,
    /// The stream's position before it.
    pub(super) before: u64,
    /// The tables that it changes, and roughly the bytes of each table's changes.
    tables: Vec<(usize, usize)>,
    bytes: usize,
    at: Time,
}

impl Logged {
    /// Roughly the bytes of its changes to a table; 0 if there are none.
    pub(super) fn bytes_of(&self, table: usize) -> usize {
        self.tables.iter().find(|(of, _)| *of == table).map_or(0, |(_, bytes)| *bytes)
    }
}

/// What comes next for a table.
#[derive(Debug)]
pub(super) enum Next {
    Commit(Arc<Logged>),
    /// There is no further commit.
    Nothing,
    /// The log no longer has the commit. It begins with this sequence number.
    Gone(u64),
}

/// The commits, limited in number, bytes and age.
#[derive(Debug)]
pub(super) struct Ring {
    commits: VecDeque<Arc<Logged>>,
    /// The sequence number of the first commit.
    first: u64,
    by_tx: BTreeMap<String, u64>,
    bytes: usize,
    /// Every commit after this position is in the log.
    floor: u64,
    /// Transactions that may have been committed up to `floor` without being in every snapshot. A
    /// database logs a commit before it becomes visible, long before if it waits for a standby.
    unseen: BTreeSet<u64>,
    most_commits: usize,
    most_bytes: usize,
    most_ms: u64,
}

impl Ring {
    pub(super) fn new(most_commits: usize, most_bytes: usize, most_ms: u64) -> Ring {
        let (commits, by_tx, unseen) = (VecDeque::new(), BTreeMap::new(), BTreeSet::new());
        Ring { commits, first: 0, by_tx, bytes: 0, floor: 0, unseen, most_commits, most_bytes, most_ms }
    }

    /// Empties the log and begins at a position. Snapshots may lack these transactions, which were
    /// committed up to it.
    pub(super) fn restart(&mut self, position: u64, unseen: &[u64]) {
        self.first = self.end();
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

    /// Everything after this position is needed if the server restarts, so the source must keep it.
    pub(super) fn oldest(&self, head: u64) -> u64 {
        self.commits.front().map_or(head, |first| first.before)
    }

    /// The sequence number of the next commit.
    pub(super) fn end(&self) -> u64 {
        self.first + self.commits.len() as u64
    }

    /// The commit with a sequence number.
    pub(super) fn get(&self, seq: u64) -> Next {
        let Some(at) = seq.checked_sub(self.first) else { return Next::Gone(self.first) };
        let logged = usize::try_from(at).ok().and_then(|at| self.commits.get(at));
        logged.map_or(Next::Nothing, |logged| Next::Commit(logged.clone()))
    }

    pub(super) fn push(&mut self, commit: Commit, before: u64, now: Time) -> Arc<Logged> {
        let seq = self.end();
        let (tables, bytes) = sizes(&commit);
        self.bytes += bytes;
        self.by_tx.insert(commit.tx.clone(), commit.position);
        if let Some(xid) = commit.xid {
            self.unseen.remove(&xid);
        }
        let logged = Arc::new(Logged { commit, seq, before, tables, bytes, at: now });
        self.commits.push_back(logged.clone());
        self.trim(now);
        logged
    }

    /// Removes the oldest commits while there are too many or they are too old.
    pub(super) fn trim(&mut self, now: Time) {
        while let Some(first) = self.commits.front() {
            let too_much = self.commits.len() > self.most_commits || self.bytes > self.most_bytes;
            if !too_much && now.since(first.at) <= self.most_ms {
                break;
            }
            let Some(first) = self.commits.pop_front() else { break };
            self.first += 1;
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

    /// Whether a commit is neither in the snapshot nor in the log.
    pub(super) fn is_missed(&self, seen: &Seen) -> bool {
        match seen {
            Seen::UpTo(_) => false,
            Seen::Transactions { xmax, running, .. } => {
                self.unseen.range(*xmax..).next().is_some()
                    || running.iter().any(|xid| self.unseen.contains(xid))
            }
        }
    }

    /// Every later snapshot contains what this one contains, so that can be forgotten.
    pub(super) fn saw(&mut self, seen: &Seen) {
        if let Seen::Transactions { xmin, .. } = seen {
            self.unseen = self.unseen.split_off(xmin);
        }
    }

    /// The position of a transaction that is in the log.
    pub(super) fn position_of(&self, tx: &str) -> Option<u64> {
        self.by_tx.get(tx).copied()
    }
}

/// Roughly the bytes that a commit takes in memory: the changes of each table, and everything.
fn sizes(commit: &Commit) -> (Vec<(usize, usize)>, usize) {
    let cell = |cell: &Cell| match cell {
        Cell::Text(text) | Cell::Foreign(text) => size_of::<Cell>() + text.len(),
        Cell::Null | Cell::Unchanged => size_of::<Cell>(),
    };
    let mut tables: Vec<(usize, usize)> = Vec::new();
    for change in &commit.changes {
        let bytes = match change {
            Change::Row { old, new, .. } => {
                let rows = [old, new].into_iter().flatten();
                size_of::<Change>() + rows.flat_map(|row| row.iter()).map(cell).sum::<usize>()
            }
            Change::Lost { .. } => size_of::<Change>(),
        };
        match tables.iter_mut().find(|(table, _)| *table == change.table()) {
            Some((_, sum)) => *sum += bytes,
            None => tables.push((change.table(), bytes)),
        }
    }
    let changes: usize = tables.iter().map(|(_, bytes)| bytes).sum();
    let rest = size_of::<Logged>() + 2 * commit.tx.len() + commit.places.len() * size_of::<u64>();
    (tables, rest + changes)
}
