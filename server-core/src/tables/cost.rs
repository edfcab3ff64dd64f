//! Estimates of the work that a commit makes, in bytes that have to be looked at.

use super::limits::ENVELOPE;
use super::ring::Logged;
use super::shape::Shape;

/// The least work of matching a row, however short it is.
pub(super) const MATCHING: usize = 64;

/// The work of matching a commit for a shape.
pub(super) fn work(shape: &Shape, logged: &Logged) -> usize {
    // Comparisons other than patterns end at the first byte that differs.
    logged.bytes_of(shape.table).saturating_mul(1 + 16 * shape.patterns()) / 16
}

/// The work of encoding a frame with this many of a commit's changes.
pub(super) fn encoding(shape: &Shape, logged: &Logged, changes: usize) -> usize {
    let all = logged.commit.changes.len().max(1);
    ENVELOPE / 4 + logged.bytes_of(shape.table) / all * changes / 4
}
