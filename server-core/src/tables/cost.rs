//! How much work a commit is for a subscription.

use super::limits::ENVELOPE;
use super::ring::Logged;
use super::shape::Shape;

/// What judging takes however short the row is, in the measure of [`work`].
pub(super) const MATCHING: usize = 64;

/// About how much it is to judge a commit for a shape: the bytes that are looked at.
pub(super) fn work(shape: &Shape, logged: &Logged) -> usize {
    // Other comparisons end at the first byte that differs.
    logged.bytes_of(shape.table).saturating_mul(1 + 16 * shape.patterns()) / 16
}

/// About how much it is to encode a frame with so many of a commit's changes, in the same measure.
pub(super) fn encoding(shape: &Shape, logged: &Logged, changes: usize) -> usize {
    let all = logged.commit.changes.len().max(1);
    ENVELOPE / 4 + logged.bytes_of(shape.table) / all * changes / 4
}
