//! The retry policy of the whole client.

use crate::rng::Rng;

/// Upper limit of floors and ceilings, in ms, so that no hint of a server and no setting keeps a
/// client away for good.
pub(crate) const MOST_MS: u64 = 3_600_000;
/// The lowest ceiling, in ms, so that no setting disables the jitter.
const LEAST_CEILING_MS: u64 = 50;

/// Capped exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture
/// Blog, 2015), on top of a floor: `floor + uniform(0, min(cap, base * 2^failures))`.
///
/// The floor is the pause that the server asked for. It is added to the jitter, because all clients
/// get the same floor: with `max(floor, jitter)` and a floor beyond the ceiling, all of them would
/// come back in the same millisecond.
#[derive(Clone, Copy)]
pub(crate) struct Retry {
    base_ms: u64,
    cap_ms: u64,
}

impl Retry {
    /// Delays below a ceiling of `base_ms` that doubles with each failure, up to `cap_ms`.
    pub(crate) const fn new(base_ms: u64, cap_ms: u64) -> Retry {
        Retry { base_ms, cap_ms }
    }

    /// The delay in ms after the latest failure, with `failures` before it: at least `floor_ms`.
    pub(crate) fn delay(self, failures: u32, floor_ms: u64, rng: &mut Rng) -> u64 {
        floor_ms.min(MOST_MS) + rng.up_to(self.ceiling(failures))
    }

    fn ceiling(self, failures: u32) -> u64 {
        self.base_ms.saturating_mul(1 << failures.min(20)).min(self.cap_ms).clamp(LEAST_CEILING_MS, MOST_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS: usize = 10_000;
    const SLICES: u64 = 50;

    /// Fails unless the delays of a crowd fill `floor` to `floor + ceiling` evenly.
    fn assert_spread(retry: Retry, failures: u32, floor: u64, ceiling: u64) {
        let mut rng = Rng::new([7; 32]);
        let mut slices = [0; SLICES as usize];
        for _ in 0..CLIENTS {
            let jitter = retry.delay(failures, floor, &mut rng).checked_sub(floor.min(MOST_MS));
            let jitter = jitter.expect("the floor is kept");
            assert!(jitter <= ceiling, "{jitter} of {ceiling}");
            slices[(jitter * SLICES / (ceiling + 1)) as usize] += 1;
        }
        let share = CLIENTS / SLICES as usize;
        let even = slices.iter().all(|count| (share / 2..share * 2).contains(count));
        assert!(even, "failures {failures}, floor {floor}: {slices:?}");
    }

    #[test]
    fn a_crowd_is_spread_evenly_whatever_the_floor() {
        let retry = Retry::new(500, 30_000);
        for floor in [0, 100, 499, 500, 29_999, 30_000, 30_001, 600_000, MOST_MS, u64::MAX] {
            for (failures, ceiling) in [(0, 500), (1, 1_000), (5, 16_000), (6, 30_000), (u32::MAX, 30_000)] {
                assert_spread(retry, failures, floor, ceiling);
            }
        }
    }

    #[test]
    fn no_setting_takes_the_jitter_away_or_overflows() {
        let (max, least) = (u64::MAX, LEAST_CEILING_MS);
        for (base, cap, ceiling) in [
            (0, 0, least),
            (0, max, least),
            (max, 0, least),
            (1, 1, least),
            (1 << 63, 30_000, 30_000),
            (max, 30_000, 30_000),
            (1, max, 1 << 20),
            (max, max, MOST_MS),
        ] {
            for floor in [0, ceiling, max - ceiling, max - 1, max] {
                assert_spread(Retry::new(base, cap), u32::MAX, floor, ceiling);
            }
        }
    }

    #[test]
    fn the_ceiling_doubles_with_each_failure_up_to_the_cap() {
        let ceilings: Vec<u64> = (0..8).map(|failures| Retry::new(500, 30_000).ceiling(failures)).collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }
}
