//! Token buckets by name: a user's op budget counts over all of their connections.

use crate::settings::Budget;
use crate::sync::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use tidewire_core::Time;

/// With more buckets than this, those that are full again are dropped: a new bucket is full too.
const SWEEP_AT: usize = 4_096;

/// The buckets.
pub struct Limiter {
    buckets: Mutex<Buckets>,
}

struct Buckets {
    by_name: HashMap<String, Bucket>,
    sweep_at: usize,
}

struct Bucket {
    /// Thousandths of an op.
    level: u64,
    /// Until when the gain was paid out, in µs of the monotonic clock.
    filled_us: u64,
    budget: Budget,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter { buckets: Mutex::new(Buckets { by_name: HashMap::new(), sweep_at: SWEEP_AT }) }
    }
}

impl Limiter {
    /// Takes one op out of the bucket, or says in how many ms there will be one.
    pub fn take(&self, name: &str, budget: Budget, now: Time) -> Result<(), u64> {
        let mut buckets = lock(&self.buckets);
        if buckets.by_name.len() >= buckets.sweep_at {
            buckets.by_name.retain(|_, bucket| {
                bucket.refill(now);
                bucket.level < bucket.budget.burst * 1000
            });
            buckets.sweep_at = SWEEP_AT.max(buckets.by_name.len() * 2);
        }
        let bucket = match buckets.by_name.get_mut(name) {
            Some(bucket) => bucket,
            None => buckets.by_name.entry(name.to_owned()).or_insert(Bucket {
                level: budget.burst * 1000,
                filled_us: us(now),
                budget,
            }),
        };
        bucket.refill(now);
        match bucket.level.checked_sub(1000) {
            Some(level) => {
                bucket.level = level;
                Ok(())
            }
            None => Err(((1000 - bucket.level) * budget.per_ms).div_ceil(budget.ops.max(1) * 1000).max(1)),
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Time) {
        let elapsed = us(now).saturating_sub(self.filled_us);
        // ops per per_ms = thousandths of an op per per_ms µs.
        let gained = elapsed.saturating_mul(self.budget.ops) / self.budget.per_ms.max(1);
        if gained > 0 {
            self.level = self.level.saturating_add(gained).min(self.budget.burst * 1000);
            // Only the time that was paid out is used up.
            let used = gained.saturating_mul(self.budget.per_ms) / self.budget.ops.max(1);
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
    fn whoever_asks_often_gains_as_much_as_whoever_waits() {
        let (limiter, start) = (Limiter::default(), Time(7));
        let taken = (0..=60_000).filter(|ms| limiter.take("a", BUDGET, start.after(*ms)).is_ok());
        let taken = taken.count();
        assert!((22..=23).contains(&taken), "{taken}");
    }
}
