//! The log on disk: SQLite, one writer that commits in groups, readers beside it.
//!
//! A write is answered after its transaction is on disk. Answers come in the order of the commits, on one thread, so
//! whoever publishes from them publishes in log order.

mod checkpoint;
mod doubt;
mod life;
mod ops;
mod read;
mod retention;
mod schema;
mod transaction;
mod writer;

pub(crate) use doubt::Doubt;
pub(crate) use ops::own_id;
pub(crate) use read::Found;
use read::Readers;
pub use schema::{OpenError, SCHEMA_VERSION};
pub(crate) use writer::Store;

use axum::extract::ws::Utf8Bytes;
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::wire::{User, codes};
use uuid::Uuid;

use schema::Identity;

/// An event to be stored.
#[derive(Clone)]
pub(crate) struct NewEvent {
    /// The channel's row.
    pub(crate) channel: i64,
    /// The channel's name.
    pub(crate) name: Arc<str>,
    /// Whose op ids this one is compared with.
    pub(crate) author: String,
    /// As whom it is shown.
    pub(crate) by: User,
    /// The op id.
    pub(crate) op: Uuid,
    /// The op id as the client wrote it.
    pub(crate) id: String,
    /// The event's kind.
    pub(crate) kind: &'static str,
    /// Raw JSON of its body.
    pub(crate) body: String,
    /// The op that must be committed before.
    pub(crate) after: Option<Uuid>,
    /// The run that must be under way.
    pub(crate) needs_run: Option<String>,
    /// Whether the dialog wants an answer from then on.
    pub(crate) wants_answer: bool,
}

/// The begin of an answer.
pub(crate) struct StartRun {
    /// Its `answer.start`.
    pub(crate) event: NewEvent,
    /// Its id.
    pub(crate) run: String,
}

/// A piece of an answer.
#[derive(Clone)]
pub(crate) struct StorePiece {
    /// The answer.
    pub(crate) run: String,
    /// Where the text stands, in bytes.
    pub(crate) at: u64,
    /// The text.
    pub(crate) text: String,
}

/// The end of an answer; its pieces go with it.
#[derive(Clone)]
pub(crate) struct EndRun {
    /// Its `answer.end`.
    pub(crate) event: NewEvent,
    /// Its id.
    pub(crate) run: String,
}

/// A new dialog.
pub(crate) struct CreateDialog {
    /// The channel's name.
    pub(crate) name: String,
    /// Whose it is; nobody's when the configuration opens it.
    pub(crate) owner: Option<String>,
}

/// What retention wants gone from a channel: one small batch of it.
#[derive(Clone, Copy)]
pub(crate) struct Trim {
    /// The channel's row.
    pub(crate) channel: i64,
    /// Events committed before this time go, ms since the Unix epoch; 0 for none.
    pub(crate) before_ms: u64,
    /// So many of the newest events stay; 0 for all.
    pub(crate) keep: u64,
    /// Op ids of events committed since this time are remembered.
    pub(crate) remember_ms: u64,
}

/// Something the writer does.
pub(crate) enum Write {
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
    /// The oldest events of a channel go.
    Trim(Trim),
    /// Forgets so many of the trimmed ops that were committed before this time, ms since the Unix epoch.
    ForgetOps {
        /// See above.
        before_ms: u64,
        /// At most so many.
        most: usize,
    },
    /// Finds out whether writing works.
    Probe,
    /// Limits the database to its present size and so many pages, or lifts the limit.
    LimitPages(Option<u32>),
}

/// A committed event.
#[derive(Clone)]
pub(crate) struct Stored {
    /// Its offset.
    pub(crate) offset: u64,
    /// When, ms since the Unix epoch.
    pub(crate) at: u64,
    /// Its frame, for every subscriber.
    pub(crate) frame: Utf8Bytes,
}

/// Where an op stands that was committed before.
#[derive(Clone)]
pub(crate) struct Duplicate {
    /// Its offset.
    pub(crate) offset: u64,
    /// When, ms since the Unix epoch.
    pub(crate) at: u64,
    /// Its event's frame, unless it was trimmed.
    pub(crate) frame: Option<Utf8Bytes>,
}

/// What a [`Trim`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// Every event up to here is gone.
    pub(crate) floor: u64,
    /// How many went.
    pub(crate) events: u64,
    /// Whether there is more to trim.
    pub(crate) more: bool,
}

/// What became of a write that SQLite did not fail.
pub(crate) enum Outcome {
    /// An event was committed.
    Stored(Stored),
    /// The same op was committed before.
    Duplicate(Duplicate),
    /// The dialog is new.
    Created,
    /// So far the channel is trimmed now.
    Trimmed(Trimmed),
    /// So many trimmed ops were forgotten.
    Forgotten(usize),
    /// Done, or there was nothing to do.
    Done,
    /// Nothing was written.
    Refused(Refusal),
}

impl Outcome {
    /// The event that was committed, now or before.
    pub(crate) fn event(&self) -> Option<Stored> {
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
pub(crate) enum Refusal {
    /// `after` is not committed.
    Blocked,
    /// The op id stands for something else.
    OpIdReused,
    /// No such run.
    RunNotFound,
    /// The dialog belongs to somebody else.
    DialogTaken,
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
