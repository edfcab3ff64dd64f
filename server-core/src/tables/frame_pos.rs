//! The `pos` of frames (protocol section 12). A table numbers its commits and marks, and each
//! number has three values of `pos`. So those of a subscription ascend, whether frames come from
//! the log or from the feed.

/// For the frame with which a subscription joins an empty feed, before the commit.
pub(super) fn before(number: u64) -> u64 {
    number * 3
}

/// For a frame that is read from the log for one subscription.
pub(super) fn own(number: u64) -> u64 {
    number * 3 + 1
}

/// For the frame of the feed.
pub(super) fn feed(number: u64) -> u64 {
    number * 3 + 2
}
