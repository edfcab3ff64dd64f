//! The items that a reader of a channel's events gets.

use std::sync::Arc;

use tidewire_core::ChannelState;
use tidewire_core::wire::EventFrame;

/// An item of a [`crate::Subscription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelItem {
    /// The next event. Its offset is that of the event before plus one, unless a reset or a lag is
    /// between them.
    Event(Arc<EventFrame>),
    /// The subscription changed.
    State(ChannelState),
    /// The reader was too slow: this many items were left out here.
    Lagged {
        /// How many items.
        missed: u64,
    },
}
