//! What the core tells the application.

use crate::list::Change;
use crate::wire::{EventFrame, Signal, User};
use std::convert::Infallible;

/// Something the application should know. `E` is what the client's part tells it
/// ([`crate::Part`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<E = Infallible> {
    /// The connection's state, or the number of waiting ops, changed.
    Status(Status),
    /// The server said who this client is.
    User(User),
    /// An op came further.
    Op {
        /// The op.
        id: String,
        /// Its channel.
        channel: String,
        /// How far.
        state: OpState,
    },
    /// An op of the durable lane is in the store: from now on the end of this process does not lose
    /// it, however far it is.
    Stored {
        /// The op.
        id: String,
    },
    /// A subscription changed.
    Channel {
        /// The channel.
        channel: String,
        /// Into what.
        state: ChannelState,
    },
    /// An event of a channel that was subscribed without a timeline.
    Received(EventFrame),
    /// Somebody signals something of the moment ([`crate::Client::signal`]).
    Signal {
        /// What it says.
        signal: Signal,
        /// Who.
        by: User,
    },
    /// A dialog's rows changed. Apply the changes in their order.
    Dialog {
        /// The dialog's id.
        dialog: String,
        /// What changed.
        changes: Vec<Change<Row>>,
        /// The newest answer under way, which [`crate::Client::stop`] ends.
        run: Option<String>,
    },
    /// Something of what the client has besides channels and dialogs: of live tables,
    /// [`crate::tables::TableEvent`].
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
        /// For people.
        message: String,
    },
}

/// The connection as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Attempts that failed in a row.
    pub attempt: u32,
    /// When the next attempt is made, in ms from this event.
    pub retry_in_ms: Option<u64>,
    /// Why the connection is not there: a stable code.
    pub cause: Option<String>,
    /// What the server or the application said about that, for people.
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
    /// The page or app sleeps.
    Parked,
    /// `disconnect` was called. Only `connect` leaves this state.
    Disconnected,
    /// `close` was called. Nothing leaves this state.
    Closed,
    /// A terminal refusal; `cause` says which. Only `connect` leaves this state.
    Failed,
}

impl State {
    /// The word that every binding uses.
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

/// How far an op came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpState {
    /// It is in the durable store and survives a crash.
    Queued,
    /// It was sent and is not yet answered.
    Sending,
    /// It is committed at the server.
    Acked {
        /// Its event's offset.
        offset: u64,
    },
    /// It was refused; it blocks its channel until it is retried or discarded.
    Failed {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
    },
    /// The application gave it up.
    Discarded,
}

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelState {
    /// Not, or not yet again, at the head.
    Syncing,
    /// Refused for now; it is asked for again.
    Waiting {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
        /// When, in ms from this event.
        retry_in_ms: u64,
    },
    /// At the head; events follow as they happen.
    Live,
    /// The cursor could not be honoured: earlier events are forgotten and what follows starts anew.
    Reset {
        /// `epoch`, `trimmed`, `ahead`, `user` or `gap`.
        reason: String,
        /// How many events of the same log were skipped: nobody will see them here.
        missed: u64,
    },
    /// Refused.
    Failed {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
    },
}

/// One row of a dialog. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The op's id for a message, the run's id for an answer.
    pub id: String,
    /// What kind of row.
    pub kind: RowKind,
    /// Who.
    pub by: User,
    /// Whether this client's user wrote it.
    pub own: bool,
    /// The text; it grows while the state is [`RowState::Streaming`].
    pub text: String,
    /// When, ms since the Unix epoch: the server's time, or the local one until it is committed.
    pub at: u64,
    /// Its place in the channel, once committed.
    pub offset: Option<u64>,
    /// How it stands.
    pub state: RowState,
    /// Why it failed or ended early; of one that is queued, what it waits for besides the
    /// connection: `blocked` if one before it failed, `rate_limited`, or another code of the
    /// server's.
    pub code: Option<String>,
    /// When one that is queued is tried again, if that is known: ms since the Unix epoch by this
    /// device's clock.
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
    /// Somebody wrote it.
    Message,
    /// The model answers.
    Answer,
    /// Something that can't be read, with no text: it is there, and what follows goes on.
    Unreadable,
}

impl RowKind {
    /// The word that every binding uses.
    pub fn as_str(self) -> &'static str {
        match self {
            RowKind::Message => "message",
            RowKind::Answer => "answer",
            RowKind::Unreadable => "unreadable",
        }
    }
}

/// How a row stands.
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
    /// An answer that is whole.
    Done,
    /// An answer that somebody stopped.
    Stopped,
    /// An answer that the server could not finish.
    Interrupted,
    /// An answer that the model failed.
    Error,
}

impl RowState {
    /// The word that every binding uses.
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
