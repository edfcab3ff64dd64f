//! What happened to a client lately, for whoever has to find out why.

use std::collections::VecDeque;

/// Most entries kept.
const ENTRIES: usize = 200;

/// One thing that happened. No entry holds a token or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, by the wall clock, ms since the Unix epoch.
    pub at: u64,
    /// What: `state`, `closed`, `asleep`, `goaway`, `transport`, `handover`, `repair`, `reset`,
    /// `refused`, `unreadable`, `op_failed` or `storage`.
    pub what: &'static str,
    /// The state, code or channel it is about.
    pub about: String,
    /// How often it happened in a row; of `closed` the close code, of `asleep` how many ms.
    pub number: u64,
}

/// Counters since the client was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Welcomes after the first.
    pub reconnects: u64,
    /// Ops that were sent again because their answer was lost.
    pub resent: u64,
    /// Events that came a second time and were dropped.
    pub duplicated: u64,
    /// Gaps that were noticed and asked for.
    pub repaired: u64,
    /// Events that a reset skipped: the server no longer had them, or they were too many. Each time
    /// the application was told.
    pub lost: u64,
    /// Events that could not be read, and stand in their dialog as such.
    pub unreadable: u64,
    /// Ops not yet acknowledged.
    pub waiting: u64,
    /// From sending the last answered op to its answer, ms.
    pub round_trip_ms: u64,
}

/// The last entries, oldest first, and the counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// At most 200.
    pub entries: Vec<Entry>,
    /// Since the client was made.
    pub counters: Counters,
}

#[derive(Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    pub(crate) counters: Counters,
}

impl Journal {
    /// Adds an entry, or counts the last one up if it says the same.
    pub(crate) fn note(&mut self, at: u64, what: &'static str, about: &str, number: u64) {
        if let Some(last) = self.entries.back_mut()
            && number == 1
            && (last.what, last.about.as_str()) == (what, about)
        {
            last.number += 1;
            last.at = at;
            return;
        }
        if self.entries.len() == ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { at, what, about: about.to_owned(), number });
    }

    pub(crate) fn report(&self, waiting: u64) -> Report {
        let counters = Counters { waiting, ..self.counters };
        Report { entries: self.entries.iter().cloned().collect(), counters }
    }
}
