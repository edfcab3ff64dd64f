//! The events that the core emits for the application.

use crate::list::Change;
use crate::wire::{ChannelName, EventFrame, Handler, Offset, OpId, Person, Receipt, RunId, Signal, User};
use std::convert::Infallible;

/// An event for the application. `E` is the type of events of the client's part ([`crate::Part`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<E = Infallible> {
    /// The connection's state, or the number of waiting ops, changed.
    Status(Status),
    /// The server said who this client is.
    User(User),
    /// The state of an op changed.
    Op {
        /// The op.
        id: OpId,
        /// Its channel.
        channel: ChannelName,
        /// Its new state.
        state: OpState,
    },
    /// An op of the durable lane is stored. From now on it survives the end of this process,
    /// whatever its state.
    Stored {
        /// The op.
        id: OpId,
    },
    /// A subscription changed.
    Channel {
        /// The channel.
        channel: ChannelName,
        /// Its new state.
        state: ChannelState,
    },
    /// An event of a channel that was subscribed without a timeline.
    Received(EventFrame),
    /// Somebody sent an ephemeral signal ([`crate::Client::signal`]).
    Signal {
        /// The signal.
        signal: Signal,
        /// The author.
        by: User,
    },
    /// Who is in a channel changed, or what they are doing there
    /// ([`crate::Client::watch_people`]). Apply the changes in their order.
    People {
        /// The channel.
        channel: ChannelName,
        /// The changes of the list.
        changes: Vec<Change<Person>>,
        /// How far the list can be relied on.
        status: PeopleStatus,
        /// How many users are there.
        count: u64,
    },
    /// How far a channel was read changed ([`crate::Client::watch_reads`]).
    Reads {
        /// The channel.
        channel: ChannelName,
        /// How far this client's user has read.
        state: ReadState,
        /// How far others have read, in the order in which they were first known; none if that did
        /// not change.
        receipts: Option<Vec<Receipt>>,
    },
    /// A dialog's rows changed. Apply the changes in their order.
    Dialog {
        /// The dialog's id.
        dialog: String,
        /// The changes.
        changes: Vec<Change<Row>>,
        /// The newest answer under way, which [`crate::Client::stop`] ends.
        run: Option<RunId>,
        /// Whether [`crate::Client::load_older`] may find rows before the first one.
        has_older: bool,
        /// Who answers in it.
        handler: Handler,
    },
    /// The answer to [`crate::Client::load_older`].
    Older {
        /// The channel.
        channel: ChannelName,
        /// The offset that [`crate::Client::load_older`] returned.
        before: Offset,
        /// The events just before that offset, the oldest first.
        events: Vec<EventFrame>,
        /// Whether a dialog's rows begin with them now; the rows were emitted before this.
        joined: bool,
        /// Whether the log may have events before these. True without events: the request was
        /// dropped, because the channel begins anew or may not be read.
        more: bool,
    },
    /// An event of the client's part; for live tables a [`crate::tables::TableEvent`].
    Part(E),
    /// The store fails, or works again.
    Storage {
        /// `storage_full` or `storage_unavailable`; `None` once it works again.
        code: Option<&'static str>,
    },
    /// The server complained about a frame.
    Problem {
        /// Stable code, protocol section 9.
        code: String,
        /// A message for people.
        message: String,
    },
}

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// How many attempts have failed in a row.
    pub attempt: u32,
    /// When the next attempt is made, in ms from this event.
    pub retry_in_ms: Option<u64>,
    /// Why there is no connection: a stable code.
    pub cause: Option<String>,
    /// A message about the cause, from the server or the token provider.
    pub message: Option<String>,
    /// Durable ops not yet acknowledged.
    pub waiting: u32,
}

/// States of [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `connect` was not called yet.
    Idle,
    /// Getting a token, dialling, or waiting for the server's welcome, for the first time.
    Connecting,
    /// Connected and welcomed.
    Online,
    /// The connection was lost or could not be made; another attempt follows.
    Reconnecting,
    /// The system says that there is no network.
    Offline,
    /// The page or app sleeps; or, with the cause `idle_timeout`, the server closed a connection on
    /// which nothing was done. Then another one is made when the user does something, or comes back
    /// to the page.
    Parked,
    /// `disconnect` was called. Only `connect` leaves this state.
    Disconnected,
    /// `close` was called. Nothing leaves this state.
    Closed,
    /// A terminal refusal; `cause` says which. Only `connect` leaves this state.
    Failed,
}

impl State {
    /// The name in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connecting => "connecting",
            State::Online => "online",
            State::Reconnecting => "reconnecting",
            State::Offline => "offline",
            State::Parked => "parked",
            State::Disconnected => "disconnected",
            State::Closed => "closed",
            State::Failed => "failed",
        }
    }
}

/// The state of an op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpState {
    /// It is in the durable store and survives a crash.
    Queued,
    /// It was sent and is not yet answered.
    Sending,
    /// It is committed at the server.
    Acked {
        /// Its event's offset.
        offset: Offset,
    },
    /// It was refused; it blocks its channel until it is retried or discarded.
    Failed {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
    },
    /// The application discarded it.
    Discarded,
}

/// The state of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelState {
    /// Not up to date: events are being loaded.
    Syncing,
    /// Refused temporarily; the client tries again.
    Waiting {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
        /// When the client tries again, in ms from this event.
        retry_in_ms: u64,
    },
    /// Up to date; events follow as they happen.
    Live,
    /// The server could not resume from the cursor. Earlier events are forgotten; the events that
    /// follow are a new beginning.
    Reset {
        /// `epoch`, `trimmed`, `ahead`, `user` or `gap`.
        reason: String,
        /// How many events of the same log were skipped. This client will not get them.
        missed: u64,
    },
    /// Refused for good.
    Failed {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
    },
}

/// How far the list of a channel's people can be relied on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PeopleStatus {
    /// It is as of earlier: the server has not answered yet, or there is no connection.
    #[default]
    Syncing,
    /// It is up to date.
    Live,
    /// There are too many people to be listed; the count is up to date.
    Crowded,
    /// The server does not tell.
    Refused {
        /// Stable code: `people_off` if the channel's rule does not have people, or why the channel
        /// can't be read.
        code: String,
    },
}

impl PeopleStatus {
    /// The name in every language.
    pub fn as_str(&self) -> &'static str {
        match self {
            PeopleStatus::Syncing => "syncing",
            PeopleStatus::Live => "live",
            PeopleStatus::Crowded => "crowded",
            PeopleStatus::Refused { .. } => "refused",
        }
    }
}

/// How far this client's user has read a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadState {
    /// The offset of the newest event that they have read, on any of their devices; 0 for none.
    pub position: Offset,
    /// How many events of others come after it; none while that is not known. Events that only
    /// change something shown before don't count.
    pub unread: Option<u64>,
    /// Whether there may be older unread events that were not counted: only the newest 1,000 are.
    pub more: bool,
    /// How far this and the positions of others can be relied on. With [`PeopleStatus::Crowded`] the
    /// positions of others are not told.
    pub status: PeopleStatus,
}

/// One row of a dialog. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The op's id for a message, the run's id for an answer.
    pub id: String,
    /// The kind of row.
    pub kind: RowKind,
    /// The author.
    pub by: User,
    /// Whether this client's user wrote it.
    pub own: bool,
    /// The text; it grows while the state is [`RowState::Streaming`].
    pub text: String,
    /// When it was written, ms since the Unix epoch: the server's time, or the local time until it
    /// is committed.
    pub at: u64,
    /// Its offset in the channel, once committed.
    pub offset: Option<Offset>,
    /// Its state.
    pub state: RowState,
    /// Why it failed or ended early: a stable code. For a queued row, what it waits for besides the
    /// connection: `blocked` if one before it failed, `rate_limited`, or another code of the
    /// server.
    pub code: Option<String>,
    /// When a queued row is sent next, if that is known, ms since the Unix epoch by this device's
    /// clock.
    pub retry_at: Option<u64>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("bytes", &self.text.len())
            .field("offset", &self.offset)
            .field("state", &self.state)
            .finish()
    }
}

/// Kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A message of a participant.
    Message,
    /// An answer of the model.
    Answer,
    /// An event that can't be read. The row has no text, and later rows are not affected.
    Unreadable,
}

impl RowKind {
    /// The name in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            RowKind::Message => "message",
            RowKind::Answer => "answer",
            RowKind::Unreadable => "unreadable",
        }
    }
}

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Not yet in the durable store.
    Saving,
    /// In the durable store, waiting to be sent.
    Queued,
    /// Sent, not yet answered.
    Sending,
    /// Committed.
    Sent,
    /// Refused; to be retried or discarded.
    Failed,
    /// An answer that grows.
    Streaming,
    /// An answer that is complete.
    Done,
    /// An answer that somebody stopped.
    Stopped,
    /// An answer that the server could not finish.
    Interrupted,
    /// An answer that ended with an error of the model.
    Error,
}

impl RowState {
    /// The name in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            RowState::Saving => "saving",
            RowState::Queued => "queued",
            RowState::Sending => "sending",
            RowState::Sent => "sent",
            RowState::Failed => "failed",
            RowState::Streaming => "streaming",
            RowState::Done => "done",
            RowState::Stopped => "stopped",
            RowState::Interrupted => "interrupted",
            RowState::Error => "error",
        }
    }
}
