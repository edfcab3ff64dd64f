//! How records look as text, in `toString`, `str` and logs: never what people wrote (guarantee
//! S20).

use std::fmt::{Debug, Display, Formatter, Result};

use super::events::{
    TwChange, TwChannelState, TwDialogState, TwDialogStatus, TwEvent, TwOpState, TwRow, TwStatus, TwUser,
};
use super::tables::{TwRowChange, TwTableListChange, TwTableQuery, TwTableStatus, TwTableUpdate};

impl Debug for TwRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("TwRow")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("bytes", &self.text.len())
            .field("offset", &self.offset)
            .field("state", &self.state)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Debug for TwChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TwChange::Reset { rows } => f.debug_struct("Reset").field("rows", &rows.len()).finish(),
            TwChange::Insert { index, row } => {
                f.debug_struct("Insert").field("index", index).field("row", row).finish()
            }
            TwChange::Update { index, row } => {
                f.debug_struct("Update").field("index", index).field("row", row).finish()
            }
            TwChange::Append { index, text } => {
                f.debug_struct("Append").field("index", index).field("bytes", &text.len()).finish()
            }
            TwChange::Move { from, to } => {
                f.debug_struct("Move").field("from", from).field("to", to).finish()
            }
            TwChange::Remove { index } => f.debug_struct("Remove").field("index", index).finish(),
        }
    }
}

impl Debug for TwTableListChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TwTableListChange::Reset { rows } => f.debug_struct("Reset").field("rows", &rows.len()).finish(),
            TwTableListChange::Insert { index, .. } => {
                f.debug_struct("Insert").field("index", index).finish()
            }
            TwTableListChange::Update { index, .. } => {
                f.debug_struct("Update").field("index", index).finish()
            }
            TwTableListChange::Move { from, to } => {
                f.debug_struct("Move").field("from", from).field("to", to).finish()
            }
            TwTableListChange::Remove { index } => f.debug_struct("Remove").field("index", index).finish(),
        }
    }
}

impl Debug for TwEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TwEvent::Status { status } => f.debug_struct("Status").field("status", status).finish(),
            TwEvent::User { user } => f.debug_struct("User").field("user", user).finish(),
            TwEvent::Op { id, channel, state } => {
                f.debug_struct("Op").field("id", id).field("channel", channel).field("state", state).finish()
            }
            TwEvent::Stored { id } => f.debug_struct("Stored").field("id", id).finish(),
            TwEvent::Channel { channel, state } => {
                f.debug_struct("Channel").field("channel", channel).field("state", state).finish()
            }
            TwEvent::Received { channel, offset, json } => f
                .debug_struct("Received")
                .field("channel", channel)
                .field("offset", offset)
                .field("bytes", &json.len())
                .finish(),
            TwEvent::Signal { channel, kind, body, .. } => f
                .debug_struct("Signal")
                .field("channel", channel)
                .field("kind", kind)
                .field("bytes", &body.len())
                .finish_non_exhaustive(),
            TwEvent::Dialog { dialog, changes } => {
                f.debug_struct("Dialog").field("dialog", dialog).field("changes", changes).finish()
            }
            TwEvent::Table { view, update } => {
                f.debug_struct("Table").field("view", view).field("update", update).finish()
            }
            TwEvent::Storage { code } => f.debug_struct("Storage").field("code", code).finish(),
            TwEvent::Problem { code, .. } => {
                f.debug_struct("Problem").field("code", code).finish_non_exhaustive()
            }
            TwEvent::Lagged { missed } => f.debug_struct("Lagged").field("missed", missed).finish(),
        }
    }
}

impl Debug for TwRowChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("TwRowChange")
            .field("event", &self.event)
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl Debug for TwTableUpdate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TwTableUpdate::Status { status } => f.debug_struct("Status").field("status", status).finish(),
            TwTableUpdate::Rows { key, rows, beyond } => f
                .debug_struct("Rows")
                .field("key", key)
                .field("rows", &rows.len())
                .field("beyond", &beyond.len())
                .finish(),
            TwTableUpdate::Changes { list, changes, tx, .. } => f
                .debug_struct("Changes")
                .field("list", list)
                .field("changes", changes)
                .field("tx", tx)
                .finish_non_exhaustive(),
            TwTableUpdate::Seen { tx, code } => {
                f.debug_struct("Seen").field("tx", tx).field("code", code).finish()
            }
        }
    }
}

/// As text they are what they are in a log.
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
    TwChange,
    TwChannelState,
    TwDialogState,
    TwDialogStatus,
    TwEvent,
    TwOpState,
    TwRow,
    TwRowChange,
    TwStatus,
    TwTableListChange,
    TwTableQuery,
    TwTableStatus,
    TwTableUpdate,
    TwUser,
);
