//! The core's time: two readings, injected with every call.

/// A point on the monotonic clock, in ms since a start of the driver's choice. It need not count
/// time asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// This time plus `ms`; stays at the end of time instead of wrapping.
    pub fn after(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// How many ms this is after `earlier`, 0 if it is not.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the clocks say: the monotonic one, which orders and times everything, and the wall clock
/// (ms since the Unix epoch), which dates rows and ids, judges tokens and shows that the machine
/// slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Time,
    /// The wall clock, ms since the Unix epoch.
    pub wall: u64,
}
