//! The text forms of records, in `toString`, `str` and logs. They never contain what people wrote
//! (guarantee S20).

use std::fmt::{Debug, Display, Formatter, Result};

use super::channel::{ChannelEvent, ChannelItem};
use super::events::{Change, ChannelState, DialogState, DialogStatus, Event, OpState, Row, Status};
use super::handoff::{HandOffStep, Handler};
use super::people::{PeopleState, PeopleStatus, Person, PersonLease};
use super::reads::{ReadsState, Receipt};
use super::tables::{RowChange, TableListChange, TableQuery, TableStatus, TableUpdate};
use super::user::User;

impl Debug for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("bytes", &self.text.len())
            .field("offset", &self.offset)
            .field("state", &self.state)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Debug for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Change::Reset { rows } => f.debug_struct("Reset").field("rows", &rows.len()).finish(),
            Change::Insert { index, row } => {
                f.debug_struct("Insert").field("index", index).field("row", row).finish()
            }
            Change::Update { index, row } => {
                f.debug_struct("Update").field("index", index).field("row", row).finish()
            }
            Change::Append { index, text } => {
                f.debug_struct("Append").field("index", index).field("bytes", &text.len()).finish()
            }
            Change::Move { from_index, to_index } => {
                f.debug_struct("Move").field("from_index", from_index).field("to_index", to_index).finish()
            }
            Change::Remove { index } => f.debug_struct("Remove").field("index", index).finish(),
        }
    }
}

impl Debug for TableListChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TableListChange::Reset { rows } => f.debug_struct("Reset").field("rows", &rows.len()).finish(),
            TableListChange::Insert { index, .. } => f.debug_struct("Insert").field("index", index).finish(),
            TableListChange::Update { index, .. } => f.debug_struct("Update").field("index", index).finish(),
            TableListChange::Move { from_index, to_index } => {
                f.debug_struct("Move").field("from_index", from_index).field("to_index", to_index).finish()
            }
            TableListChange::Remove { index } => f.debug_struct("Remove").field("index", index).finish(),
        }
    }
}

impl Debug for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Event::Status { status } => f.debug_struct("Status").field("status", status).finish(),
            Event::User { user } => f.debug_struct("User").field("user", user).finish(),
            Event::Op { id, channel, state } => {
                f.debug_struct("Op").field("id", id).field("channel", channel).field("state", state).finish()
            }
            Event::Stored { id } => f.debug_struct("Stored").field("id", id).finish(),
            Event::Channel { channel, state } => {
                f.debug_struct("Channel").field("channel", channel).field("state", state).finish()
            }
            Event::Received { channel, offset, json } => f
                .debug_struct("Received")
                .field("channel", channel)
                .field("offset", offset)
                .field("bytes", &json.len())
                .finish(),
            Event::Signal { channel, kind, body, .. } => f
                .debug_struct("Signal")
                .field("channel", channel)
                .field("kind", kind)
                .field("bytes", &body.len())
                .finish_non_exhaustive(),
            Event::Dialog { dialog, changes } => {
                f.debug_struct("Dialog").field("dialog", dialog).field("changes", changes).finish()
            }
            Event::Older { channel, before, count, more } => f
                .debug_struct("Older")
                .field("channel", channel)
                .field("before", before)
                .field("count", count)
                .field("more", more)
                .finish(),
            Event::Table { view, update } => {
                f.debug_struct("Table").field("view", view).field("update", update).finish()
            }
            Event::People { channel, state } => {
                f.debug_struct("People").field("channel", channel).field("state", state).finish()
            }
            Event::Reads { channel, state } => {
                f.debug_struct("Reads").field("channel", channel).field("state", state).finish()
            }
            Event::Storage { code } => f.debug_struct("Storage").field("code", code).finish(),
            Event::Problem { code, .. } => {
                f.debug_struct("Problem").field("code", code).finish_non_exhaustive()
            }
            Event::Lagged { missed } => f.debug_struct("Lagged").field("missed", missed).finish(),
        }
    }
}

impl Debug for ChannelEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ChannelEvent")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("offset", &self.offset)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Debug for ChannelItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            ChannelItem::Event { event } => f.debug_struct("Event").field("event", event).finish(),
            ChannelItem::Older { before, events, more } => f
                .debug_struct("Older")
                .field("before", before)
                .field("count", &events.len())
                .field("more", more)
                .finish(),
            ChannelItem::State { state } => f.debug_struct("State").field("state", state).finish(),
            ChannelItem::Signal { kind, body, .. } => f
                .debug_struct("Signal")
                .field("kind", kind)
                .field("bytes", &body.len())
                .finish_non_exhaustive(),
            ChannelItem::Lagged { missed } => f.debug_struct("Lagged").field("missed", missed).finish(),
        }
    }
}

impl Debug for PersonLease {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PersonLease")
            .field("kind", &self.kind)
            .field("bytes", &self.body.len())
            .field("since_ms", &self.since_ms)
            .field("brief", &self.brief)
            .finish()
    }
}

impl Debug for RowChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RowChange")
            .field("event", &self.event)
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl Debug for TableUpdate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TableUpdate::Status { status } => f.debug_struct("Status").field("status", status).finish(),
            TableUpdate::Rows { key, rows, beyond } => f
                .debug_struct("Rows")
                .field("key", key)
                .field("rows", &rows.len())
                .field("beyond", &beyond.len())
                .finish(),
            TableUpdate::Changes { list, changes, tx, .. } => f
                .debug_struct("Changes")
                .field("list", list)
                .field("changes", changes)
                .field("tx", tx)
                .finish_non_exhaustive(),
            TableUpdate::Seen { tx, code } => {
                f.debug_struct("Seen").field("tx", tx).field("code", code).finish()
            }
        }
    }
}

/// The text forms are the same as in logs.
macro_rules! display {
    ($($name:ident),+ $(,)?) => {
        $(impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                Debug::fmt(self, f)
            }
        })+
    };
}

display!(
    Change,
    ChannelEvent,
    ChannelItem,
    ChannelState,
    DialogState,
    DialogStatus,
    Event,
    HandOffStep,
    Handler,
    OpState,
    PeopleState,
    PeopleStatus,
    Person,
    PersonLease,
    ReadsState,
    Receipt,
    Row,
    RowChange,
    Status,
    TableListChange,
    TableQuery,
    TableStatus,
    TableUpdate,
    User,
);
