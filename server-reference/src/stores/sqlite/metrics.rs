//! What the writer counts.

use std::time::Duration;
use tidewire_server_core::metrics::{Counter, Histogram};

/// Bounds of a commit's size, in writes.
const WRITES: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];
/// Bounds of a commit's time, in microseconds.
const MICROS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// What the writer counts.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    /// Writes of each commit.
    pub(crate) writes: Histogram,
    /// Time of each commit, in microseconds.
    pub(crate) micros: Histogram,
    /// Commits that failed.
    pub(crate) failed: Counter,
    /// Writes that were refused because too many waited.
    pub(crate) refused: Counter,
}

impl Default for StoreMetrics {
    fn default() -> StoreMetrics {
        StoreMetrics {
            writes: Histogram::new(WRITES),
            micros: Histogram::new(MICROS),
            failed: Counter::default(),
            refused: Counter::default(),
        }
    }
}

impl StoreMetrics {
    /// A commit of so many writes took this long.
    pub(super) fn committed(&self, writes: usize, took: Duration) {
        self.writes.observe(writes as u64);
        self.micros.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}
