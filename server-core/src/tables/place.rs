//! Places of frames (protocol section 12). A table numbers its commits and marks; each number has
//! three places, so that those of a subscription ascend whichever way its frames come.

/// Of the frame with which a subscription joins a feed that nobody is in, before the commit.
pub(super) fn before(number: u64) -> u64 {
    number * 3
}

/// Of a subscription's own frame, read from the log.
pub(super) fn own(number: u64) -> u64 {
    number * 3 + 1
}

/// Of the feed's frame.
pub(super) fn feed(number: u64) -> u64 {
    number * 3 + 2
}
