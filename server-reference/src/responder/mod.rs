//! Who answers: the seam between the server and a model.

mod openai;
mod scripted;

pub use openai::OpenAi;
pub use scripted::Scripted;

use futures_util::stream::BoxStream;
use thiserror::Error;

/// Whose words a message of the context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A guest's or a user's.
    User,
    /// A human's who answers for the application's owner.
    Operator,
    /// An earlier answer.
    Assistant,
}

/// One message of the dialog so far. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub role: Role,
    /// The author's name.
    pub name: String,
    /// The message.
    pub text: String,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("role", &self.role).field("bytes", &self.text.len()).finish()
    }
}

/// Something that answers dialogs.
pub trait Responder: Send + Sync + 'static {
    /// Streams an answer to the newest of `turns` (oldest first, never empty). Dropping the stream cancels the answer; after an
    /// error the stream is not polled again.
    fn answer(&self, turns: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>>;
}

/// Why a model could not answer, or not to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The model's server refuses our key.
    #[error("the model refused the server's key")]
    Unauthorized,
    /// Too many requests.
    #[error("the model is asked too often")]
    RateLimited,
    /// No connection, or a fault of the model's server.
    #[error("the model can't be reached")]
    Unavailable,
    /// It took too long.
    #[error("the model took too long")]
    Timeout,
    /// It sent what nobody understands.
    #[error("the model sent an invalid response")]
    BadResponse,
    /// It stopped in the middle.
    #[error("the model's answer was cut off")]
    Cut,
}

impl ModelError {
    /// The stable code of the protocol, section 9.
    pub fn code(self) -> &'static str {
        match self {
            ModelError::Unauthorized => "model_unauthorized",
            ModelError::RateLimited => "model_rate_limited",
            ModelError::Unavailable => "model_unavailable",
            ModelError::Timeout => "model_timeout",
            ModelError::BadResponse => "model_bad_response",
            ModelError::Cut => "model_cut",
        }
    }
}
