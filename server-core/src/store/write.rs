//! What is written, and what becomes of it.

use crate::text::Text;
use tidewire_core::wire::{ChannelName, Offset, OpId, RunId, User};
use uuid::Uuid;

/// An event to be stored.
#[derive(Clone)]
pub struct NewEvent {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: ChannelName,
    /// Whose op ids this one is compared with.
    pub author: String,
    /// As whom it is shown.
    pub by: User,
    /// The op id.
    pub op: Uuid,
    /// The op id as the client wrote it.
    pub id: OpId,
    /// The event's kind.
    pub kind: String,
    /// Raw JSON of its body.
    pub body: String,
    /// The op that must be committed before.
    pub after: Option<Uuid>,
    /// The run that must be under way.
    pub needs_run: Option<RunId>,
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
    pub run: RunId,
}

/// A piece of an answer.
#[derive(Clone)]
pub struct StorePiece {
    /// The answer.
    pub run: RunId,
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
    pub run: RunId,
}

/// A new dialog.
pub struct CreateDialog {
    /// The channel's name.
    pub name: ChannelName,
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
#[derive(Clone)]
pub struct Trim {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: ChannelName,
    /// Events committed before this time go, ms since the Unix epoch; 0 for none.
    pub before_ms: u64,
    /// So many of the newest events stay; 0 for all.
    pub keep: u64,
    /// Op ids of events committed since this time are remembered.
    pub remember_ms: u64,
}

/// What a user's tokens no longer allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whose ([`crate::Identity::key`]).
    pub user: String,
    /// The dialog that tokens no longer give access to; none when they are worth nothing at all.
    pub dialog: Option<String>,
    /// Tokens issued up to here are meant, ms since the Unix epoch.
    pub since_ms: u64,
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
        name: ChannelName,
        /// Only if nobody ever wrote in it and it was created before this time, ms since the Unix
        /// epoch.
        unused_before_ms: Option<u64>,
    },
    /// The oldest events of a channel go.
    Trim(Trim),
    /// Forgets so many of the trimmed ops that were committed before this time, ms since the Unix
    /// epoch.
    ForgetOps {
        /// See above.
        before_ms: u64,
        /// At most so many.
        most: usize,
    },
    /// An id that a client made for itself, a secret, is given away for a guest: their dialogs
    /// become the guest's.
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

impl Write {
    /// The name of the channel that it changes, if that may be in memory then: after a commit in
    /// doubt it has to be compared.
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Write::Append(event) => Some(&event.name),
            Write::StartRun(start) => Some(&start.event.name),
            Write::EndRun(end) => Some(&end.event.name),
            Write::Trim(trim) => Some(&trim.name),
            _ => None,
        }
    }
}

/// A committed event.
#[derive(Clone)]
pub struct Stored {
    /// Its offset.
    pub offset: Offset,
    /// When, ms since the Unix epoch.
    pub at: u64,
    /// Its frame, for every subscriber.
    pub frame: Text,
}

/// Where an op stands that was committed before.
#[derive(Clone)]
pub struct Duplicate {
    /// Its offset.
    pub offset: Offset,
    /// When, ms since the Unix epoch.
    pub at: u64,
    /// Its event's frame, unless it was trimmed.
    pub frame: Option<Text>,
}

/// What a [`Trim`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Every event up to here is gone.
    pub floor: Offset,
    /// How many went.
    pub events: u64,
    /// Whether there is more to trim.
    pub more: bool,
}

/// What became of a write that the database did not fail.
pub enum Outcome {
    /// An event was committed.
    Stored(Stored),
    /// The same op was committed before.
    Duplicate(Duplicate),
    /// The dialog is new.
    Created,
    /// The guest with this id stands for the secret now, or stood for it a moment ago already: the
    /// answer may have been lost.
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
