//! Events that can't be read.

use super::row;
use crate::chat::rows::Rows;
use crate::event::RowKind;
use crate::wire::EventFrame;

/// An event can't be read: it gets a row without text. A row that this client wrote keeps its text.
pub(super) fn apply(rows: &mut Rows, event: &EventFrame) {
    match rows.find(&event.id) {
        Some(index) if rows.is_later(index, event.offset) => {}
        Some(index) => {
            let row = rows.committed(index, event.offset);
            rows.relocate(index, rows.position(event.offset), row);
        }
        None => rows.place(row(event, RowKind::Unreadable)),
    }
}
