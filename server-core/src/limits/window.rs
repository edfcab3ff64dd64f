//! Counting within a sliding window.

use std::collections::VecDeque;
use tidewire_core::Time;

/// How long something counts, in ms.
pub(crate) const WINDOW_MS: u64 = 10_000;

/// Counts events within the last [`WINDOW_MS`].
pub(crate) struct Window {
    most: usize,
    times: VecDeque<Time>,
}

impl Window {
    pub(crate) fn new(most: usize) -> Window {
        Window { most, times: VecDeque::new() }
    }

    /// Counts one; false when it is one too many.
    pub(crate) fn counts(&mut self, now: Time) -> bool {
        while self.times.front().is_some_and(|first| now.since(*first) >= WINDOW_MS) {
            self.times.pop_front();
        }
        if self.times.len() >= self.most {
            return false;
        }
        self.times.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_what_happened_within_it() {
        let (mut window, start) = (Window::new(2), Time(5));
        assert!(window.counts(start));
        assert!(window.counts(start.after(WINDOW_MS / 2)));
        assert!(!window.counts(start.after(WINDOW_MS / 2)));
        assert!(window.counts(start.after(WINDOW_MS)));
        assert!(!window.counts(start.after(WINDOW_MS)));
    }
}
