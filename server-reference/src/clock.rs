//! The server's clock and its identifiers.

use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Milliseconds since the Unix epoch; 0 when the clock stands before it.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch, as tokens count them.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1000
}

/// An id in order of time (RFC 9562, version 7), for what the server itself writes.
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// An id that nobody can guess.
pub(crate) fn random_id() -> String {
    Uuid::new_v4().simple().to_string()
}
