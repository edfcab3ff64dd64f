//! The items that a reader of a channel gets.

use std::sync::Arc;

use tidewire_core::wire::{EventFrame, Signal, User};
use tidewire_core::{ChannelState, Offset};

/// An item of a [`crate::Channel`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelItem {
    /// The next event. Its offset is that of the event before plus one, unless a reset or a lag is
    /// between them.
    Event(Arc<EventFrame>),
    /// The subscription changed.
    State(ChannelState),
    /// The answer to [`crate::Channel::load_older`].
    Older {
        /// The offset before which events were requested.
        before: Offset,
        /// The events just before that offset, the oldest first.
        events: Arc<[EventFrame]>,
        /// Whether the log may have events before these. True without events: the request was
        /// dropped, because the channel begins anew or may not be read.
        more: bool,
    },
    /// Somebody sent an ephemeral signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// The author.
        by: User,
    },
    /// The reader was too slow: this many items were left out here.
    Lagged {
        /// How many items.
        missed: u64,
    },
}
