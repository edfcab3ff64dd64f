//! How much work a commit is for a subscription.

use super::ring::Logged;
use super::shape::Shape;

/// About how much it is to say what a commit is to a shape: the bytes that are looked at.
pub(super) fn work(shape: &Shape, logged: &Logged) -> usize {
    // Other comparisons end at the first byte that differs.
    logged.bytes().saturating_mul(1 + 16 * shape.patterns()) / 16
}
