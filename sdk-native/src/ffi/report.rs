//! The report of a client, as records.

/// The last entries, oldest first, and the counters.
#[derive(uniffi::Record)]
pub struct Report {
    /// At most 200.
    pub entries: Vec<Entry>,
    /// Since the client was made.
    pub counters: Counters,
}

/// One entry.
#[derive(uniffi::Record)]
pub struct Entry {
    /// When it happened, by the wall clock, ms since the Unix epoch.
    pub at_ms: i64,
    /// `state`, `closed`, `asleep`, `goaway`, `repair`, `reset`, `op_failed` or `storage`.
    pub what: String,
    /// The state, code or channel that the entry is about.
    pub about: String,
    /// How often it happened in a row. For `closed`: the close code. For `asleep`: how long, in ms.
    pub number: i64,
}

/// Counters since the client was made.
#[derive(uniffi::Record)]
pub struct Counters {
    /// Sessions after the first one.
    pub reconnects: i64,
    /// Ops that were sent again because their answer was lost.
    pub resent: i64,
    /// Events that came twice; the second one was dropped.
    pub duplicated: i64,
    /// Gaps in the events that were noticed and filled.
    pub repaired: i64,
    /// Events that a reset skipped.
    pub lost: i64,
    /// Events that could not be read.
    pub unreadable: i64,
    /// Ops not yet acknowledged.
    pub waiting: i64,
    /// From sending the last answered op to its answer, ms.
    pub round_trip_ms: i64,
}

impl From<tidewire_core::Report> for Report {
    fn from(report: tidewire_core::Report) -> Report {
        Report {
            entries: report.entries.into_iter().map(Entry::from).collect(),
            counters: report.counters.into(),
        }
    }
}

impl From<tidewire_core::Entry> for Entry {
    fn from(entry: tidewire_core::Entry) -> Entry {
        Entry {
            at_ms: entry.at.cast_signed(),
            what: entry.what.to_owned(),
            about: entry.about,
            number: entry.number.cast_signed(),
        }
    }
}

impl From<tidewire_core::Counters> for Counters {
    fn from(counters: tidewire_core::Counters) -> Counters {
        Counters {
            reconnects: counters.reconnects.cast_signed(),
            resent: counters.resent.cast_signed(),
            duplicated: counters.duplicated.cast_signed(),
            repaired: counters.repaired.cast_signed(),
            lost: counters.lost.cast_signed(),
            unreadable: counters.unreadable.cast_signed(),
            waiting: counters.waiting.cast_signed(),
            round_trip_ms: counters.round_trip_ms.cast_signed(),
        }
    }
}
