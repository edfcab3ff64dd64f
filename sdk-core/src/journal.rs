//! The client's recent history and counters, for diagnosing problems.

/// How many entries are kept.
const ENTRIES: usize = 200;

/// One entry. Entries never hold a token or the text of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it happened, by the wall clock, ms since the Unix epoch.
    pub at: u64,
    /// The kind: `state`, `closed`, `asleep`, `goaway`, `transport`, `handover`, `repair`, `reset`,
    /// `refused`, `unreadable`, `op_failed` or `storage`.
    pub what: &'static str,
    /// The state, code or channel that the entry is about.
    pub about: String,
    /// How often it happened in a row. For `closed`: the close code. For `asleep`: how long, in ms.
    pub number: u64,
}

/// Counters since the client was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sessions after the first one.
    pub reconnects: u64,
    /// Ops that were sent again because their answer was lost.
    pub resent: u64,
    /// Events that came twice; the second one was dropped.
    pub duplicated: u64,
    /// Gaps in the events that were noticed and filled.
    pub repaired: u64,
    /// Events that a reset skipped, because the server no longer had them or there were too many.
    /// The application got an event each time.
    pub lost: u64,
    /// Events that could not be read; their rows are `unreadable`.
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
    entries: Vec<Entry>,
    pub(crate) counters: Counters,
}

impl Journal {
    /// Adds an entry, or increments the last one if it is equal.
    pub(crate) fn note(&mut self, at: u64, what: &'static str, about: &str, number: u64) {
        if let Some(last) = self.entries.last_mut()
            && number == 1
            && (last.what, last.about.as_str()) == (what, about)
        {
            last.number += 1;
            last.at = at;
            return;
        }
        if self.entries.len() == ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(Entry { at, what, about: about.to_owned(), number });
    }

    pub(crate) fn report(&self, waiting: u64) -> Report {
        let counters = Counters { waiting, ..self.counters };
        Report { entries: self.entries.clone(), counters }
    }
}
