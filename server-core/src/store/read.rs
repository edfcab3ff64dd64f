//! What is read, and what comes of it.

use super::{Revocation, StoreError};
use crate::text::Text;
use tidewire_core::wire::{ChannelName, Offset, RunId};

/// A question about what is committed. Each has its own kind of [`Reply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A channel by its name: [`Reply::Channel`].
    Channel(ChannelName),
    /// A page's events: [`Reply::Events`].
    Events {
        /// The channel's row.
        channel: i64,
        /// The events after this offset.
        from: Offset,
        /// Up to this one; at most as many as a page has, but at least one if there is one.
        to: Offset,
    },
    /// The newest events that a model is shown, oldest first: [`Reply::Frames`].
    Newest {
        /// The channel's row.
        channel: i64,
        /// Only events before this offset.
        before: Offset,
        /// At most so many.
        most: usize,
        /// Only of these kinds.
        kinds: &'static [&'static str],
    },
    /// The next channels of which something may have to be trimmed: [`Reply::Channels`].
    ToTrim {
        /// Those after this row.
        after: i64,
        /// With events committed before this time, ms since the Unix epoch; 0 for none.
        before_ms: u64,
        /// Or with more events than this; 0 for no limit.
        keep: u64,
        /// At most so many.
        most: usize,
    },
    /// The next dialogs in which nobody ever wrote: [`Reply::Channels`].
    Unused {
        /// Those after this row.
        after: i64,
        /// Created by somebody before this time, ms since the Unix epoch.
        before_ms: u64,
        /// At most so many.
        most: usize,
    },
    /// The dialogs that want an answer: [`Reply::Wanting`].
    Wanting,
    /// The runs that a crash left without an end: [`Reply::Unfinished`].
    Unfinished,
    /// Access that was taken back: [`Reply::Revocations`].
    Revocations,
}

/// What came of a [`Read`].
#[derive(Debug)]
pub enum Reply {
    /// None when there is no such channel.
    Channel(Option<ChannelRow>),
    /// A page's events.
    Events(Found),
    /// Events' frames.
    Frames(Vec<Text>),
    /// Rows and names.
    Channels(Vec<(i64, ChannelName)>),
    /// Names, each with the offset of the newest message that no answer covers.
    Wanting(Vec<(ChannelName, Offset)>),
    /// In the order of their channels.
    Unfinished(Vec<UnfinishedRun>),
    /// In no order.
    Revocations(Vec<Revocation>),
}

/// A channel as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// Its row.
    pub id: i64,
    /// Its newest offset.
    pub head: Offset,
    /// Every event up to here was trimmed.
    pub floor: Offset,
    /// Whose dialog it is.
    pub owner: Option<String>,
}

/// A page's events, as the store has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// With their offsets.
    Events(Vec<(Offset, Text)>),
    /// Retention passed the place to read from: every event up to here is gone.
    Trimmed(Offset),
}

/// A run that has no end yet. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// Its id.
    pub run: RunId,
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: ChannelName,
    /// The stored pieces, joined.
    pub text: String,
}

impl std::fmt::Debug for UnfinishedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnfinishedRun").field("run", &self.run).field("bytes", &self.text.len()).finish()
    }
}

/// A store that gives another kind of reply than the question has is broken, and said to be so.
macro_rules! only {
    ($(#[$doc:meta] $name:ident: $variant:ident($of:ty);)*) => {
        impl Reply {
            $(
                #[$doc]
                ///
                /// # Errors
                ///
                /// The reply is of another kind.
                pub fn $name(self) -> Result<$of, StoreError> {
                    match self {
                        Reply::$variant(found) => Ok(found),
                        _ => Err(StoreError::Unavailable),
                    }
                }
            )*
        }
    };
}

only! {
    /// The reply to [`Read::Channel`].
    channel: Channel(Option<ChannelRow>);
    /// The reply to [`Read::Events`].
    events: Events(Found);
    /// The reply to [`Read::Newest`].
    frames: Frames(Vec<Text>);
    /// The reply to [`Read::ToTrim`] and [`Read::Unused`].
    channels: Channels(Vec<(i64, ChannelName)>);
    /// The reply to [`Read::Wanting`].
    wanting: Wanting(Vec<(ChannelName, Offset)>);
    /// The reply to [`Read::Unfinished`].
    unfinished: Unfinished(Vec<UnfinishedRun>);
    /// The reply to [`Read::Revocations`].
    revocations: Revocations(Vec<Revocation>);
}
