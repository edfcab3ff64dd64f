//! How much a client does, in numbers.

use crate::time::{Now, Time};

/// Over how many seconds messages are counted for their rate.
const SECONDS: usize = 10;

/// How much a client has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// When these numbers were read, by the wall clock, ms since the Unix epoch.
    pub at: u64,
    /// When the client was made, by the wall clock, ms since the Unix epoch.
    pub since: u64,
    /// Connections that were welcomed.
    pub connections: u64,
    /// Sessions after the first one. A connection that takes over from one that still works is no
    /// new session.
    pub reconnects: u64,
    /// Ops not yet acknowledged.
    pub waiting: u64,
    /// Messages received. A message may hold several frames.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received within the last 10 s.
    pub received_10s: u64,
    /// Messages sent within the last 10 s.
    pub sent_10s: u64,
    /// Time from sending to the answer, in ms, of ops and pings: an average in which the latest
    /// count most (RFC 6298 section 2). `None` until something was answered.
    pub latency_ms: Option<u64>,
}

impl Metrics {
    /// Messages received in a second, on average over the last ten.
    pub fn received_per_second(&self) -> f64 {
        per_second(self.received_10s)
    }

    /// Messages sent in a second, on average over the last ten.
    pub fn sent_per_second(&self) -> f64 {
        per_second(self.sent_10s)
    }
}

/// Counts for [`Metrics`].
pub(crate) struct Meter {
    since: u64,
    connections: u64,
    received: Flow,
    sent: Flow,
    /// Eight times the latency.
    latency: Option<u64>,
}

/// Messages in one direction.
#[derive(Default)]
struct Flow {
    total: u64,
    /// The last seconds in which there were messages, each at its number modulo [`SECONDS`].
    seconds: [(u64, u64); SECONDS],
}

impl Meter {
    pub(crate) fn new(now: Now) -> Meter {
        let (received, sent) = (Flow::default(), Flow::default());
        Meter { since: now.wall, connections: 0, received, sent, latency: None }
    }

    pub(crate) fn connected(&mut self) {
        self.connections += 1;
    }

    pub(crate) fn received(&mut self, at: Time) {
        self.received.count(at);
    }

    pub(crate) fn sent(&mut self, at: Time) {
        self.sent.count(at);
    }

    /// An op or a ping was answered after so many ms.
    pub(crate) fn answered(&mut self, after_ms: u64) {
        let smoothed = self
            .latency
            .map_or(after_ms.saturating_mul(8), |latency| (latency - latency / 8).saturating_add(after_ms));
        self.latency = Some(smoothed);
    }

    pub(crate) fn read(&self, now: Now, reconnects: u64, waiting: u64) -> Metrics {
        Metrics {
            at: now.wall,
            since: self.since,
            connections: self.connections,
            reconnects,
            waiting,
            received: self.received.total,
            sent: self.sent.total,
            received_10s: self.received.recent(now.mono),
            sent_10s: self.sent.recent(now.mono),
            latency_ms: self.latency.map(|latency| latency / 8),
        }
    }
}

impl Flow {
    fn count(&mut self, at: Time) {
        self.total += 1;
        let second = second(at);
        let slot = &mut self.seconds[(second % SECONDS as u64) as usize];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += 1;
    }

    fn recent(&self, at: Time) -> u64 {
        let since = second(at).saturating_sub(SECONDS as u64);
        self.seconds.iter().filter(|(second, _)| *second > since).map(|(_, number)| number).sum()
    }
}

fn per_second(in_10s: u64) -> f64 {
    // A number of messages within ten seconds is far below the limit of exact numbers.
    u32::try_from(in_10s).map_or(f64::MAX, f64::from) / 10.0
}

/// The number of a second. Slots that were never used have the number 0, which is always long ago.
fn second(at: Time) -> u64 {
    at.0 / 1_000 + SECONDS as u64
}
