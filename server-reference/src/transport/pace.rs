//! The reading rate of a socket. What its peer sends faster stays in the network and costs the
//! server nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidewire_server_core::Budget;
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that are read at once after a pause; a pause for every byte would cost more than the
/// bytes.
const STEP: i64 = 16 * 1024;

/// A bucket of bytes.
pub(crate) struct Pace {
    budget: Budget,
    /// Negative after a read of more than was left.
    left: i64,
    filled: Instant,
    /// Runs while nothing may be read.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// A full bucket.
    pub(crate) fn new(budget: Budget) -> Pace {
        Pace { budget, left: to_i64(budget.burst), filled: Instant::now(), pause: None }
    }

    /// Ready once something may be read.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left > 0 {
            return Poll::Ready(());
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        self.refill();
        if self.left > 0 {
            return Poll::Ready(());
        }
        let missing = to_u64(STEP.min(to_i64(self.budget.burst)).saturating_sub(self.left));
        let ms = missing.saturating_mul(self.budget.per_ms).div_ceil(self.budget.ops.max(1)).max(1);
        let pause = self.pause.insert(Box::pin(sleep(Duration::from_millis(ms))));
        // Polled, so that it wakes the task.
        pause.as_mut().poll(cx).map(|()| self.pause = None)
    }

    /// Counts bytes that were read.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let passed_us = u64::try_from(now.duration_since(self.filled).as_micros()).unwrap_or(u64::MAX);
        let gained =
            passed_us.saturating_mul(self.budget.ops) / self.budget.per_ms.saturating_mul(1000).max(1);
        if gained > 0 {
            self.left = self.left.saturating_add(to_i64(gained)).min(to_i64(self.budget.burst));
            self.filled = now;
        }
    }
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn to_u64(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn a_burst_is_read_at_once_and_the_rest_at_the_pace() {
        let budget = Budget { ops: 1 << 20, per_ms: 1_000, burst: 64 * 1024 };
        let (begun, mut pace, mut read) = (Instant::now(), Pace::new(budget), 0);
        // 64 KiB at once, then 256 KiB in a quarter of a second.
        while read < 320 * 1024 {
            poll_fn(|cx| pace.poll_ready(cx)).await;
            pace.count(4096);
            read += 4096;
        }
        let took = begun.elapsed().as_millis();
        assert!((200..2_000).contains(&took), "{took} ms");
    }

    #[tokio::test]
    async fn a_budget_of_nothing_reads_nothing_and_does_not_spin() {
        let mut pace = Pace::new(Budget { ops: 0, per_ms: 1_000, burst: 1 });
        pace.count(10);
        let read = tokio::time::timeout(Duration::from_millis(50), poll_fn(|cx| pace.poll_ready(cx))).await;
        assert!(read.is_err());
    }
}
