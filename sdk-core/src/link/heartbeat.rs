//! Whether the peer is alive: any byte that arrives shows it. After silence a probe (a ping) is
//! sent.

use crate::io::Transport;
use crate::time::Time;

/// How long a probe waits for any byte.
const PROBE_MS: u64 = 3_000;
/// How much longer it waits with plain polling, where the answer only comes with the next request
/// (protocol section 11).
const POLL_MS: u64 = 6_000;
/// A timer that fires later than this was delayed by a sleep or a frozen page. What the peer sent
/// meanwhile may not have been read yet, so silence proves nothing.
pub(crate) const LATE_MS: u64 = 5_000;

/// The result of [`Heartbeat::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Alive, as far as is known.
    Alive,
    /// Silent for too long: send a ping and call [`Heartbeat::probed`].
    Ask,
    /// Dead.
    Dead,
}

/// The liveness of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    /// How long silence may last, in ms.
    silence_ms: u64,
    /// How long the answer to a probe may take, in ms.
    probe_ms: u64,
    heard: Time,
    probe: Option<Time>,
}

impl Heartbeat {
    pub(crate) fn new(now: Time, ping_ms: u64, grace_ms: u64, transport: Transport) -> Heartbeat {
        // The bounds keep a server from switching the heartbeat off, or making it probe all the
        // time.
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

    /// Notes that a ping was sent as a probe.
    pub(crate) fn probed(&mut self, now: Time) {
        self.probe = Some(now.after(self.probe_ms));
    }

    /// When to call [`Heartbeat::check`] next.
    pub(crate) fn deadline(&self) -> Time {
        self.probe.unwrap_or_else(|| self.heard.after(self.silence_ms))
    }

    /// Whether the peer is alive at this time.
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
