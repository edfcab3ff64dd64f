//! The attacker: where it comes from, and what it sees.

use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The attacker's address: 127.0.0.66.
pub(crate) const FROM: u8 = 66;

/// What the attacker saw.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Seen {
    /// A close code, a status, or `reset` for a socket that was closed without a word.
    pub(crate) ended: String,
    /// How long after the first connection.
    pub(crate) after_ms: Option<u64>,
    /// How often it tried, in what is its own unit.
    pub(crate) tries: u64,
}

/// Notes the first end.
pub(crate) fn end(seen: &mut Seen, ended: &str, begun: Instant) {
    if seen.after_ms.is_none() {
        seen.ended = ended.to_owned();
        seen.after_ms = Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
}
