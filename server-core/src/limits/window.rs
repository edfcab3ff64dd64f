//! Limiting events within a sliding window.

use std::collections::VecDeque;
use tidewire_core::Time;

/// Length of the window, in ms.
pub(crate) const WINDOW_MS: u64 = 10_000;

/// Allows at most `most` events within any [`WINDOW_MS`].
pub(crate) struct Window {
    most: usize,
    times: VecDeque<Time>,
}

impl Window {
    pub(crate) fn new(most: usize) -> Window {
        Window { most, times: VecDeque::new() }
    }

    /// Counts an event. If there are too many, it is not counted and this returns false.
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
