//! When to dial again.

use crate::retry::Retry;
use crate::rng::Rng;
use crate::time::Time;

/// No more attempts than this in [`WINDOW_MS`].
const ATTEMPTS: usize = 12;
const WINDOW_MS: u64 = 60_000;
/// Never two dials closer than this.
const SPACING_MS: u64 = 1_000;

/// Counts failures in a row for [`Retry`], and limits how often this client dials and how close
/// together.
pub(crate) struct Backoff {
    retry: Retry,
    spacing_ms: u64,
    failures: u32,
    /// The last attempts, oldest first.
    dials: Vec<Time>,
}

impl Backoff {
    pub(crate) fn new(base_ms: u64, cap_ms: u64) -> Backoff {
        Backoff {
            retry: Retry::new(base_ms, cap_ms),
            spacing_ms: SPACING_MS.min(cap_ms),
            failures: 0,
            dials: Vec::new(),
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Resets the count after a session that lasted: the next failure is the first again.
    pub(crate) fn settled(&mut self) {
        self.failures = 0;
    }

    /// Notes a dial that is made now.
    pub(crate) fn dialled(&mut self, now: Time) {
        if self.dials.len() == ATTEMPTS {
            self.dials.remove(0);
        }
        self.dials.push(now);
    }

    /// Counts a failure; returns when to dial again, at least `floor_ms` from now.
    pub(crate) fn failed(&mut self, now: Time, floor_ms: u64, rng: &mut Rng) -> Time {
        let delay_ms = self.retry.delay(self.failures, floor_ms, rng);
        self.failures = self.failures.saturating_add(1);
        self.allowed(now, now.after(delay_ms))
    }

    /// When to dial again after an end that was no failure: at random within `spread_ms`.
    pub(crate) fn soon(&self, now: Time, spread_ms: u64, rng: &mut Rng) -> Time {
        self.allowed(now, now.after(rng.up_to(spread_ms)))
    }

    /// When the next dial is allowed, if the last minute had all the attempts it may have.
    pub(crate) fn full_until(&self, now: Time) -> Option<Time> {
        let first = self.dials.first().filter(|_| self.dials.len() == ATTEMPTS)?;
        Some(first.after(WINDOW_MS)).filter(|at| *at > now)
    }

    /// Whether a dial is allowed right now.
    pub(crate) fn may_dial(&self, now: Time) -> bool {
        self.allowed(now, now) == now
    }

    /// The earliest time, not before `wanted`, that the spacing and the limit of attempts allow.
    fn allowed(&self, now: Time, wanted: Time) -> Time {
        let mut at = wanted;
        if let Some(last) = self.dials.last() {
            at = at.max(last.after(self.spacing_ms));
        }
        if let Some(free) = self.full_until(now) {
            at = at.max(free);
        }
        at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> Rng {
        Rng::new([7; 32])
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_range_until_a_session_was_useful() {
        let greatest = |backoff: &Backoff, rng: &mut Rng| {
            let delays =
                (0..2_000).map(|_| Backoff { dials: Vec::new(), ..*backoff }.failed(Time(0), 0, rng));
            delays.max().map(|at| at.0)
        };
        let (mut backoff, mut rng) = (Backoff::new(500, 30_000), rng());
        for failures in 0..8u32 {
            let ceiling = (500u64 << failures).min(30_000);
            assert!(
                greatest(&backoff, &mut rng).is_some_and(|most| most <= ceiling && most > ceiling * 9 / 10)
            );
            backoff.failed(Time(0), 0, &mut rng);
        }
        backoff.settled();
        assert!(greatest(&backoff, &mut rng) <= Some(500));
    }

    #[test]
    fn a_floor_from_the_server_is_kept_and_spread() {
        let (backoff, mut rng) = (Backoff::new(500, 30_000), rng());
        let fresh = || Backoff { dials: Vec::new(), ..backoff };
        let delays: Vec<u64> = (0..100).map(|_| fresh().failed(Time(0), 90_000, &mut rng).0).collect();
        assert!(delays.iter().all(|delay| (90_000..=90_500).contains(delay)));
        assert!(delays.iter().max() > delays.iter().min().map(|least| least + 400).as_ref());
    }

    #[test]
    fn a_minute_never_sees_more_than_twelve_dials() {
        let (mut backoff, mut rng, mut now) = (Backoff::new(1, 1), rng(), Time(0));
        let mut dials: Vec<Time> = Vec::new();
        for _ in 0..100 {
            now = backoff.failed(now, 0, &mut rng);
            backoff.dialled(now);
            dials.push(now);
        }
        for window in dials.windows(ATTEMPTS + 1) {
            assert!(window[ATTEMPTS].since(window[0]) >= WINDOW_MS);
        }
    }
}
