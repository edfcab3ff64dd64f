//! When queued writes are committed.

use std::time::{Duration, Instant};

/// When queued writes are committed: the first one after a pause at once, then at most one commit
/// in each interval, unless enough writes wait.
///
/// A longer interval makes fewer commits of more writes, so the disk has less to do and each write
/// waits longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// The interval, from one commit's beginning to the next. With zero, a commit begins as soon as
    /// the one before has ended.
    pub every: Duration,
    /// With so many writes waiting, they are committed at once.
    pub writes: usize,
}

impl Default for Flush {
    fn default() -> Flush {
        Flush { every: Duration::ZERO, writes: 100 }
    }
}

impl Flush {
    /// How much longer to wait for more writes, if the last commit began at `last` and so many
    /// writes wait; none if they are to be committed now.
    pub(super) fn wait(&self, last: Option<Instant>, waiting: usize, now: Instant) -> Option<Duration> {
        if waiting >= self.writes {
            return None;
        }
        let next = last?.checked_add(self.every)?;
        next.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Flush = Flush { every: Duration::from_millis(10), writes: 10 };

    #[test]
    fn the_first_write_is_committed_at_once_and_the_next_after_the_interval() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(TEN.wait(None, 1, now), None);
        assert_eq!(TEN.wait(Some(now), 1, now + ms(4)), Some(ms(6)));
        assert_eq!(TEN.wait(Some(now), 9, now + ms(9)), Some(ms(1)));
        assert_eq!(TEN.wait(Some(now), 1, now + ms(10)), None);
        assert_eq!(TEN.wait(Some(now), 1, now + ms(5_000)), None);
    }

    #[test]
    fn enough_writes_are_committed_before_the_interval_is_over() {
        let now = Instant::now();
        assert_eq!(TEN.wait(Some(now), 10, now), None);
        assert_eq!(TEN.wait(Some(now), 11, now), None);
    }

    #[test]
    fn without_an_interval_nothing_waits() {
        let now = Instant::now();
        assert_eq!(Flush::default().wait(Some(now), 1, now), None);
    }
}
