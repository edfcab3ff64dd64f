//! The errors of calls: one small enum per operation, each with a stable code that is the same in
//! every language.

use thiserror::Error;

/// Why a client could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The server's address is not `http(s)://host[:port][/prefix]` or the same with `ws(s)`.
    #[error("the server's address is not a valid http, https, ws or wss address without a query")]
    BadUrl,
    /// The guest's nickname is not 1 to 40 characters without control characters.
    #[error("a nickname has 1 to 40 characters, and no control characters")]
    BadNickname,
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
}

impl OpenError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::BadUrl => "bad_url",
            OpenError::BadNickname => "bad_nickname",
            OpenError::Store(error) => error.code(),
        }
    }
}

/// Why a store could not be opened. Nothing in it was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreOpenError {
    /// Another client, in this process or another one, has it open.
    #[error("the store is in use by another client; give each client a folder of its own")]
    InUse,
    /// A newer version of this library wrote it.
    #[error("the store has format {found}, this version reads up to {known}; update the application")]
    Newer {
        /// The format found.
        found: i64,
        /// The newest format known.
        known: i64,
    },
    /// The file system or the file is broken, missing or not accessible.
    #[error("the store can't be opened: {0}")]
    Unavailable(String),
}

impl StoreOpenError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &'static str {
        match self {
            StoreOpenError::InUse => "store_in_use",
            StoreOpenError::Newer { .. } => "store_newer",
            StoreOpenError::Unavailable(_) => "storage_unavailable",
        }
    }
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] tidewire_core::SendError),
}

impl SendError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &'static str {
        match self {
            SendError::Closed => "closed",
            SendError::Refused(error) => error.code(),
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SendError::Closed => false,
            SendError::Refused(error) => error.is_retryable(),
        }
    }
}

/// Why a dialog or a channel was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] tidewire_core::SubscribeError),
}

impl SubscribeError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &'static str {
        match self {
            SubscribeError::Closed => "closed",
            SubscribeError::Refused(error) => error.code(),
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, SubscribeError::Refused(tidewire_core::SubscribeError::TooMany))
    }
}

/// Why a view of a table was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableOpenError {
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] tidewire_core::tables::TableError),
}

impl TableOpenError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &'static str {
        match self {
            TableOpenError::Closed => "closed",
            TableOpenError::Refused(error) => error.code(),
        }
    }

    /// The position in the filter, in bytes, if the error is about the filter.
    pub fn at(&self) -> Option<usize> {
        match self {
            TableOpenError::Closed => None,
            TableOpenError::Refused(error) => error.at(),
        }
    }
}

/// Why a wait for a transaction ended without it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AwaitTxError {
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] tidewire_core::tables::TableError),
    /// The server does not know the transaction, it was rolled back, it did not come in time, or
    /// the subscription failed.
    #[error("the transaction was not seen: {code}")]
    NotSeen {
        /// Stable code: `unknown_tx`, `aborted_tx`, `timeout`, or the code with which the
        /// subscription failed.
        code: String,
    },
}

impl AwaitTxError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &str {
        match self {
            AwaitTxError::Closed => "closed",
            AwaitTxError::Refused(error) => error.code(),
            AwaitTxError::NotSeen { code } => code,
        }
    }
}

/// Why an op did not become an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpError {
    /// The op was refused or waited too long. It blocks its channel until it is retried or
    /// discarded.
    #[error("the message was refused: {code}")]
    Failed {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
    },
    /// The application discarded it.
    #[error("the message was discarded")]
    Discarded,
    /// The client was closed first. A message in a stored outbox is sent after the next start.
    #[error("the client was closed before the message was acknowledged")]
    Closed,
}

impl OpError {
    /// The code, the same string in every language.
    pub fn code(&self) -> &str {
        match self {
            OpError::Failed { code, .. } => code,
            OpError::Discarded => "discarded",
            OpError::Closed => "closed",
        }
    }
}
