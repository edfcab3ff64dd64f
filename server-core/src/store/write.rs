//! Writes, and their outcomes.

use super::{SessionRow, Site};
use crate::text::Text;
use tidewire_core::wire::{ChannelName, Conflict, Offset, OpId, RunId, Step, User};
use uuid::Uuid;

/// An event to be stored.
#[derive(Clone)]
pub struct NewEvent {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: ChannelName,
    /// The author ([`crate::Identity::key`] for a client's op). Op ids are unique per author and
    /// channel.
    pub author: String,
    /// The author as readers see it.
    pub by: User,
    /// The op id.
    pub op: Uuid,
    /// The op id as the client wrote it.
    pub id: OpId,
    /// The event's kind.
    pub kind: String,
    /// The body, as raw JSON.
    pub body: String,
    /// The author's op that must be committed before this one.
    pub after: Option<Uuid>,
    /// The run that must be under way.
    pub needs_run: Option<RunId>,
    /// Whether the dialog wants an answer to this event, unless an operator has it.
    pub wants_answer: bool,
    /// What the event does to who answers in the dialog.
    pub handing: Option<Handing>,
    /// Whether the author may no longer write here: then only an op that was committed before is
    /// found, and any other is refused.
    pub forbidden: bool,
}

/// What an event does to who answers in a dialog. The store keeps the dialog's [`Handler`] with the
/// event, or refuses both.
///
/// [`Handler`]: tidewire_core::wire::Handler
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handing {
    /// A step of a hand-off.
    Step(Step),
    /// A message.
    Message,
}

/// The start of an answer.
pub struct StartRun {
    /// The `answer.start` event.
    pub event: NewEvent,
    /// The run's id.
    pub run: RunId,
}

/// A piece of an answer.
#[derive(Clone)]
pub struct StorePiece {
    /// The run's id.
    pub run: RunId,
    /// Where the piece begins in the answer's text, in bytes.
    pub at: u64,
    /// The piece's text.
    pub text: String,
}

/// The end of an answer, whose pieces are deleted with it.
#[derive(Clone)]
pub struct EndRun {
    /// The `answer.end` event.
    pub event: NewEvent,
    /// The run's id.
    pub run: RunId,
}

/// Whom channels, users and operators belong to: one application, or one customer of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// The server's own, which its configuration names. What belongs to no other account belongs to
    /// it.
    Own,
    /// Another one, by its name.
    Named(String),
}

/// A new dialog.
pub struct CreateDialog {
    /// The channel's name.
    pub name: ChannelName,
    /// The owner ([`crate::Identity::key`]); `None` if the configuration opens the dialog to
    /// everybody.
    pub owner: Option<String>,
    /// The account that it belongs to.
    pub account: Account,
}

/// Turns an id that a client made up for itself into a guest of the server.
pub struct Exchange {
    /// The client's id, which only that client knows. It can be exchanged once.
    pub secret: String,
    /// The owner of the dialogs that become the guest's ([`crate::Identity::key`]).
    pub from: String,
    /// The guest's id.
    pub guest: String,
    /// The guest's [`crate::Identity::key`].
    pub to: String,
}

/// Deletes one small batch of a channel's oldest events. Events that an answer under way or wanted
/// still needs stay.
#[derive(Clone)]
pub struct Trim {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: ChannelName,
    /// Deletes events committed before this time, ms since the Unix epoch; 0 for none.
    pub before_ms: u64,
    /// Deletes all but this many of the newest events; 0 for no limit.
    pub keep: u64,
    /// Ids of clients' ops committed at this time or later are remembered after their events are
    /// deleted, ms since the Unix epoch.
    pub remember_ms: u64,
}

/// Most channels that a user is a member of. All of them are in memory while the user is connected.
pub const MAX_MEMBERSHIPS: usize = 10_000;

/// Most sites of a server. All of them are in memory.
pub const MAX_SITES: usize = 10_000;

/// A user's membership in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMember {
    /// The channel's name.
    pub channel: ChannelName,
    /// The user ([`crate::Identity::key`]).
    pub user: String,
    /// Whether the user is a member from then on.
    pub member: bool,
    /// The account of whoever says so: a channel of another one is refused as
    /// [`Refusal::Forbidden`].
    pub account: Account,
}

/// A user has read a channel up to an event. A position never goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPosition {
    /// The channel's row.
    pub channel: i64,
    /// The user ([`crate::Identity::key`]).
    pub user: String,
    /// The user as others see them.
    pub by: User,
    /// The event's offset.
    pub offset: Offset,
}

/// Takes access back from tokens that a user already has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The user ([`crate::Identity::key`]).
    pub user: String,
    /// The dialog that the tokens no longer give access to; `None` if they are no longer valid at
    /// all.
    pub dialog: Option<String>,
    /// The account whose tokens are meant.
    pub account: Account,
    /// Applies to tokens issued up to this time, ms since the Unix epoch.
    pub since_ms: u64,
}

/// A write.
pub enum Write {
    /// Stores an op as an event.
    Append(NewEvent),
    /// Starts an answer.
    StartRun(StartRun),
    /// Stores a piece of an answer.
    Piece(StorePiece),
    /// Ends an answer.
    EndRun(EndRun),
    /// Creates a dialog.
    CreateDialog(CreateDialog),
    /// Deletes a dialog, with all its events.
    DeleteDialog {
        /// The channel's name.
        name: ChannelName,
        /// Only if nobody ever wrote in it and it was created before this time, ms since the Unix
        /// epoch.
        unused_before_ms: Option<u64>,
    },
    /// Deletes the oldest events of a channel.
    Trim(Trim),
    /// Forgets the ids of ops whose events were trimmed, oldest first.
    ForgetOps {
        /// Only ops committed before this time, ms since the Unix epoch.
        before_ms: u64,
        /// Maximum number of ops.
        most: usize,
    },
    /// Turns a client's own id into a guest, to whom the client's dialogs then belong.
    Exchange(Exchange),
    /// Makes a user a member of a channel, or ends that. The channel need not exist yet.
    SetMember(SetMember),
    /// Stores how far users have read channels.
    Positions(Vec<SetPosition>),
    /// Stores a revocation. If it names a dialog of which the user is the owner, the dialog has no
    /// owner from then on.
    Revoke(Revocation),
    /// Forgets old revocations.
    ForgetRevocations {
        /// Only revocations from before this time, ms since the Unix epoch.
        before_ms: u64,
    },
    /// Stores a session in the place of the one with its id, if that is of the same user and account.
    PutSession(SessionRow),
    /// Deletes a session of this account, if there is one.
    EndSession {
        /// Its id.
        id: String,
        /// The account of whoever says so.
        account: Account,
    },
    /// Deletes sessions that are over.
    ForgetSessions {
        /// Only sessions that ended before this time, ms since the Unix epoch.
        before_ms: u64,
    },
    /// Stores a site in the place of the one with its key, if that is of the same account.
    PutSite(Site),
    /// Deletes a site of this account, if there is one.
    DeleteSite {
        /// Its key.
        key: String,
        /// The account of whoever says so.
        account: Account,
    },
    /// Checks that the database can be written.
    Probe,
    /// Limits the database to this many pages more than it has now; `None` lifts the limit.
    LimitPages(Option<u32>),
}

impl Write {
    /// The name of the channel whose state in memory the write changes. After a commit in doubt
    /// that state is compared with the log.
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
    /// When it was committed, ms since the Unix epoch.
    pub at: u64,
    /// The frame that every subscriber is sent.
    pub frame: Text,
}

/// An op that was committed before.
#[derive(Clone)]
pub struct Duplicate {
    /// Its offset.
    pub offset: Offset,
    /// When it was committed, ms since the Unix epoch.
    pub at: u64,
    /// The frame of its event; `None` if the event was trimmed.
    pub frame: Option<Text>,
}

/// The result of a [`Trim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// The channel's floor: every event up to this offset is trimmed.
    pub floor: Offset,
    /// How many events were deleted.
    pub events: u64,
    /// Whether another batch is left to trim.
    pub more: bool,
}

/// The outcome of a write, unless the database failed.
pub enum Outcome {
    /// An event was committed.
    Stored(Stored),
    /// The same op was committed before.
    Duplicate(Duplicate),
    /// The dialog was created.
    Created,
    /// The id of the guest for whom the secret was exchanged. An exchange that is repeated soon
    /// gets the same guest, because its reply may have been lost.
    Exchanged(String),
    /// The dialog with this row was deleted.
    Deleted(i64),
    /// The channel was trimmed.
    Trimmed(Trimmed),
    /// How far each of the users of a [`Write::Positions`] has read, in the same order, with when
    /// they said so, ms since the Unix epoch; none if the dialog was deleted.
    Positions(Vec<Option<(Offset, u64)>>),
    /// This many trimmed ops or revocations were forgotten.
    Forgotten(usize),
    /// The write was done, or there was nothing to do.
    Done,
    /// Nothing was written.
    Refused(Refusal),
}

impl Outcome {
    /// The event that was committed, by this write or before; `None` if it was trimmed.
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
    /// The op named by `after` is not committed.
    Blocked,
    /// The author has used the op id for another kind or body.
    OpIdReused,
    /// The author may not write here, or the dialog was deleted.
    Forbidden,
    /// The run does not exist, has ended, or was deleted with its dialog.
    RunNotFound,
    /// An operator has the dialog, so the model may not write.
    Silent,
    /// The dialog is not in a state that allows this step of a hand-off.
    Handoff(Conflict),
    /// The dialog exists and has another owner.
    DialogTaken,
    /// The secret was exchanged before.
    Exchanged,
    /// The user is a member of [`MAX_MEMBERSHIPS`] channels.
    TooManyMemberships,
    /// The session's id is another user's.
    SessionTaken,
    /// There are [`MAX_SITES`] sites.
    TooManySites,
}
