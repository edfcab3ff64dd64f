//! The server's clock and its identifiers.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewire_server_core::{Ids, Now, Time};
use uuid::Uuid;

/// The zero of the monotonic clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Both clocks.
pub(crate) fn now() -> Now {
    Now { mono: mono(), wall: now_ms() }
}

/// The monotonic clock.
pub(crate) fn mono() -> Time {
    Time(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// The instant at which the monotonic clock shows this time; far in the future if it can't be
/// computed.
pub(crate) fn instant(time: Time) -> tokio::time::Instant {
    let instant = START.checked_add(Duration::from_millis(time.0));
    instant.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400)).into()
}

/// Milliseconds since the Unix epoch; 0 if the clock is before it.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch, as tokens count them.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1000
}

/// An id that nobody can guess.
pub(crate) fn random_id() -> String {
    random_uuid().simple().to_string()
}

/// As [`random_id`], for what has to be a UUID.
pub(crate) fn random_uuid() -> Uuid {
    Uuid::new_v4()
}

/// Ids that ascend with time (RFC 9562, version 7), for events that the server writes.
pub(crate) struct TimeOrdered;

impl Ids for TimeOrdered {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}
