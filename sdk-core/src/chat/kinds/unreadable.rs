//! Events that can't be read.

use crate::chat::rows::Rows;
use crate::event::{Row, RowKind, RowState};
use crate::wire::EventFrame;

/// An event can't be read: it gets a row without text. A row that this client wrote keeps its text.
pub(super) fn apply(rows: &mut Rows, event: &EventFrame) {
    match rows.find(&event.id) {
        Some(index) => {
            let mut row = rows.get(index).clone();
            row.offset = Some(event.offset);
            row.state = RowState::Sent;
            row.code = None;
            row.retry_at = None;
            rows.relocate(index, rows.position(event.offset), row);
        }
        None => rows.place(Row {
            id: event.id.to_string(),
            kind: RowKind::Unreadable,
            by: event.by.clone(),
            own: false,
            text: String::new(),
            at: event.at,
            offset: Some(event.offset),
            state: RowState::Sent,
            code: None,
            retry_at: None,
        }),
    }
}
