//! Token buckets by name: a user's op budget counts over all of their connections.

use super::settings::Budget;
use crate::lock::Mutex;
use std::collections::HashMap;
use tidewire_core::Time;

/// From this number of buckets on, full ones are dropped: a new bucket would be full too.
const SWEEP_AT: usize = 4_096;

/// Token buckets, each with a name.
pub struct Limiter {
    buckets: Mutex<Buckets>,
}

struct Buckets {
    by_name: HashMap<String, Bucket>,
    /// At this number of buckets, full ones are dropped.
    sweep_at: usize,
}

/// One token bucket.
pub(crate) struct Bucket {
    /// In thousandths of an op. Negative after a charge that was more than the bucket held.
    level: i64,
    /// The time up to which the bucket was refilled, in µs of the monotonic clock.
    filled_us: u64,
    budget: Budget,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter { buckets: Mutex::new(Buckets { by_name: HashMap::new(), sweep_at: SWEEP_AT }) }
    }
}

impl Limiter {
    /// Takes one op from the bucket with this name, which begins full with this budget. The error
    /// is the wait in ms until one op can be taken.
    pub fn take(&self, name: &str, budget: Budget, now: Time) -> Result<(), u64> {
        self.with(name, budget, now, |bucket| bucket.take(now))
    }

    /// Whether the bucket has anything left. The error is the wait in ms until it has.
    pub(crate) fn look(&self, name: &str, budget: Budget, now: Time) -> Result<(), u64> {
        self.with(name, budget, now, |bucket| bucket.wait_for(1, now))
    }

    /// Takes a cost that is known only afterwards; the level may become negative.
    pub(crate) fn charge(&self, name: &str, budget: Budget, cost: usize, now: Time) {
        self.with(name, budget, now, |bucket| bucket.charge(cost, now));
    }

    fn with<T>(&self, name: &str, budget: Budget, now: Time, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.buckets.lock();
        if buckets.by_name.len() >= buckets.sweep_at {
            buckets.by_name.retain(|_, bucket| {
                bucket.refill(now);
                bucket.level < bucket.full_level()
            });
            buckets.sweep_at = SWEEP_AT.max(buckets.by_name.len() * 2);
        }
        let bucket = match buckets.by_name.get_mut(name) {
            Some(bucket) => bucket,
            None => buckets.by_name.entry(name.to_owned()).or_insert(Bucket::full(budget, now)),
        };
        act(bucket)
    }
}

impl Bucket {
    pub(crate) fn full(budget: Budget, now: Time) -> Bucket {
        let mut bucket = Bucket { level: 0, filled_us: us(now), budget };
        bucket.level = bucket.full_level();
        bucket
    }

    /// Takes one op. The error is the wait in ms.
    pub(crate) fn take(&mut self, now: Time) -> Result<(), u64> {
        self.wait_for(1000, now)?;
        self.level -= 1000;
        Ok(())
    }

    /// Whether the bucket holds this level, in thousandths of an op. The error is the wait in ms.
    fn wait_for(&mut self, level: i64, now: Time) -> Result<(), u64> {
        self.refill(now);
        match u64::try_from(level - self.level) {
            Ok(missing @ 1..) => {
                let wait = missing.saturating_mul(self.budget.per_ms);
                Err(wait.div_ceil(self.budget.ops.max(1).saturating_mul(1000)).max(1))
            }
            _ => Ok(()),
        }
    }

    fn charge(&mut self, cost: usize, now: Time) {
        self.refill(now);
        let cost = i64::try_from(cost).unwrap_or(i64::MAX).saturating_mul(1000);
        self.level = self.level.saturating_sub(cost);
    }

    fn full_level(&self) -> i64 {
        i64::try_from(self.budget.burst).unwrap_or(i64::MAX).saturating_mul(1000)
    }

    fn refill(&mut self, now: Time) {
        let elapsed = us(now).saturating_sub(self.filled_us);
        // `ops` in `per_ms` ms are `ops` thousandths of an op in `per_ms` µs.
        let gained = elapsed.saturating_mul(self.budget.ops) / self.budget.per_ms.max(1);
        if gained > 0 {
            let gained = i64::try_from(gained).unwrap_or(i64::MAX);
            self.level = self.level.saturating_add(gained).min(self.full_level());
            // The time that gave only a part of a thousandth counts towards the next refill.
            let used = gained.unsigned_abs().saturating_mul(self.budget.per_ms) / self.budget.ops.max(1);
            self.filled_us = self.filled_us.saturating_add(used).min(us(now));
        }
    }
}

fn us(time: Time) -> u64 {
    time.0.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { ops: 20, per_ms: 60_000, burst: 3 };

    #[test]
    fn a_burst_passes_and_the_next_is_told_when_to_come() {
        let (limiter, now) = (Limiter::default(), Time(7));
        for _ in 0..3 {
            assert_eq!(limiter.take("a", BUDGET, now), Ok(()));
        }
        assert_eq!(limiter.take("a", BUDGET, now), Err(3000));
        assert_eq!(limiter.take("b", BUDGET, now), Ok(()));
        assert!(limiter.take("a", BUDGET, now.after(2999)).is_err());
        assert_eq!(limiter.take("a", BUDGET, now.after(3001)), Ok(()));
    }

    #[test]
    fn a_cost_that_was_known_afterwards_is_a_debt_that_is_waited_for() {
        let (limiter, now) = (Limiter::default(), Time(7));
        assert_eq!(limiter.look("a", BUDGET, now), Ok(()));
        limiter.charge("a", BUDGET, 5, now);
        // The bucket is two ops in debt, and needs a thousandth of a third: an op takes 3 s.
        assert_eq!(limiter.look("a", BUDGET, now), Err(6_003));
        assert!(limiter.take("a", BUDGET, now).is_err());
        assert_eq!(limiter.look("a", BUDGET, now.after(6_003)), Ok(()));
        limiter.charge("a", BUDGET, usize::MAX, now);
        assert!(limiter.look("a", BUDGET, now).is_err());
    }

    #[test]
    fn whoever_asks_often_gains_as_much_as_whoever_waits() {
        let (limiter, start) = (Limiter::default(), Time(7));
        let taken = (0..=60_000).filter(|ms| limiter.take("a", BUDGET, start.after(*ms)).is_ok());
        let taken = taken.count();
        assert!((22..=23).contains(&taken), "{taken}");
    }
}
