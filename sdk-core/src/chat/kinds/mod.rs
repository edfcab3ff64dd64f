//! How events change a dialog's rows: a file for each kind.

pub(super) mod answer;
pub(super) mod message;
mod unreadable;

use super::rows::Rows;
use crate::event::{Row, RowKind, RowState};
use crate::wire::{Body, EventFrame, User};

/// Applies an event with this body to the rows; `me` is this client's user. Kinds of an application's
/// own have no rows: applications read them from the channel's events.
pub(super) fn apply(rows: &mut Rows, me: Option<&User>, event: &EventFrame, body: Body) {
    match body {
        Body::Message(message) => message::apply(rows, me, event, message),
        Body::AnswerStart(start) => answer::start(rows, event, start),
        Body::AnswerEnd(end) => answer::end(rows, event, end),
        Body::Unreadable => unreadable::apply(rows, event),
        Body::CancelRun(_) | Body::Handoff(_) | Body::Other => {}
    }
}

/// The row of an event, without a text.
fn row(event: &EventFrame, kind: RowKind) -> Row {
    Row {
        id: event.id.as_str().to_owned(),
        kind,
        by: event.by.clone(),
        own: false,
        text: String::new(),
        at: event.at,
        offset: Some(event.offset),
        state: RowState::Sent,
        code: None,
        retry_at: None,
    }
}
