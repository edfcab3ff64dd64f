//! Why a command was refused.

use crate::wire::codes;
use thiserror::Error;

/// Why an op was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel's name is not 1 to 128 characters out of `a-z A-Z 0-9 : _ . -`.
    #[error("the channel name is not valid")]
    BadChannel,
    /// The body is not a JSON object.
    #[error("the body is not a JSON object")]
    BadBody,
    /// The body is nested deeper than the server accepts: 24 levels.
    #[error("the body is nested deeper than 24 levels; make it flatter")]
    TooDeep,
    /// The op's id is not a UUID.
    #[error("the id is not a UUID")]
    BadOpId,
    /// The text is empty.
    #[error("the text is empty")]
    Empty,
    /// Longer than the server accepts.
    #[error("the message is longer than the server takes")]
    TooLarge,
    /// The outbox is full; by default with 1,000 ops or 5 MiB.
    #[error("too much is waiting to be sent; try again once some of it has gone")]
    OutboxFull,
    /// The channel is not open.
    #[error("the channel is not open; open it first")]
    NotOpen,
    /// The kind is empty, or one that the protocol keeps for itself.
    #[error("the kind is empty or reserved; choose another name")]
    BadKind,
    /// This client holds all the leases in the channel that it may hold: 8.
    #[error("too many leases in this channel; give one up first")]
    TooManyLeases,
    /// There is no event at this offset, or it is not here yet.
    #[error("there is no event at this offset")]
    BadOffset,
    /// No answer is under way.
    #[error("no answer is under way")]
    RunNotFound,
}

impl SendError {
    /// The code, the same string in every language.
    pub fn code(self) -> &'static str {
        match self {
            SendError::BadChannel => codes::BAD_CHANNEL,
            SendError::BadBody => codes::BAD_BODY,
            SendError::TooDeep => codes::TOO_DEEP,
            SendError::BadOpId => codes::BAD_OP_ID,
            SendError::Empty => codes::EMPTY,
            SendError::TooLarge => codes::TOO_LARGE,
            SendError::OutboxFull => codes::OUTBOX_FULL,
            SendError::NotOpen => codes::NOT_SUBSCRIBED,
            SendError::BadKind => codes::BAD_KIND,
            SendError::TooManyLeases => codes::TOO_MANY_LEASES,
            SendError::BadOffset => codes::BAD_OFFSET,
            SendError::RunNotFound => codes::RUN_NOT_FOUND,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(self, SendError::OutboxFull)
    }
}

/// Why a subscription was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The channel's name is not 1 to 128 characters out of `a-z A-Z 0-9 : _ . -`.
    #[error("the channel name is not valid")]
    BadChannel,
    /// The channel is not open.
    #[error("the channel is not open; open it first")]
    NotOpen,
    /// This client has the most subscriptions it may have: 100.
    #[error("too many subscriptions; end one first")]
    TooMany,
}

impl SubscribeError {
    /// The code, the same string in every language.
    pub fn code(self) -> &'static str {
        match self {
            SubscribeError::BadChannel => codes::BAD_CHANNEL,
            SubscribeError::NotOpen => codes::NOT_SUBSCRIBED,
            SubscribeError::TooMany => codes::TOO_MANY_SUBSCRIPTIONS,
        }
    }
}
