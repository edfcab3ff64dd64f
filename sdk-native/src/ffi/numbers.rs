//! Conversions of numbers for foreign languages.

/// A signed integer, because Kotlin's unsigned types can't be used from Java. The protocol's
/// integers are at most 2^53.
pub(super) fn large(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn small(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}
