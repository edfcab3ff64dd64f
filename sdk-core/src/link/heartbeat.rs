//! Whether the peer is alive: any byte counts as life, and a probe asks when there is doubt.

use crate::io::Transport;
use crate::time::Time;

/// How long a probe waits for any byte.
const PROBE_MS: u64 = 3_000;
/// How much longer where the answer waits for the next question (protocol section 11).
const POLL_MS: u64 = 6_000;
/// A timer that fires later than this was held up by a sleep or a frozen page: what the peer sent
/// meanwhile may not have been read yet, so silence proves nothing.
pub(crate) const LATE_MS: u64 = 5_000;

/// What a look at the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Alive, as far as is known.
    Alive,
    /// In doubt: send a ping and call [`Heartbeat::probed`].
    Ask,
    /// Dead.
    Dead,
}

/// The liveness of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    /// How long silence may last.
    silence_ms: u64,
    /// How long a probe's answer may take.
    probe_ms: u64,
    heard: Time,
    probe: Option<Time>,
}

impl Heartbeat {
    pub(crate) fn new(now: Time, ping_ms: u64, grace_ms: u64, transport: Transport) -> Heartbeat {
        // A server can't switch the heartbeat off, nor make it spin.
        let silence_ms = ping_ms.saturating_add(grace_ms).clamp(1_000, 3_600_000);
        let probe_ms = if transport == Transport::Poll { PROBE_MS + POLL_MS } else { PROBE_MS };
        Heartbeat { silence_ms, probe_ms, heard: now, probe: None }
    }

    /// A byte arrived.
    pub(crate) fn heard(&mut self, now: Time) {
        self.heard = now;
        self.probe = None;
    }

    pub(crate) fn last_heard(&self) -> Time {
        self.heard
    }

    /// Whether a probe is under way.
    pub(crate) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// A ping was sent to ask.
    pub(crate) fn probed(&mut self, now: Time) {
        self.probe = Some(now.after(self.probe_ms));
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Time {
        self.probe.unwrap_or_else(|| self.heard.after(self.silence_ms))
    }

    /// Looks at the clock.
    pub(crate) fn check(&self, now: Time) -> Verdict {
        let deadline = self.deadline();
        if now < deadline {
            Verdict::Alive
        } else if now.since(deadline) > LATE_MS {
            Verdict::Ask
        } else {
            Verdict::Dead
        }
    }
}
