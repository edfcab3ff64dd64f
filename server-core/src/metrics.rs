//! Counters of a server: each only rises, and is counted where the decision is made. They have no
//! names of users or channels, so their number does not grow.

use std::sync::atomic::{AtomicU64, Ordering};
use tidewire_core::wire::codes::{self, close};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds a number.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each stable code, and one for all other texts.
#[derive(Debug)]
pub struct ByCode {
    /// In the order of [`codes::ALL`]; the last one is for other texts.
    counters: Vec<Counter>,
}

impl Default for ByCode {
    fn default() -> ByCode {
        ByCode {
            counters: codes::ALL.iter().map(|_| Counter::default()).chain([Counter::default()]).collect(),
        }
    }
}

impl ByCode {
    /// Adds one to the code's counter.
    pub fn count(&self, code: &str) {
        let at = codes::ALL.iter().position(|known| *known == code).unwrap_or(codes::ALL.len());
        if let Some(counter) = self.counters.get(at) {
            counter.count();
        }
    }

    /// The codes that were counted, with their numbers. Other texts are `other`.
    pub fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = codes::ALL.iter().copied().chain(["other"]);
        names.zip(self.counters.iter().map(Counter::get)).filter(|(_, number)| *number > 0)
    }
}

/// A counter for each close code of the protocol, and one for connections that ended without one of
/// the server's: the client closed them, or they were lost.
#[derive(Debug, Default)]
pub struct ByClose {
    /// In the order of [`close::ALL`].
    counters: [Counter; close::ALL.len()],
    without: Counter,
}

impl ByClose {
    /// Adds one to the code's counter. `None` is for a connection that ended without a close of the
    /// server's.
    pub(crate) fn count(&self, code: Option<u16>) {
        let at = close::ALL.iter().position(|known| Some(*known) == code);
        at.and_then(|at| self.counters.get(at)).unwrap_or(&self.without).count();
    }

    /// Each close code with its number; `None` is for those that ended without one.
    pub fn counted(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let known = close::ALL.iter().map(|code| Some(*code)).zip(self.counters.iter().map(Counter::get));
        known.chain([(None, self.without.get())])
    }
}

/// How often values up to each of some bounds came.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for greater values.
    counters: Vec<Counter>,
    sum: Counter,
}

impl Histogram {
    /// A histogram with these upper bounds, which rise.
    pub fn new(bounds: &'static [u64]) -> Histogram {
        let counters = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Histogram { bounds, counters, sum: Counter::default() }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(counter) = self.counters.get(at) {
            counter.count();
        }
        self.sum.add(value);
    }

    /// Each bound with the number of values up to it; `None` is for all values.
    pub fn cumulated(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let mut total = 0;
        bounds.zip(&self.counters).map(move |(bound, counter)| {
            total += counter.get();
            (bound, total)
        })
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// What connections have written.
#[derive(Debug, Default)]
pub struct Written {
    /// Messages; several frames may be one message.
    pub messages: Counter,
    /// Frames of channels: pages, events, pieces of answers and signals.
    pub of_channels: Counter,
    /// All other frames.
    pub others: Counter,
    /// Bytes of all messages.
    pub bytes: Counter,
}

/// The counters of a server.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that were registered.
    pub opened: Counter,
    /// Connections that ended, by close code.
    pub closed: ByClose,
    /// Connections that were refused before their welcome, by code.
    pub refused: ByCode,
    /// Messages received.
    pub messages: Counter,
    /// Frames received.
    pub frames: Counter,
    /// Signals received that were passed on.
    pub signals: Counter,
    /// Ops that were committed.
    pub ops_accepted: Counter,
    /// Ops that were sent again and had been committed before.
    pub ops_repeated: Counter,
    /// Ops that were refused, by code.
    pub ops_refused: ByCode,
    /// What was written to clients.
    pub written: std::sync::Arc<Written>,
    /// Answers of the model that ended as `done`.
    pub runs_done: Counter,
    /// Answers that a user stopped.
    pub runs_stopped: Counter,
    /// Answers that the end of the server interrupted.
    pub runs_interrupted: Counter,
    /// Answers that ended with an error, by code.
    pub runs_failed: ByCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_a_value_at_its_bound_and_those_beyond_all_bounds() {
        let histogram = Histogram::new(&[1, 10]);
        for value in [0, 1, 2, 10, 11] {
            histogram.observe(value);
        }
        let all: Vec<_> = histogram.cumulated().collect();
        assert_eq!(all, [(Some(1), 2), (Some(10), 4), (None, 5)]);
        assert_eq!(histogram.sum(), 24);
    }

    #[test]
    fn codes_that_nobody_listed_are_counted_together() {
        let by_code = ByCode::default();
        for code in ["forbidden", "x", "y", "forbidden"] {
            by_code.count(code);
        }
        assert_eq!(by_code.counted().collect::<Vec<_>>(), [("forbidden", 2), ("other", 2)]);
        let by_close = ByClose::default();
        by_close.count(Some(close::KICKED));
        by_close.count(Some(4_999));
        by_close.count(None);
        let counted: Vec<_> = by_close.counted().filter(|(_, number)| *number > 0).collect();
        assert_eq!(counted, [(Some(close::KICKED), 1), (None, 2)]);
    }
}
