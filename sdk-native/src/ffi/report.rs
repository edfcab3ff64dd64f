//! The report and the metrics of a client, as records.

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

/// How much a client has done since it was made.
#[derive(uniffi::Record)]
pub struct Metrics {
    /// When these numbers were read, by the wall clock, ms since the Unix epoch.
    pub at_ms: i64,
    /// When the client was made.
    pub since_ms: i64,
    /// Connections that were welcomed.
    pub connections: i64,
    /// Sessions after the first one.
    pub reconnects: i64,
    /// Ops not yet acknowledged.
    pub waiting: i64,
    /// Messages received. A message may hold several frames.
    pub received: i64,
    /// Messages sent.
    pub sent: i64,
    /// Messages received in a second, on average over the last ten.
    pub received_per_second: f64,
    /// Messages sent in a second, on average over the last ten.
    pub sent_per_second: f64,
    /// Time from sending to the answer, in ms, of ops and pings: an average in which the latest
    /// count most. None until something was answered.
    pub latency_ms: Option<i64>,
}

impl From<tidewire_core::Metrics> for Metrics {
    fn from(metrics: tidewire_core::Metrics) -> Metrics {
        Metrics {
            at_ms: metrics.at.cast_signed(),
            since_ms: metrics.since.cast_signed(),
            connections: metrics.connections.cast_signed(),
            reconnects: metrics.reconnects.cast_signed(),
            waiting: metrics.waiting.cast_signed(),
            received: metrics.received.cast_signed(),
            sent: metrics.sent.cast_signed(),
            received_per_second: metrics.received_per_second(),
            sent_per_second: metrics.sent_per_second(),
            latency_ms: metrics.latency_ms.map(u64::cast_signed),
        }
    }
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
