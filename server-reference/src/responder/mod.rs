//! The interface between the server and a model.

mod joined;
mod openai;
mod scripted;

pub use openai::OpenAi;
pub use scripted::Scripted;

use futures_util::stream::BoxStream;

pub use tidewire_server_core::{ModelError, Role, Turn};

/// Something that answers dialogs.
pub trait Responder: Send + Sync + 'static {
    /// Streams an answer to the newest of `turns` (oldest first, never empty). Dropping the stream
    /// cancels the answer; after an error the stream is not polled again.
    fn answer(&self, turns: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>>;
}
