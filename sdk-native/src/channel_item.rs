//! What the reader of a channel's events is given.

use std::sync::Arc;

use tidewire_core::ChannelState;
use tidewire_core::wire::EventFrame;

/// What a [`crate::Subscription`] brings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelItem {
    /// The next event: its offset is the one before plus one, unless a reset or a lag stands
    /// between them.
    Event(Arc<EventFrame>),
    /// The subscription changed.
    State(ChannelState),
    /// The reader was too slow: this many items were left out here.
    Lagged {
        /// How many.
        missed: u64,
    },
}
