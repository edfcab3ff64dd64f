//! What is stored, as requests and replies: a server keeps its log behind [`Store`], whichever
//! database that is.
//!
//! [`Write`]s become [`Outcome`]s, in the order in which they are handed in, each once its fate is
//! certain. [`Read`]s see what is committed and become [`Reply`]s.

mod read;
mod write;

pub use read::{ChannelRow, Found, Read, Reply, UnfinishedRun};
pub use write::{
    CreateDialog, Duplicate, EndRun, Exchange, NewEvent, Outcome, Refusal, Revocation, StartRun, StorePiece,
    Stored, Trim, Trimmed, Write,
};

use thiserror::Error;
use tidewire_core::wire::codes;

/// Where events, dialogs, answers under way and revocations are kept.
pub trait Store: Send + Sync {
    /// Hands a write in. `done` is called once, when the write's fate is certain; all of them are
    /// called one after the other, in the order of the commits.
    fn write(&self, write: Write, done: Done);

    /// Asks something of what is committed. `got` is called once, on any thread.
    fn read(&self, read: Read, got: Got);
}

/// Called with what became of a write.
pub type Done = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// Called with what was read.
pub type Got = Box<dyn FnOnce(Result<Reply, StoreError>) + Send>;

/// Why the store could not write or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room is left.
    #[error("the server's disk is full; nothing was stored, try again later")]
    Full,
    /// Any other fault.
    #[error("the server can't reach its database now; try again later")]
    Unavailable,
}

impl StoreError {
    /// The stable code of the protocol, section 9.
    pub fn code(self) -> &'static str {
        match self {
            StoreError::Full => codes::STORAGE_FULL,
            StoreError::Unavailable => codes::STORE_UNAVAILABLE,
        }
    }
}
