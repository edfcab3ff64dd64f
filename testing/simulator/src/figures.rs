//! The figures of many runs.

use crate::run::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;

const YEAR_MS: f64 = 365.25 * 86_400_000.0;

/// Sums over runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Number of runs.
    pub seeds: u64,
    /// Virtual time for which clients ran, in years.
    pub client_years: f64,
    /// How often each fault struck.
    pub faults: BTreeMap<String, u64>,
    /// Runs in which an acknowledged op was not in the log, or an outbox lost an op.
    pub lost: u64,
    /// Runs in which an op or event was there twice.
    pub duplicated: u64,
    /// Runs in which ops were in another order than they were written.
    pub reordered: u64,
    /// Runs in which an offset was skipped, or a view went back, without a reset.
    pub gaps: u64,
    /// Runs that did not come to rest.
    pub stuck: u64,
    /// Runs that violated another guarantee.
    pub broken: u64,
    /// Runs that differed when they were repeated.
    pub nondeterministic: u64,
    /// Runs that were run twice.
    pub run_twice: u64,
    /// Events in all logs.
    pub events: u64,
    /// Acknowledged ops.
    pub acked: u64,
    /// How often each rare thing happened.
    pub marks: BTreeMap<String, u64>,
}

impl Figures {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.client_years += outcome.client_ms as f64 / YEAR_MS;
        self.events += outcome.events;
        self.acked += outcome.acked;
        for (name, count) in &outcome.faults {
            *self.faults.entry((*name).to_owned()).or_default() += count;
        }
        for (name, count) in &outcome.marks {
            *self.marks.entry(name.clone()).or_default() += count;
        }
        if let Some(broken) = &outcome.broken {
            *match broken.what.as_str() {
                "lost" | "S1" => &mut self.lost,
                "duplicated" => &mut self.duplicated,
                "reordered" => &mut self.reordered,
                "skipped" | "nonmonotonic" | "S5" | "S7" => &mut self.gaps,
                "stuck" | "L1" | "L2" | "L3" | "L5" => &mut self.stuck,
                _ => &mut self.broken,
            } += 1;
        }
    }

    /// Adds the sums of other runs.
    pub fn merge(&mut self, other: &Figures) {
        self.seeds += other.seeds;
        self.client_years += other.client_years;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.gaps += other.gaps;
        self.stuck += other.stuck;
        self.broken += other.broken;
        self.nondeterministic += other.nondeterministic;
        self.run_twice += other.run_twice;
        self.events += other.events;
        self.acked += other.acked;
        for (sums, more) in [(&mut self.faults, &other.faults), (&mut self.marks, &other.marks)] {
            for (name, count) in more {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// Whether every guarantee held.
    pub fn is_clean(&self) -> bool {
        self.lost
            + self.duplicated
            + self.reordered
            + self.gaps
            + self.stuck
            + self.broken
            + self.nondeterministic
            == 0
    }

    /// The expected things that never happened.
    pub fn never(&self) -> Vec<&'static str> {
        EXPECTED
            .iter()
            .copied()
            .filter(|name| !self.faults.contains_key(*name) && !self.marks.contains_key(*name))
            .collect()
    }

    /// The expected thing that happened least often.
    pub fn least(&self) -> Option<(&'static str, u64)> {
        let count = |name: &str| self.faults.get(name).or_else(|| self.marks.get(name)).copied().unwrap_or(0);
        EXPECTED.iter().copied().map(|name| (name, count(name))).min_by_key(|(_, count)| *count)
    }
}

/// Faults and rare branches, each of which enough seeds must reach.
const EXPECTED: [&str; 107] = [
    "lines_lost",
    "type",
    "hold",
    "hand",
    "handler:queued",
    "handler:operator",
    "handler:closed",
    "nack:handoff_conflict",
    "read",
    "marks:all",
    "marks:stored",
    "marks:kept",
    "people:gone",
    "people:typing",
    "people:list",
    "people:settles",
    "people:dropped",
    "cut",
    "half_open_up",
    "half_open_down",
    "half_open_both",
    "slow",
    "lag",
    "twice",
    "truncate",
    "miss_piece",
    "missed_piece",
    "block_sockets",
    "no_network",
    "other_network",
    "server_crash",
    "power_loss",
    "drain",
    "goaway",
    "server_disk_slow",
    "server_disk_full",
    "server_disk_fails",
    "server_disk_lies",
    "backup",
    "restored",
    "trim",
    "client_crash",
    "client_disk_slow",
    "client_disk_fails",
    "clock_jump",
    "suspend",
    "freeze",
    "hide",
    "token_expired",
    "token_refused",
    "no_token",
    "revoke",
    "tab_handover",
    "close",
    "leave",
    "transport:websocket",
    "transport:stream",
    "transport:long_poll",
    "transport:poll",
    "request_lost",
    "response_lost",
    "out_of_order",
    "sub:resumed",
    "sub:fresh",
    "sub:reset",
    "reset:epoch",
    "reset:trimmed",
    "told_reset:epoch",
    "told_reset:trimmed",
    "told_missed",
    "page",
    "piece",
    "done",
    "stopped",
    "interrupted",
    "ok",
    "ok:dup",
    "nack:blocked",
    "nack:rate_limited",
    "nack:storage_full",
    "nack:store_unavailable",
    "nack:forbidden",
    "nack:run_not_found",
    "failed:forbidden",
    "failed:expired",
    "sub_err:forbidden",
    "sub_err:too_many_connections",
    "channel_failed:forbidden",
    "error:token_expired",
    "error:unauthorized",
    "error:rate_limited",
    "error:ping_timeout",
    "older",
    "past",
    "error:bad_frame",
    "close:4000",
    "close:4001",
    "close:4003",
    "close:4020",
    "close:4501",
    "nonsense",
    "found_dead",
    "auth_ok",
    "signal",
    "parked",
    "offline",
    "storage_full",
];
