//! Places of frames: `pos` in protocol section 12. A table numbers its commits and marks, and each
//! number has three places. So the places of a subscription's frames ascend, whether they come from
//! the log or from the feed.

/// The place of the frame with which a subscription joins an empty feed, before the commit.
pub(super) fn before(number: u64) -> u64 {
    number * 3
}

/// The place of a frame that is read from the log for one subscription.
pub(super) fn own(number: u64) -> u64 {
    number * 3 + 1
}

/// The place of the feed's frame.
pub(super) fn feed(number: u64) -> u64 {
    number * 3 + 2
}
