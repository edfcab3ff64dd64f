//! Events, rows and states as records.

use tidewire_core::wire::{User, UserKind};
use tidewire_core::{
    Change, ChannelState, Lifecycle, Network, OpState, Row, RowKind, RowState, State, Status,
};

use super::numbers::{large, small};
use super::tables::TwTableUpdate;
use crate::dialog_state::{DialogState, DialogStatus};
use crate::events::ClientEvent;

/// An enum of plain words, mirrored.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident = $core:ident { $($(#[$about:meta])* $word:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
        pub enum $name { $($(#[$about])* $word),+ }

        impl From<$core> for $name {
            fn from(word: $core) -> $name {
                match word { $($core::$word => $name::$word),+ }
            }
        }

        impl From<$name> for $core {
            fn from(word: $name) -> $core {
                match word { $($name::$word => $core::$word),+ }
            }
        }
    };
}

words! {
    /// States of a connection.
    TwState = State {
        /// `connect` was not called yet.
        Idle,
        /// Connecting for the first time.
        Connecting,
        /// Connected.
        Online,
        /// The connection was lost or could not be made; another attempt follows.
        Reconnecting,
        /// The system says that there is no network.
        Offline,
        /// The app sleeps.
        Parked,
        /// The client was closed.
        Closed,
        /// Refused for good; only `connect` leaves this state.
        Failed,
    }
}

words! {
    /// Kinds of rows.
    TwRowKind = RowKind {
        /// Somebody wrote it.
        Message,
        /// The model answers.
        Answer,
        /// Something that can't be read; what follows goes on.
        Unreadable,
    }
}

words! {
    /// How a row stands.
    TwRowState = RowState {
        /// Not yet stored.
        Saving,
        /// Stored, waiting to be sent.
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
}

words! {
    /// Kinds of participants.
    TwUserKind = UserKind {
        /// A guest.
        Guest,
        /// A user.
        User,
        /// An operator.
        Operator,
        /// The model.
        Ai,
        /// The system.
        System,
    }
}

words! {
    /// What the system says about the network.
    TwNetwork = Network {
        /// There is one.
        Online,
        /// There is none.
        Offline,
        /// It is another one than before.
        Changed,
    }
}

words! {
    /// What the system says about the app.
    TwLifecycle = Lifecycle {
        /// Visible again.
        Shown,
        /// No longer visible.
        Hidden,
        /// About to be suspended.
        Frozen,
        /// Back from that.
        Resumed,
    }
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TwUser {
    /// Stable id.
    pub id: String,
    /// What others see.
    pub name: String,
    /// What kind.
    pub kind: TwUserKind,
}

/// The connection as people see it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TwStatus {
    /// The state.
    pub state: TwState,
    /// Attempts that failed in a row.
    pub attempt: i32,
    /// When the next attempt is made, in ms from this event.
    pub retry_in_ms: Option<i64>,
    /// Why the connection is not there: a stable code.
    pub code: Option<String>,
    /// What the server or the application said about that, for people.
    pub detail: Option<String>,
    /// Messages not yet acknowledged.
    pub waiting: i32,
}

/// One row of a dialog. As text it leaves its text out.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TwRow {
    /// The message's id, or the run's for an answer.
    pub id: String,
    /// What kind of row.
    pub kind: TwRowKind,
    /// Who.
    pub by: TwUser,
    /// Whether this client's user wrote it.
    pub own: bool,
    /// The text; it grows while the row streams.
    pub text: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Its place in the channel, once committed.
    pub offset: Option<i64>,
    /// How it stands.
    pub state: TwRowState,
    /// Why it failed or ended early; of one that is queued, what it waits for: `blocked` or
    /// `rate_limited`.
    pub code: Option<String>,
    /// When one that is queued is tried again, if that is known: ms since the Unix epoch by this
    /// device's clock.
    pub retry_at_ms: Option<i64>,
}

/// One change of a dialog's rows. Indexes count from 0 in the list as the changes before left it.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwChange {
    /// The list is now this.
    Reset { rows: Vec<TwRow> },
    /// A row was inserted before what stood at `index`.
    Insert { index: i32, row: TwRow },
    /// The row at `index` is now this.
    Update { index: i32, row: TwRow },
    /// Text was added to the end of the row at `index`.
    Append { index: i32, text: String },
    /// The row at `from` was taken out, and put before what stood at `to` then.
    Move { from: i32, to: i32 },
    /// The row at `index` is gone.
    Remove { index: i32 },
}

/// How far a message came.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwOpState {
    /// Stored; it survives a crash.
    Queued,
    /// Sent and not yet answered.
    Sending,
    /// Committed at the server.
    Acked { offset: i64 },
    /// Refused; it blocks its channel until it is retried or discarded.
    Failed { code: String, detail: String },
    /// The application gave it up.
    Discarded,
}

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwChannelState {
    /// Not, or not yet again, at the head.
    Syncing,
    /// Refused for now; it is asked for again.
    Waiting { code: String, detail: String, retry_in_ms: i64 },
    /// At the head.
    Live,
    /// Earlier events are forgotten and what follows starts anew.
    /// `missed` events of the same log were skipped.
    Reset { reason: String, missed: i64 },
    /// Refused.
    Failed { code: String, detail: String },
}

/// How a dialog stands.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct TwDialogState {
    /// Whether the rows are those of now.
    pub status: TwDialogStatus,
    /// The newest answer that is still growing, if there is one.
    pub run: Option<String>,
    /// How many events were skipped since the dialog was opened.
    pub missed: i64,
}

/// Whether a dialog's rows are those of now.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwDialogStatus {
    /// The rows are what this device knows; what the server has is not known, or not yet.
    Syncing,
    /// The server refuses it for now; it is asked for again, or at once by `connect`.
    Waiting { code: String, detail: String, retry_in_ms: i64 },
    /// The rows are the server's, and what happens is shown as it happens.
    Live,
    /// The server refuses it.
    Failed { code: String, detail: String },
    /// The client is closed.
    Closed,
}

impl From<DialogState> for TwDialogState {
    fn from(state: DialogState) -> TwDialogState {
        let status = match state.status {
            DialogStatus::Syncing => TwDialogStatus::Syncing,
            DialogStatus::Waiting { code, message, retry_in_ms } => {
                TwDialogStatus::Waiting { code, detail: message, retry_in_ms: large(retry_in_ms) }
            }
            DialogStatus::Live => TwDialogStatus::Live,
            DialogStatus::Failed { code, message } => TwDialogStatus::Failed { code, detail: message },
            DialogStatus::Closed => TwDialogStatus::Closed,
        };
        TwDialogState { status, run: state.run, missed: large(state.missed) }
    }
}

/// Something that happened. As text it leaves out what people wrote.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum TwEvent {
    /// The connection changed.
    Status { status: TwStatus },
    /// The server said who this client is.
    User { user: TwUser },
    /// A message came further.
    Op { id: String, channel: String, state: TwOpState },
    /// A message is in the store: the end of this process does not lose it any more.
    Stored { id: String },
    /// A subscription changed.
    Channel { channel: String, state: TwChannelState },
    /// An event of a channel that was subscribed without a timeline; `json` is its frame.
    Received { channel: String, offset: i64, json: String },
    /// Somebody signals something of the moment; `body` is the JSON text of an object.
    Signal { channel: String, kind: String, key: Option<String>, body: String, by: TwUser },
    /// A dialog's rows changed. Apply the changes in their order.
    Dialog { dialog: String, changes: Vec<TwChange> },
    /// Something about a view of a table.
    Table { view: i32, update: TwTableUpdate },
    /// The store fails with this code, or works again.
    Storage { code: Option<String> },
    /// The server complained about a frame.
    Problem { code: String, detail: String },
    /// The reader was too slow and missed events; dialogs and the status are told anew right after.
    Lagged { missed: i64 },
}

impl From<User> for TwUser {
    fn from(user: User) -> TwUser {
        TwUser { id: user.id, name: user.name, kind: user.kind.into() }
    }
}

impl From<Status> for TwStatus {
    fn from(status: Status) -> TwStatus {
        TwStatus {
            state: status.state.into(),
            attempt: small(status.attempt),
            retry_in_ms: status.retry_in_ms.map(large),
            code: status.cause,
            detail: status.message,
            waiting: small(status.waiting),
        }
    }
}

impl From<Row> for TwRow {
    fn from(row: Row) -> TwRow {
        TwRow {
            id: row.id,
            kind: row.kind.into(),
            by: row.by.into(),
            own: row.own,
            text: row.text,
            at_ms: large(row.at),
            offset: row.offset.map(large),
            state: row.state.into(),
            code: row.code,
            retry_at_ms: row.retry_at.map(large),
        }
    }
}

impl From<Change<Row>> for TwChange {
    fn from(change: Change<Row>) -> TwChange {
        match change {
            Change::Reset(rows) => TwChange::Reset { rows: rows.into_iter().map(TwRow::from).collect() },
            Change::Insert { index, row } => TwChange::Insert { index: small(index), row: row.into() },
            Change::Update { index, row } => TwChange::Update { index: small(index), row: row.into() },
            Change::Append { index, text } => TwChange::Append { index: small(index), text },
            Change::Move { from, to } => TwChange::Move { from: small(from), to: small(to) },
            Change::Remove { index } => TwChange::Remove { index: small(index) },
        }
    }
}

impl From<OpState> for TwOpState {
    fn from(state: OpState) -> TwOpState {
        match state {
            OpState::Queued => TwOpState::Queued,
            OpState::Sending => TwOpState::Sending,
            OpState::Acked { offset } => TwOpState::Acked { offset: large(offset) },
            OpState::Failed { code, message } => TwOpState::Failed { code, detail: message },
            OpState::Discarded => TwOpState::Discarded,
        }
    }
}

impl From<ChannelState> for TwChannelState {
    fn from(state: ChannelState) -> TwChannelState {
        match state {
            ChannelState::Syncing => TwChannelState::Syncing,
            ChannelState::Waiting { code, message, retry_in_ms } => {
                TwChannelState::Waiting { code, detail: message, retry_in_ms: large(retry_in_ms) }
            }
            ChannelState::Live => TwChannelState::Live,
            ChannelState::Reset { reason, missed } => TwChannelState::Reset { reason, missed: large(missed) },
            ChannelState::Failed { code, message } => TwChannelState::Failed { code, detail: message },
        }
    }
}

impl From<ClientEvent> for TwEvent {
    fn from(event: ClientEvent) -> TwEvent {
        match event {
            ClientEvent::Status(status) => TwEvent::Status { status: status.into() },
            ClientEvent::User(user) => TwEvent::User { user: user.into() },
            ClientEvent::Op { id, channel, state } => TwEvent::Op { id, channel, state: state.into() },
            ClientEvent::Stored { id } => TwEvent::Stored { id },
            ClientEvent::Channel { channel, state } => TwEvent::Channel { channel, state: state.into() },
            ClientEvent::Received(frame) => TwEvent::Received {
                channel: frame.ch.clone(),
                offset: large(frame.offset),
                json: frame.raw.clone(),
            },
            ClientEvent::Signal { signal, by } => TwEvent::Signal {
                channel: signal.ch,
                kind: signal.kind,
                key: signal.key,
                body: signal.body,
                by: by.into(),
            },
            ClientEvent::Dialog { dialog, changes } => {
                TwEvent::Dialog { dialog, changes: changes.into_iter().map(TwChange::from).collect() }
            }
            ClientEvent::Table { view, update } => {
                TwEvent::Table { view: small(view), update: update.into() }
            }
            ClientEvent::Storage { code } => TwEvent::Storage { code: code.map(str::to_owned) },
            ClientEvent::Problem { code, message } => TwEvent::Problem { code, detail: message },
            ClientEvent::Lagged { missed } => TwEvent::Lagged { missed: large(missed) },
        }
    }
}
