//! The two clocks that the core is driven with.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidewire_core::{Now, Time};

/// The clocks of a client. The monotonic one starts at 0 and stops while the machine sleeps, as
/// tokio's timers do. The core notices sleep because the wall clock runs ahead of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Reads both clocks.
    pub(crate) fn now(&self) -> Now {
        Now { mono: Time(millis(self.start.elapsed())), wall: wall_ms() }
    }

    /// Converts a time of the core. A time too far away for the platform becomes one in a year.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let year = std::time::Duration::from_secs(365 * 24 * 3_600);
        let wait = std::time::Duration::from_millis(time.0);
        self.start.checked_add(wait).unwrap_or_else(|| Instant::now() + year)
    }
}

/// The wall clock, ms since the Unix epoch; 0 if it is set before that.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
