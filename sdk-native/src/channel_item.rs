//! The items that a reader of a channel gets.

use std::sync::Arc;

use tidewire_core::ChannelState;
use tidewire_core::wire::{EventFrame, Signal, User};

/// An item of a [`crate::Channel`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelItem {
    /// The next event. Its offset is that of the event before plus one, unless a reset or a lag is
    /// between them.
    Event(Arc<EventFrame>),
    /// The subscription changed.
    State(ChannelState),
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
