//! The errors for Kotlin, Swift and Python.

use crate::error::{OpError, OpenError, SendError, SubscribeError};

/// Why a call failed. `code` is the same stable string in every language; `detail` is for
/// developers.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum TidewireError {
    /// The options are not valid: `bad_url`, `bad_nickname` or `no_identity`.
    #[error("{code}: {detail}")]
    Options {
        /// Stable code.
        code: String,
        /// For developers.
        detail: String,
    },
    /// The store can't be used: `store_in_use`, `store_newer` or `storage_unavailable`.
    #[error("{code}: {detail}")]
    Store {
        /// Stable code.
        code: String,
        /// For developers.
        detail: String,
    },
    /// The command was refused.
    #[error("{code}: {detail}")]
    Refused {
        /// Stable code.
        code: String,
        /// For developers.
        detail: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// The client is closed.
    #[error("{code}: {detail}")]
    Closed {
        /// `closed`.
        code: String,
        /// For developers.
        detail: String,
    },
    /// For token providers to throw: this user may not connect, and asking again is pointless.
    #[error("{code}: {detail}")]
    Unauthorized {
        /// `unauthorized`.
        code: String,
        /// For developers.
        detail: String,
    },
    /// The application's own code threw something else.
    #[error("{code}: {detail}")]
    Callback {
        /// `callback_failed`.
        code: String,
        /// For developers.
        detail: String,
    },
}

impl From<OpenError> for TidewireError {
    fn from(error: OpenError) -> TidewireError {
        let (code, detail) = (error.code().to_owned(), error.to_string());
        match error {
            OpenError::BadUrl | OpenError::BadNickname => TidewireError::Options { code, detail },
            OpenError::Store(_) => TidewireError::Store { code, detail },
        }
    }
}

impl From<SendError> for TidewireError {
    fn from(error: SendError) -> TidewireError {
        let (code, detail, retryable) = (error.code().to_owned(), error.to_string(), error.is_retryable());
        match error {
            SendError::Closed => TidewireError::Closed { code, detail },
            SendError::Refused(_) => TidewireError::Refused { code, detail, retryable },
        }
    }
}

impl From<OpError> for TidewireError {
    fn from(error: OpError) -> TidewireError {
        let (code, detail) = (error.code().to_owned(), error.to_string());
        match error {
            OpError::Closed => TidewireError::Closed { code, detail },
            OpError::Failed { .. } | OpError::Discarded => {
                TidewireError::Refused { code, detail, retryable: false }
            }
        }
    }
}

impl From<SubscribeError> for TidewireError {
    fn from(error: SubscribeError) -> TidewireError {
        let (code, detail, retryable) = (error.code().to_owned(), error.to_string(), error.is_retryable());
        match error {
            SubscribeError::Closed => TidewireError::Closed { code, detail },
            SubscribeError::Refused(_) => TidewireError::Refused { code, detail, retryable },
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for TidewireError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> TidewireError {
        TidewireError::Callback { code: String::from("callback_failed"), detail: error.reason }
    }
}
