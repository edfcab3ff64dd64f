//! The two clocks that the core is driven with.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidewire_core::{Now, Time};

/// Counts from its making. The monotonic reading stands still while the machine sleeps, as the
/// timers of tokio do; the core notices sleep by the wall clock running ahead of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Both readings.
    pub(crate) fn now(&self) -> Now {
        Now { mono: Time(millis(self.start.elapsed())), wall: wall_ms() }
    }

    /// When a time of the core comes. Times too far away for the platform come in a year.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let year = std::time::Duration::from_secs(365 * 24 * 3_600);
        let wait = std::time::Duration::from_millis(time.0);
        self.start.checked_add(wait).unwrap_or_else(|| Instant::now() + year)
    }
}

/// The wall clock, ms since the Unix epoch; 0 if it stands before that.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
