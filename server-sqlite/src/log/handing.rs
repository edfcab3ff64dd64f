//! Who answers in dialogs.

use super::columns::{self, channel_name};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidewire_core::wire::json::{Object, Writer, validate};
use tidewire_core::wire::{Conflict, Handler};
use tidewire_server_core::store::{Account, Handed, Handing, NewEvent};

/// Stores what an event does to who answers in its dialog. Returns whether the model may write
/// afterwards. Of a step that the dialog's state does not allow only that is stored: its author is told
/// so, and must not find it in the log because it came once more.
pub(super) fn hand(
    connection: &Connection,
    event: &NewEvent,
    at: u64,
) -> rusqlite::Result<Result<bool, Conflict>> {
    let Some(handing) = &event.handing else { return Ok(Ok(true)) };
    let is_step = matches!(handing, Handing::Step(_));
    if is_step && was_refused(connection, event)? {
        return Ok(Err(Conflict("this step was refused before; to try again, take a new one")));
    }
    let before = connection
        .prepare_cached("SELECT handler FROM dialogs WHERE channel = ?")?
        .query_row([event.channel], |row| handler(row, 0))
        .optional()?
        .unwrap_or_default();
    let after = match handing {
        Handing::Message => Ok(before.after_message(&event.by, at).unwrap_or_else(|| before.clone())),
        Handing::Step(step) => before.after(&event.by, step, at),
    };
    let after = match after {
        Ok(after) => after,
        Err(conflict) => {
            refuse(connection, event, at)?;
            return Ok(Err(conflict));
        }
    };
    if after != before {
        store(connection, event.channel, &after)?;
    }
    Ok(Ok(after.is_ai()))
}

fn was_refused(connection: &Connection, event: &NewEvent) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM refused_steps WHERE op = ? AND author = ? AND channel = ?")?
        .exists(params![event.op.as_bytes().as_slice(), event.author, event.channel])
}

fn refuse(connection: &Connection, event: &NewEvent, at: u64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("INSERT INTO refused_steps (op, author, channel, at) VALUES (?, ?, ?, ?)")?
        .execute(params![event.op.as_bytes().as_slice(), event.author, event.channel, at.cast_signed()])
}

fn store(connection: &Connection, channel: i64, handler: &Handler) -> rusqlite::Result<()> {
    let text = Writer::object().with("handler", |writer| handler.write(writer)).end();
    let queued = match handler {
        Handler::Queued { since } => Some(since.cast_signed()),
        _ => None,
    };
    let silent = !handler.is_ai();
    // What nobody answered before is the operator's.
    connection
        .prepare_cached(
            "UPDATE dialogs SET handler = ?2, queued = ?3, silent = ?4,
                 wants_answer = iif(?4, NULL, wants_answer) WHERE channel = ?1",
        )?
        .execute(params![channel, Some(text).filter(|_| *handler != Handler::Ai), queued, silent])?;
    Ok(())
}

/// Whether no answer may begin: an operator has the dialog, or had it since the message that wanted
/// one.
pub(super) fn is_silent(connection: &Connection, channel: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT silent OR wants_answer IS NULL FROM dialogs WHERE channel = ?")?
        .query_row([channel], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// The handler in a column.
pub(super) fn handler(row: &Row<'_>, column: usize) -> rusqlite::Result<Handler> {
    let text: Option<String> = row.get(column)?;
    // Written here alone, so it can be read.
    let read = |text: String| {
        let object = validate(&text).and_then(Object::parse).ok()?;
        Handler::read(&object.object("handler")?).ok()
    };
    Ok(text.and_then(read).unwrap_or_default())
}

/// The dialogs of an account for which an operator is asked for, in the order in which that was.
pub(super) fn queued(
    connection: &Connection,
    account: &Account,
    most: usize,
) -> rusqlite::Result<Vec<Handed>> {
    connection
        .prepare_cached(
            "SELECT channel, name, handler FROM dialogs JOIN channels ON channels.id = channel
             WHERE queued IS NOT NULL AND account IS ? ORDER BY queued, channel LIMIT ?",
        )?
        .query_map(params![columns::account_text(account), most as i64], handed)?
        .collect()
}

/// All dialogs that operators have.
pub(super) fn held(connection: &Connection) -> rusqlite::Result<Vec<Handed>> {
    connection
        .prepare_cached(
            "SELECT channel, name, handler FROM dialogs JOIN channels ON channels.id = channel WHERE silent",
        )?
        .query_map([], handed)?
        .collect()
}

fn handed(row: &Row<'_>) -> rusqlite::Result<Handed> {
    Ok(Handed { channel: row.get(0)?, name: channel_name(row, 1)?, handler: handler(row, 2)? })
}
