//! `message`: a participant's message.

use super::row;
use crate::chat::rows::Rows;
use crate::event::{Row, RowKind, RowState};
use crate::wire::{EventFrame, Message, OpId, User, UserKind};

/// A message was committed. It gets a row; if this client wrote it, its row gets the offset.
pub(super) fn apply(rows: &mut Rows, me: Option<&User>, event: &EventFrame, message: Message) {
    if let Some(index) = rows.find(&event.id) {
        // An event that came under two offsets counts under the one that came first.
        if rows.is_later(index, event.offset) {
            return;
        }
        let mut row = rows.committed(index, event.offset);
        row.by = event.by.clone();
        row.at = event.at;
        rows.relocate(index, rows.position(event.offset), row);
        return;
    }
    let mut row = row(event, RowKind::Message);
    row.own = me.is_some_and(|me| me.id == event.by.id);
    row.text = message.text;
    rows.place(row);
}

/// The row of an op that is not committed. If this version can't read the op's body, the text is
/// empty.
pub(in crate::chat) fn written(id: &OpId, body: &str, me: Option<&User>, at: u64) -> Row {
    let nobody = || User { id: String::new(), name: String::new(), kind: UserKind::User, profile: None };
    Row {
        id: id.to_string(),
        kind: RowKind::Message,
        by: me.cloned().unwrap_or_else(nobody),
        own: true,
        text: Message::of(body).map_or_else(String::new, |message| message.text),
        at,
        offset: None,
        state: RowState::Saving,
        code: None,
        retry_at: None,
    }
}
