//! Events, rows and states as records.

use tidewire_core::{
    Lifecycle as CoreLifecycle, Network as CoreNetwork, RowKind as CoreRowKind, RowState as CoreRowState,
    State as CoreState,
};

use super::handoff::Handler;
use super::numbers::{large, small};
use super::people::PeopleState;
use super::reads::ReadsState;
use super::tables::TableUpdate;
use super::user::User;
use super::words::words;
use crate::events::ClientEvent;

words! {
    /// States of a connection.
    State = CoreState {
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
        /// The app sleeps; or, with the cause `idle_timeout`, the server closed a connection on which
        /// nothing was done. The next message, or anything else the user does, connects again.
        Parked,
        /// `disconnect` was called; only `connect` leaves this state.
        Disconnected,
        /// The client was closed.
        Closed,
        /// Refused for good; only `connect` leaves this state.
        Failed,
    }
}

words! {
    /// Kinds of rows.
    RowKind = CoreRowKind {
        /// A message of a participant.
        Message,
        /// An answer of the model.
        Answer,
        /// An event that can't be read; later rows are not affected.
        Unreadable,
    }
}

words! {
    /// The state of a row.
    RowState = CoreRowState {
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
        /// An answer that is complete.
        Done,
        /// An answer that somebody stopped.
        Stopped,
        /// An answer that the server could not finish.
        Interrupted,
        /// An answer that ended with an error of the model.
        Error,
    }
}

words! {
    /// What the system says about the network.
    Network = CoreNetwork {
        /// The device is online.
        Online,
        /// The device is offline.
        Offline,
        /// The device changed to another network.
        Changed,
    }
}

words! {
    /// What the system says about the app.
    Lifecycle = CoreLifecycle {
        /// Visible again.
        Shown,
        /// No longer visible.
        Hidden,
        /// About to be suspended.
        Frozen,
        /// Resumed.
        Resumed,
    }
}

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// How many attempts have failed in a row.
    pub attempt: i32,
    /// When the next attempt is made, in ms from this event.
    pub retry_in_ms: Option<i64>,
    /// Why there is no connection: a stable code.
    pub code: Option<String>,
    /// A message about the cause, from the server or the token provider.
    pub detail: Option<String>,
    /// Messages not yet acknowledged.
    pub waiting: i32,
}

/// One row of a dialog. As text it leaves its text out.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct Row {
    /// The message's id, or the run's for an answer.
    pub id: String,
    /// The kind of row.
    pub kind: RowKind,
    /// The author.
    pub by: User,
    /// Whether this client's user wrote it.
    pub own: bool,
    /// The text; it grows while the row streams.
    pub text: String,
    /// When it was written, ms since the Unix epoch.
    pub at_ms: i64,
    /// Its offset in the channel, once committed.
    pub offset: Option<i64>,
    /// Its state.
    pub state: RowState,
    /// Why it failed or ended early: a stable code. For a queued row, what it waits for: `blocked`,
    /// `rate_limited` or another code of the server.
    pub code: Option<String>,
    /// When a queued row is sent next, if that is known, ms since the Unix epoch by this device's
    /// clock.
    pub retry_at_ms: Option<i64>,
}

/// One change of a dialog's rows. Indexes count from 0 in the list as the changes before left it.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum Change {
    /// The list is now this.
    Reset { rows: Vec<Row> },
    /// A row was inserted at `index`.
    Insert { index: i32, row: Row },
    /// The row at `index` is now this.
    Update { index: i32, row: Row },
    /// Text was added to the end of the row at `index`.
    Append { index: i32, text: String },
    /// The row at `from_index` was removed, then inserted at `to_index`.
    Move { from_index: i32, to_index: i32 },
    /// The row at `index` was removed.
    Remove { index: i32 },
}

/// The state of a message.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum OpState {
    /// Stored; it survives a crash.
    Queued,
    /// Sent and not yet answered.
    Sending,
    /// Committed at the server.
    Acked { offset: i64 },
    /// Refused; it blocks its channel until it is retried or discarded.
    Failed { code: String, detail: String },
    /// The application discarded it.
    Discarded,
}

/// The state of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum ChannelState {
    /// Not up to date: events are being loaded.
    Syncing,
    /// Refused temporarily; the client tries again.
    Waiting { code: String, detail: String, retry_in_ms: i64 },
    /// Up to date.
    Live,
    /// Earlier events are forgotten; the events that follow are a new beginning. `missed` events of
    /// the same log were skipped.
    Reset { reason: String, missed: i64 },
    /// Refused for good.
    Failed { code: String, detail: String },
}

/// The state of a dialog.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct DialogState {
    /// Whether the rows are up to date.
    pub status: DialogStatus,
    /// The id of the newest answer under way, if there is one.
    pub run: Option<String>,
    /// Who answers, once `status` is live; before that it is what the stored rows tell.
    pub handler: Handler,
    /// Whether `load_older` may find rows before the first one.
    pub has_older: bool,
    /// How many events were skipped since the dialog was opened.
    pub missed: i64,
}

/// Whether a dialog's rows are up to date.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum DialogStatus {
    /// The rows are those stored on this device; newer ones are not loaded yet.
    Syncing,
    /// The server refused the dialog temporarily. The client tries again; `connect` tries at once.
    Waiting { code: String, detail: String, retry_in_ms: i64 },
    /// The rows are up to date, and changes follow as they happen.
    Live,
    /// The server refused the dialog.
    Failed { code: String, detail: String },
    /// The client is closed.
    Closed,
}

impl From<crate::dialog_state::DialogState> for DialogState {
    fn from(state: crate::dialog_state::DialogState) -> DialogState {
        let status = match state.status {
            crate::dialog_state::DialogStatus::Syncing => DialogStatus::Syncing,
            crate::dialog_state::DialogStatus::Waiting { code, message, retry_in_ms } => {
                DialogStatus::Waiting { code, detail: message, retry_in_ms: large(retry_in_ms) }
            }
            crate::dialog_state::DialogStatus::Live => DialogStatus::Live,
            crate::dialog_state::DialogStatus::Failed { code, message } => {
                DialogStatus::Failed { code, detail: message }
            }
            crate::dialog_state::DialogStatus::Closed => DialogStatus::Closed,
        };
        DialogState {
            status,
            run: state.run.map(String::from),
            handler: state.handler.into(),
            has_older: state.has_older,
            missed: large(state.missed),
        }
    }
}

/// An event of a client. Its text form leaves out what people wrote.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum Event {
    /// The connection changed.
    Status { status: Status },
    /// The server said who this client is.
    User { user: User },
    /// The state of a message changed.
    Op { id: String, channel: String, state: OpState },
    /// A message is stored: from now on it survives the end of this process.
    Stored { id: String },
    /// A subscription changed.
    Channel { channel: String, state: ChannelState },
    /// An event of a channel that was subscribed without a timeline; `json` is its frame.
    Received { channel: String, offset: i64, json: String },
    /// Somebody sent an ephemeral signal; `body` is the JSON text of an object.
    Signal { channel: String, kind: String, key: Option<String>, body: String, by: User },
    /// A dialog's rows changed. Apply the changes in their order.
    Dialog { dialog: String, changes: Vec<Change> },
    /// The answer to `load_older`: how many events came from just before this offset, and whether
    /// there may be more before them. True without events: the request was dropped, because the
    /// channel begins anew or may not be read.
    Older { channel: String, before: i64, count: i64, more: bool },
    /// An update of a view of a table.
    Table { view: i32, update: TableUpdate },
    /// Who is in a watched channel changed, or what they do there.
    People { channel: String, state: PeopleState },
    /// How far a watched channel was read changed.
    Reads { channel: String, state: ReadsState },
    /// The store fails with this code, or without a code works again.
    Storage { code: Option<String> },
    /// The server complained about a frame.
    Problem { code: String, detail: String },
    /// The reader was too slow and missed events. The current rows of dialogs and tables, the
    /// people, the read positions and the status follow.
    Lagged { missed: i64 },
}

impl From<tidewire_core::Status> for Status {
    fn from(status: tidewire_core::Status) -> Status {
        Status {
            state: status.state.into(),
            attempt: small(status.attempt),
            retry_in_ms: status.retry_in_ms.map(large),
            code: status.cause,
            detail: status.message,
            waiting: small(status.waiting),
        }
    }
}

impl From<tidewire_core::Row> for Row {
    fn from(row: tidewire_core::Row) -> Row {
        Row {
            id: row.id,
            kind: row.kind.into(),
            by: row.by.into(),
            own: row.own,
            text: row.text,
            at_ms: large(row.at),
            offset: row.offset.map(|offset| large(offset.0)),
            state: row.state.into(),
            code: row.code,
            retry_at_ms: row.retry_at.map(large),
        }
    }
}

impl From<tidewire_core::Change<tidewire_core::Row>> for Change {
    fn from(change: tidewire_core::Change<tidewire_core::Row>) -> Change {
        match change {
            tidewire_core::Change::Reset(rows) => {
                Change::Reset { rows: rows.into_iter().map(Row::from).collect() }
            }
            tidewire_core::Change::Insert { index, row } => {
                Change::Insert { index: small(index), row: row.into() }
            }
            tidewire_core::Change::Update { index, row } => {
                Change::Update { index: small(index), row: row.into() }
            }
            tidewire_core::Change::Append { index, text } => Change::Append { index: small(index), text },
            tidewire_core::Change::Move { from, to } => {
                Change::Move { from_index: small(from), to_index: small(to) }
            }
            tidewire_core::Change::Remove { index } => Change::Remove { index: small(index) },
        }
    }
}

impl From<tidewire_core::OpState> for OpState {
    fn from(state: tidewire_core::OpState) -> OpState {
        match state {
            tidewire_core::OpState::Queued => OpState::Queued,
            tidewire_core::OpState::Sending => OpState::Sending,
            tidewire_core::OpState::Acked { offset } => OpState::Acked { offset: large(offset.0) },
            tidewire_core::OpState::Failed { code, message } => OpState::Failed { code, detail: message },
            tidewire_core::OpState::Discarded => OpState::Discarded,
        }
    }
}

impl From<tidewire_core::ChannelState> for ChannelState {
    fn from(state: tidewire_core::ChannelState) -> ChannelState {
        match state {
            tidewire_core::ChannelState::Syncing => ChannelState::Syncing,
            tidewire_core::ChannelState::Waiting { code, message, retry_in_ms } => {
                ChannelState::Waiting { code, detail: message, retry_in_ms: large(retry_in_ms) }
            }
            tidewire_core::ChannelState::Live => ChannelState::Live,
            tidewire_core::ChannelState::Reset { reason, missed } => {
                ChannelState::Reset { reason, missed: large(missed) }
            }
            tidewire_core::ChannelState::Failed { code, message } => {
                ChannelState::Failed { code, detail: message }
            }
        }
    }
}

impl From<ClientEvent> for Event {
    fn from(event: ClientEvent) -> Event {
        match event {
            ClientEvent::Status(status) => Event::Status { status: status.into() },
            ClientEvent::User(user) => Event::User { user: user.into() },
            ClientEvent::Op { id, channel, state } => {
                Event::Op { id: id.into(), channel: channel.into(), state: state.into() }
            }
            ClientEvent::Stored { id } => Event::Stored { id: id.into() },
            ClientEvent::Channel { channel, state } => {
                Event::Channel { channel: channel.into(), state: state.into() }
            }
            ClientEvent::Received(frame) => Event::Received {
                channel: frame.ch.to_string(),
                offset: large(frame.offset.0),
                json: frame.raw.clone(),
            },
            ClientEvent::Signal { signal, by } => Event::Signal {
                channel: signal.ch.into(),
                kind: signal.kind,
                key: signal.key,
                body: signal.body,
                by: by.into(),
            },
            ClientEvent::Dialog { dialog, changes } => {
                Event::Dialog { dialog, changes: changes.into_iter().map(Change::from).collect() }
            }
            ClientEvent::Older { channel, before, events, more } => Event::Older {
                channel: channel.into(),
                before: large(before.0),
                count: large(events.len() as u64),
                more,
            },
            ClientEvent::Table { view, update } => Event::Table { view: small(view), update: update.into() },
            ClientEvent::People { channel, state } => {
                Event::People { channel: channel.into(), state: state.into() }
            }
            ClientEvent::Reads { channel, state } => {
                Event::Reads { channel: channel.into(), state: state.into() }
            }
            ClientEvent::Storage { code } => Event::Storage { code: code.map(str::to_owned) },
            ClientEvent::Problem { code, message } => Event::Problem { code, detail: message },
            ClientEvent::Lagged { missed } => Event::Lagged { missed: large(missed) },
        }
    }
}
