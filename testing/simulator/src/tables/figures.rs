//! What scenarios showed.

use std::collections::BTreeMap;

/// What happened in scenarios.
#[derive(Debug, Clone, Default)]
pub struct TableFigures {
    /// Scenarios.
    pub scenarios: u64,
    /// Transactions of the database.
    pub commits: u64,
    /// Changes told to applications.
    pub changes: u64,
    /// How often each thing worth happening happened.
    pub marks: BTreeMap<String, u64>,
}

impl TableFigures {
    /// Adds another's.
    pub fn merge(&mut self, other: &TableFigures) {
        self.scenarios += other.scenarios;
        self.commits += other.commits;
        self.changes += other.changes;
        for (mark, count) in &other.marks {
            *self.marks.entry(mark.clone()).or_default() += count;
        }
    }

    pub(crate) fn mark(&mut self, mark: &str) {
        match self.marks.get_mut(mark) {
            Some(count) => *count += 1,
            None => drop(self.marks.insert(mark.to_owned(), 1)),
        }
    }

    /// What must happen in many scenarios, and did not.
    pub fn never(&self) -> Vec<&'static str> {
        MUST.iter().copied().filter(|mark| !self.marks.contains_key(*mark)).collect()
    }
}

const MUST: &[&str] = &[
    "cut",
    "crash",
    "server_crash",
    "slot_lost",
    "claim",
    "slow",
    "snapshot_fails",
    "tbl.ok:resumed",
    "tbl.ok:snapshot",
    "tbl.ok:epoch",
    "tbl.ok:trimmed",
    "tbl.ok:changed",
    "tbl.reset:truncated",
    "tbl.reset:epoch",
    "tbl.reset:access",
    "tbl.reset:missed",
    "tbl.tx:sid",
    "tbl.tx:feed",
    "tbl.tx:several",
    "tbl.page",
    "tbl.mark",
    "tbl.live",
    "tbl.seen",
    "why:commit",
    "why:moved_in",
    "why:moved_out",
    "why:resync",
    "behind again",
    "restored",
];
