//! The attacker's address, and what the attacker sees.

use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The attacker's address: 127.0.0.66.
pub(crate) const FROM: u8 = 66;

/// What the attacker saw.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Seen {
    /// The first end: a close code, a status, an error's code, or `reset` for a socket that was
    /// closed without one.
    pub(crate) ended: String,
    /// When that was, in ms since the attack began.
    pub(crate) after_ms: Option<u64>,
    /// The number of requests, frames or sockets, whichever the attack counts.
    pub(crate) tries: u64,
}

/// Records an end, if it is the first one.
pub(crate) fn end(seen: &mut Seen, ended: &str, begun: Instant) {
    if seen.after_ms.is_none() {
        seen.ended = ended.to_owned();
        seen.after_ms = Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
}
