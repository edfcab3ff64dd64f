//! The interface to the database that keeps the log: [`Store`].
//!
//! A [`Write`] is answered with an [`Outcome`] once it is certain whether it was committed, in the
//! order of the commits. A [`Read`] sees only what is committed and is answered with a [`Reply`].

mod read;
mod session;
mod site;
mod write;

pub use read::{ChannelRow, Found, Handed, Positions, Read, Reply, UnfinishedRun};
pub use session::SessionRow;
pub use site::Site;
pub use write::{
    Account, CreateDialog, Duplicate, EndRun, Exchange, Handing, MAX_MEMBERSHIPS, MAX_SITES, NewEvent,
    Outcome, Refusal, Revocation, SetMember, SetPosition, StartRun, StorePiece, Stored, Trim, Trimmed, Write,
};

use thiserror::Error;
use tidewire_core::wire::{UserKind, codes};

/// Keeps events, dialogs, answers under way, revocations and sessions.
pub trait Store: Send + Sync {
    /// Submits a write. `done` is called once, when it is certain whether the write was committed.
    /// Calls never overlap and come in the order of the commits.
    fn write(&self, write: Write, done: Done);

    /// Reads what is committed. `got` is called once, on any thread.
    fn read(&self, read: Read, got: Got);
}

/// The name of a user that is unique over kinds: a guest and a user with the same id have different
/// ones.
pub fn key_of(kind: UserKind, id: &str) -> String {
    format!("{}:{id}", kind.as_str())
}

/// Called with the outcome of a write.
pub type Done = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// Called with the reply to a read.
pub type Got = Box<dyn FnOnce(Result<Reply, StoreError>) + Send>;

/// Why the store could not write or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full.
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
