//! When to dial again.

use crate::rng::Rng;
use crate::time::Time;

/// No more attempts than this in [`WINDOW_MS`].
const ATTEMPTS: usize = 12;
const WINDOW_MS: u64 = 60_000;
/// Never two dials closer than this.
const SPACING_MS: u64 = 1_000;

/// Full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015): a uniform delay below a ceiling that doubles with
/// each failure. The ceiling's cap never takes the jitter away, which is what keeps a crowd from returning all at once.
pub(crate) struct Backoff {
    base_ms: u64,
    cap_ms: u64,
    failures: u32,
    /// The last attempts, oldest first.
    dials: Vec<Time>,
}

impl Backoff {
    pub(crate) fn new(base_ms: u64, cap_ms: u64) -> Backoff {
        Backoff { base_ms, cap_ms, failures: 0, dials: Vec::new() }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// A session was useful: the next failure is the first again.
    pub(crate) fn settled(&mut self) {
        self.failures = 0;
    }

    /// A dial is made now.
    pub(crate) fn dialled(&mut self, now: Time) {
        if self.dials.len() == ATTEMPTS {
            self.dials.remove(0);
        }
        self.dials.push(now);
    }

    /// A failure: when to dial again, at least `floor_ms` from now.
    pub(crate) fn failed(&mut self, now: Time, floor_ms: u64, rng: &mut Rng) -> Time {
        let ceiling = self.base_ms.saturating_mul(1 << self.failures.min(20)).min(self.cap_ms);
        self.failures = self.failures.saturating_add(1);
        self.allowed(now, now.after(rng.up_to(ceiling).max(floor_ms)))
    }

    /// Not a failure: when to dial again within `spread_ms`, at random.
    pub(crate) fn soon(&self, now: Time, spread_ms: u64, rng: &mut Rng) -> Time {
        self.allowed(now, now.after(rng.up_to(spread_ms)))
    }

    /// Whether a dial is allowed right now.
    pub(crate) fn may_dial(&self, now: Time) -> bool {
        self.allowed(now, now) == now
    }

    /// The earliest time from `wanted` on that the spacing and the attempts of the last minute allow.
    fn allowed(&self, now: Time, wanted: Time) -> Time {
        let mut at = wanted;
        if let Some(last) = self.dials.last() {
            at = at.max(last.after(SPACING_MS.min(self.cap_ms)));
        }
        if let (ATTEMPTS, Some(first)) = (self.dials.len(), self.dials.first()) {
            at = at.max(first.after(WINDOW_MS));
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
    fn delays_fill_the_whole_range_below_a_doubling_ceiling() {
        let mut rng = rng();
        for failures in 0..8u32 {
            let ceiling = (500u64 << failures).min(30_000);
            let mut greatest = 0;
            let mut least = u64::MAX;
            for _ in 0..2_000 {
                let mut backoff = Backoff::new(500, 30_000);
                backoff.failures = failures;
                let delay = backoff.failed(Time(0), 0, &mut rng).0;
                greatest = greatest.max(delay);
                least = least.min(delay);
            }
            assert!(greatest <= ceiling && greatest > ceiling * 9 / 10, "{failures}: {greatest}");
            assert!(least < ceiling / 10, "{failures}: {least}");
        }
    }

    #[test]
    fn a_floor_from_the_server_is_kept() {
        assert!(Backoff::new(500, 30_000).failed(Time(0), 9_000, &mut rng()).0 >= 9_000);
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
