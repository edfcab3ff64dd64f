//! The core's time: readings of two clocks, passed with every call.

/// A point on the monotonic clock, in ms since a start of the driver's choice. It need not count
/// time asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// This time plus `ms`, saturating.
    pub fn after(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// How many ms this is after `earlier`; 0 if it is before.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The readings of both clocks. The monotonic clock is used for all timers. The wall clock (ms
/// since the Unix epoch) is used for the times of rows and ids and the expiry of tokens, and to
/// detect that the machine slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Time,
    /// The wall clock, ms since the Unix epoch.
    pub wall: u64,
}
