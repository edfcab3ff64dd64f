//! Reads, and their replies.

use super::{Account, Revocation, SessionRow, Site, StoreError};
use crate::text::Text;
use tidewire_core::wire::{ChannelName, Handler, Offset, Receipt, RunId};

/// A read of what is committed. Each names the kind of its [`Reply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A channel by its name: [`Reply::Channel`].
    Channel(ChannelName),
    /// A page's events: [`Reply::Events`].
    Events {
        /// The channel's row.
        channel: i64,
        /// Only events after this offset.
        from: Offset,
        /// Only events up to this offset, and no more than fit in a page. If there are any, at
        /// least one is returned, however long.
        to: Offset,
    },
    /// The newest of some events, oldest first: [`Reply::Events`], never [`Found::Trimmed`].
    Earlier {
        /// The channel's row.
        channel: i64,
        /// Only events after this offset.
        from: Offset,
        /// Only events up to this offset, and no more than fit in a page. If there are any, at
        /// least one is returned, however long.
        to: Offset,
    },
    /// The newest events, to be shown to a model, oldest first: [`Reply::Frames`].
    Newest {
        /// The channel's row.
        channel: i64,
        /// Only events before this offset. The store may look only at the last few hundred of them.
        before: Offset,
        /// Maximum number of events.
        most: usize,
        /// Only events of these kinds.
        kinds: &'static [&'static str],
    },
    /// The next channels that may have events to trim, by age or by number: [`Reply::Channels`].
    ToTrim {
        /// Only channels after this row.
        after: i64,
        /// Channels with events committed before this time, ms since the Unix epoch; 0 for none.
        before_ms: u64,
        /// Channels with more events than this; 0 for no limit.
        keep: u64,
        /// Maximum number of channels.
        most: usize,
    },
    /// The next dialogs that a user created and in which nobody ever wrote: [`Reply::Channels`].
    Unused {
        /// Only dialogs after this row.
        after: i64,
        /// Only dialogs created before this time, ms since the Unix epoch.
        before_ms: u64,
        /// Maximum number of dialogs.
        most: usize,
    },
    /// All dialogs that want an answer: [`Reply::Wanting`].
    Wanting,
    /// All runs without an end, which after a start means that a crash cut them off:
    /// [`Reply::Unfinished`].
    Unfinished,
    /// The channels that a user ([`crate::Identity::key`]) is a member of: [`Reply::Names`].
    Memberships(String),
    /// The members of a channel, as [`crate::Identity::key`]s in their order: [`Reply::Users`].
    Members {
        /// The channel's name.
        channel: ChannelName,
        /// Only members after this one; empty for all.
        after: String,
        /// Maximum number of members.
        most: usize,
    },
    /// How far a channel was read: [`Reply::Positions`].
    Positions {
        /// The channel's row.
        channel: i64,
        /// The user ([`crate::Identity::key`]) whose own position is meant.
        user: String,
        /// Events after this offset are not counted as unread.
        to: Offset,
        /// Maximum number of positions of others.
        most: usize,
    },
    /// The dialogs of an account for which an operator is asked for, in the order in which that was:
    /// [`Reply::Handed`].
    Queued {
        /// The account.
        account: Account,
        /// Maximum number of dialogs.
        most: usize,
    },
    /// All dialogs that operators have: [`Reply::Handed`].
    Held,
    /// All revocations: [`Reply::Revocations`].
    Revocations,
    /// A session by its id, also one that is over: [`Reply::Session`].
    Session(String),
    /// All sites: [`Reply::Sites`].
    Sites,
}

/// The reply to a [`Read`].
#[derive(Debug)]
pub enum Reply {
    /// The channel; `None` if it does not exist.
    Channel(Option<ChannelRow>),
    /// A page's events.
    Events(Found),
    /// The events' frames.
    Frames(Vec<Text>),
    /// The channels' rows and names, in the order of the rows.
    Channels(Vec<(i64, ChannelName)>),
    /// The channels' names, each with the offset of the newest message that no answer covers.
    Wanting(Vec<(ChannelName, Offset)>),
    /// The runs, in the order of their channels.
    Unfinished(Vec<UnfinishedRun>),
    /// Names of channels, in no order.
    Names(Vec<ChannelName>),
    /// Users ([`crate::Identity::key`]).
    Users(Vec<String>),
    /// How far a channel was read.
    Positions(Positions),
    /// The dialogs.
    Handed(Vec<Handed>),
    /// The revocations, in no order.
    Revocations(Vec<Revocation>),
    /// The session; `None` if it does not exist.
    Session(Option<SessionRow>),
    /// The sites, in no order.
    Sites(Vec<Site>),
}

/// How far a channel was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// The user's own position; 0 if there is none.
    pub own: Offset,
    /// How many of the events after it count as unread for the user.
    pub unread: u64,
    /// Whether there may be older ones that were not counted.
    pub more: bool,
    /// How many bytes of events were read to count them.
    pub scanned: usize,
    /// The positions of others, with their users ([`crate::Identity::key`]), in no order.
    pub others: Vec<(String, Receipt)>,
}

/// A channel's row in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// The row's id.
    pub id: i64,
    /// The newest offset.
    pub head: Offset,
    /// Every event up to this offset was trimmed.
    pub floor: Offset,
    /// The dialog's owner ([`crate::Identity::key`]).
    pub owner: Option<String>,
    /// The account that it belongs to.
    pub account: Account,
    /// Who answers, if it is a dialog.
    pub handler: Handler,
}

/// A dialog for which somebody asked for an operator, or which an operator has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: ChannelName,
    /// Its handler.
    pub handler: Handler,
}

/// The result of reading a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The events' offsets and frames, oldest first.
    Events(Vec<(Offset, Text)>),
    /// Events after the requested offset were trimmed; this is the channel's floor.
    Trimmed(Offset),
}

/// A run that has no end yet. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// The run's id.
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

/// Unwraps each kind of reply. A reply of another kind is a fault of the store, which then counts
/// as unavailable.
macro_rules! only {
    ($(#[$doc:meta] $name:ident: $variant:ident($of:ty);)*) => {
        impl Reply {
            $(
                #[$doc]
                ///
                /// # Errors
                ///
                /// [`StoreError::Unavailable`] if the reply is of another kind.
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
    /// The reply to [`Read::Memberships`].
    names: Names(Vec<ChannelName>);
    /// The reply to [`Read::Members`].
    users: Users(Vec<String>);
    /// The reply to [`Read::Positions`].
    positions: Positions(Positions);
    /// The reply to [`Read::Queued`] and [`Read::Held`].
    handed: Handed(Vec<Handed>);
    /// The reply to [`Read::Revocations`].
    revocations: Revocations(Vec<Revocation>);
    /// The reply to [`Read::Session`].
    session: Session(Option<SessionRow>);
    /// The reply to [`Read::Sites`].
    sites: Sites(Vec<Site>);
}
