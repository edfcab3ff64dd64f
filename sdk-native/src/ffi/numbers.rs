//! Conversions of numbers for foreign languages.

use tidewire_core::Offset;

/// A signed integer, because Kotlin's unsigned types can't be used from Java. The protocol's
/// integers are at most 2^53.
pub(super) fn large(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The number of a foreign language's signed integer; a negative one counts as 0.
pub(super) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// An offset of a foreign language. A negative one counts as beyond every log, so that it is refused
/// as such.
pub(super) fn place(value: i64) -> Offset {
    Offset(u64::try_from(value).unwrap_or(u64::MAX))
}

pub(super) fn small(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}
