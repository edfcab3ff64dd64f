//! The op budget: a token bucket that outlives connections.

use crate::time::Time;
use crate::wire::Limits;

/// A token bucket in exact integers. A level of `COST * per_ms` is one op.
pub(crate) struct Limiter {
    ops: u64,
    per_ms: u64,
    burst: u64,
    level: u64,
    at: Time,
    paused_until: Time,
    /// A backlog is sent at half the rate, so that new messages have room after a reconnect.
    half: bool,
}

const COST: u64 = 2;

impl Limiter {
    pub(crate) fn new() -> Limiter {
        // Until a server says otherwise.
        Limiter::with(20, 1_000, 20)
    }

    /// A full bucket of `burst` that gains `ops` in `per_ms`.
    pub(crate) fn with(ops: u64, per_ms: u64, burst: u64) -> Limiter {
        let mut limiter =
            Limiter { ops, per_ms, burst, level: 0, at: Time(0), paused_until: Time(0), half: false };
        limiter.level = limiter.full();
        limiter
    }

    fn full(&self) -> u64 {
        self.burst * self.per_ms * COST
    }

    /// Takes over the limits of a `welcome`. The level stays, so a reconnect adds nothing to the
    /// budget.
    pub(crate) fn advertised(&mut self, now: Time, limits: &Limits) {
        self.refill(now);
        let was_full = self.level >= self.full();
        // The bounds keep the products from overflowing, whatever a hostile server sends.
        self.ops = limits.ops.clamp(1, 1_000_000);
        self.per_ms = limits.per_ms.clamp(1, 86_400_000);
        self.burst = limits.burst.clamp(1, 100_000);
        self.level = if was_full { self.full() } else { self.level.min(self.full()) };
    }

    /// Sets whether a backlog is being sent, at half the rate.
    pub(crate) fn draining(&mut self, now: Time, half: bool) {
        self.refill(now);
        self.half = half;
    }

    /// Sends nothing before this time, because the server asked for a pause.
    pub(crate) fn pause(&mut self, until: Time) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Takes one op out of the budget; false if it is empty.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        self.refill(now);
        let cost = self.per_ms * COST;
        if now < self.paused_until || self.level < cost {
            return false;
        }
        self.level -= cost;
        true
    }

    /// When [`Limiter::take`] will succeed; later than `now` if it fails now.
    pub(crate) fn next(&mut self, now: Time) -> Time {
        self.nth(now, 0)
    }

    /// When an op may be sent that has `before` others before it, if each is sent as soon as it may
    /// be.
    pub(crate) fn nth(&mut self, now: Time, before: u64) -> Time {
        self.refill(now);
        let missing = (self.per_ms * COST).saturating_mul(before + 1).saturating_sub(self.level);
        now.after(missing.div_ceil(self.rate())).max(self.paused_until)
    }

    fn rate(&self) -> u64 {
        if self.half { self.ops } else { self.ops * COST }
    }

    fn refill(&mut self, now: Time) {
        let gained = now.since(self.at).saturating_mul(self.rate());
        self.level = self.level.saturating_add(gained).min(self.full());
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(ops: u64, per_ms: u64, burst: u64) -> Limits {
        Limits {
            message_bytes: 0,
            subscriptions: 0,
            inflight: 0,
            inflight_bytes: 0,
            ops,
            per_ms,
            burst,
            body_depth: 24,
        }
    }

    #[test]
    fn a_window_never_sees_more_than_the_burst_and_the_rate() {
        let mut limiter = Limiter::new();
        limiter.advertised(Time(0), &limits(20, 60_000, 20));
        let sent = (0..600_000).step_by(50).filter(|ms| limiter.take(Time(*ms))).count();
        assert_eq!(sent, 20 + 199);
    }

    #[test]
    fn a_reconnect_gains_nothing() {
        let mut limiter = Limiter::new();
        for round in 0..10 {
            limiter.advertised(Time(round), &limits(20, 60_000, 20));
            let sent = (0..100).filter(|_| limiter.take(Time(round))).count();
            assert_eq!(sent, if round == 0 { 20 } else { 0 });
        }
    }

    #[test]
    fn the_time_it_names_is_the_first_at_which_an_op_may_go() {
        let mut limiter = Limiter::new();
        limiter.advertised(Time(0), &limits(3, 1_000, 1));
        assert!(limiter.take(Time(0)));
        let next = limiter.next(Time(0));
        assert!(!limiter.take(Time(next.0 - 1)));
        assert!(limiter.take(next));
    }

    #[test]
    fn a_backlog_flows_at_half_the_rate() {
        let mut limiter = Limiter::new();
        limiter.advertised(Time(0), &limits(10, 1_000, 1));
        limiter.draining(Time(0), true);
        let sent = (0..=10_000).filter(|ms| limiter.take(Time(*ms))).count();
        assert_eq!(sent, 1 + 50);
    }
}
