//! The log: an SQLite database, and what is written to it and read from it, one function for each, on a connection of the caller's.
//!
//! A batch of writes is applied by [`begin`] inside a transaction that the caller commits or rolls back. Only then may anybody
//! hear of it, in the order of the commits. Readers need a connection of their own, or they see what is not committed yet.

mod dialogs;
mod doubt;
mod ops;
mod read;
mod retention;
mod schema;
mod transaction;

pub use doubt::{Doubt, channel_of, look};
pub use read::{
    ChannelRow, Found, UnfinishedRun, channel, newest, page, revocations, to_trim, unfinished, unused,
    wanting,
};
pub use schema::{SCHEMA_VERSION, SchemaError, migrate, read_meta, tune, write_meta};
pub use transaction::{Applied, begin, commit, rollback};

use crate::revocations::Revocation;
use crate::text::Text;
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::wire::{User, codes};
use uuid::Uuid;

/// What the log takes from outside.
pub trait Outside {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// A keyed digest, the same for the same text in all lives of the database; none when it can't be made.
    fn digest(&self, text: &str) -> Option<String>;
    /// Whether the trimming that began with this batch has kept everybody else's writes waiting for long enough.
    fn enough(&self) -> bool;
}

/// Takes writes and commits them, in the order in which they are handed in.
pub trait Submit: Send + Sync {
    /// Hands a write in. `done` is called once, when its fate is certain; all of them are called in the order of the commits.
    fn submit(&self, write: Write, done: Done);
}

/// Told what became of a write.
pub type Done = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// An event to be stored.
#[derive(Clone)]
pub struct NewEvent {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: Arc<str>,
    /// Whose op ids this one is compared with.
    pub author: String,
    /// As whom it is shown.
    pub by: User,
    /// The op id.
    pub op: Uuid,
    /// The op id as the client wrote it.
    pub id: String,
    /// The event's kind.
    pub kind: &'static str,
    /// Raw JSON of its body.
    pub body: String,
    /// The op that must be committed before.
    pub after: Option<Uuid>,
    /// The run that must be under way.
    pub needs_run: Option<String>,
    /// Whether the dialog wants an answer from then on.
    pub wants_answer: bool,
    /// Whether its author may not write here any more: only what was committed before is answered.
    pub forbidden: bool,
}

/// The begin of an answer.
pub struct StartRun {
    /// Its `answer.start`.
    pub event: NewEvent,
    /// Its id.
    pub run: String,
}

/// A piece of an answer.
#[derive(Clone)]
pub struct StorePiece {
    /// The answer.
    pub run: String,
    /// Where the text stands, in bytes.
    pub at: u64,
    /// The text.
    pub text: String,
}

/// The end of an answer; its pieces go with it.
#[derive(Clone)]
pub struct EndRun {
    /// Its `answer.end`.
    pub event: NewEvent,
    /// Its id.
    pub run: String,
}

/// A new dialog.
pub struct CreateDialog {
    /// The channel's name.
    pub name: String,
    /// Whose it is; nobody's when the configuration opens it.
    pub owner: Option<String>,
}

/// An id that a client made for itself, against a guest of the server's.
pub struct Exchange {
    /// Whoever knows it is taken for its maker, once.
    pub secret: String,
    /// Whose dialogs become the guest's ([`crate::Identity::key`]).
    pub from: String,
    /// The id of the guest.
    pub guest: String,
    /// The guest's [`crate::Identity::key`].
    pub to: String,
}

/// What retention wants gone from a channel: one small batch of it.
#[derive(Clone, Copy)]
pub struct Trim {
    /// The channel's row.
    pub channel: i64,
    /// Events committed before this time go, ms since the Unix epoch; 0 for none.
    pub before_ms: u64,
    /// So many of the newest events stay; 0 for all.
    pub keep: u64,
    /// Op ids of events committed since this time are remembered.
    pub remember_ms: u64,
}

/// Something the writer does.
pub enum Write {
    /// An op becomes an event.
    Append(NewEvent),
    /// An answer begins.
    StartRun(StartRun),
    /// An answer goes on.
    Piece(StorePiece),
    /// An answer ends.
    EndRun(EndRun),
    /// A dialog is created.
    CreateDialog(CreateDialog),
    /// A dialog goes, with all its events.
    DeleteDialog {
        /// The channel's name.
        name: String,
        /// Only if nobody ever wrote in it and it was created before this time, ms since the Unix epoch.
        unused_before_ms: Option<u64>,
    },
    /// The oldest events of a channel go.
    Trim(Trim),
    /// Forgets so many of the trimmed ops that were committed before this time, ms since the Unix epoch.
    ForgetOps {
        /// See above.
        before_ms: u64,
        /// At most so many.
        most: usize,
    },
    /// An id that a client made for itself, a secret, is given away for a guest: their dialogs become the guest's.
    Exchange(Exchange),
    /// Access is taken back.
    Revoke(Revocation),
    /// Forgets revocations from before this time, ms since the Unix epoch.
    ForgetRevocations {
        /// See above.
        before_ms: u64,
    },
    /// Finds out whether writing works.
    Probe,
    /// Limits the database to its present size and so many pages, or lifts the limit.
    LimitPages(Option<u32>),
}

/// A committed event.
#[derive(Clone)]
pub struct Stored {
    /// Its offset.
    pub offset: u64,
    /// When, ms since the Unix epoch.
    pub at: u64,
    /// Its frame, for every subscriber.
    pub frame: Text,
}

/// Where an op stands that was committed before.
#[derive(Clone)]
pub struct Duplicate {
    /// Its offset.
    pub offset: u64,
    /// When, ms since the Unix epoch.
    pub at: u64,
    /// Its event's frame, unless it was trimmed.
    pub frame: Option<Text>,
}

/// What a [`Trim`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Every event up to here is gone.
    pub floor: u64,
    /// How many went.
    pub events: u64,
    /// Whether there is more to trim.
    pub more: bool,
}

/// What became of a write that SQLite did not fail.
pub enum Outcome {
    /// An event was committed.
    Stored(Stored),
    /// The same op was committed before.
    Duplicate(Duplicate),
    /// The dialog is new.
    Created,
    /// The guest with this id stands for the secret now, or stood for it a moment ago already: the answer may have been lost.
    Exchanged(String),
    /// The dialog with this row is gone.
    Deleted(i64),
    /// So far the channel is trimmed now.
    Trimmed(Trimmed),
    /// So many trimmed ops or revocations were forgotten.
    Forgotten(usize),
    /// Done, or there was nothing to do.
    Done,
    /// Nothing was written.
    Refused(Refusal),
}

impl Outcome {
    /// The event that was committed, now or before.
    pub fn event(&self) -> Option<Stored> {
        match self {
            Outcome::Stored(stored) => Some(stored.clone()),
            Outcome::Duplicate(Duplicate { offset, at, frame: Some(frame) }) => {
                Some(Stored { offset: *offset, at: *at, frame: frame.clone() })
            }
            _ => None,
        }
    }
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `after` is not committed.
    Blocked,
    /// The op id stands for something else.
    OpIdReused,
    /// Its author may not write here, or the dialog is gone.
    Forbidden,
    /// No such run.
    RunNotFound,
    /// The dialog belongs to somebody else.
    DialogTaken,
    /// The secret was given away before.
    Exchanged,
}

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

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
            _ => StoreError::Unavailable,
        }
    }
}
