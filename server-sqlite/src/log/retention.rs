//! Trimming, inside the writer's transaction: the oldest events of a channel are deleted and its
//! floor rises.
//!
//! An op id is remembered longer than its event, so that a client that returns late still learns
//! that its op was committed.

use super::Outside;
use super::columns::{self, number};
use super::schema::{event_key, offset_of};
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_core::wire::{EventFrame, Offset, UserKind};
use tidewire_server_core::store::{Duplicate, NewEvent, Outcome, Refusal, Trim, Trimmed};

/// Most events in one batch.
const BATCH: usize = 128;

/// Deletes one batch of the oldest events.
pub(super) fn trim(connection: &Connection, trim: &Trim, outside: &dyn Outside) -> rusqlite::Result<Trimmed> {
    let (head, floor, first) = extent(connection, trim.channel)?;
    let (mut last, mut oldest, mut more) = (floor, None, false);
    {
        let mut statement = connection.prepare_cached(
            "SELECT key, op, author, frame FROM events WHERE key > ? AND key <= ? ORDER BY key",
        )?;
        let mut rows =
            statement.query(params![event_key(trim.channel, floor), event_key(trim.channel, head)])?;
        while let Some(row) = rows.next()? {
            let offset = offset_of(row.get(0)?);
            // An event that can't be read counts as old, so that it does not stop the trimming.
            let event = EventFrame::decode(row.get_ref(3)?.as_str()?).ok();
            let at = event.as_ref().map_or(0, |event| event.at);
            oldest = Some(at);
            let surplus = trim.keep > 0 && head.since(offset) >= trim.keep;
            if offset >= first || !(surplus || at < trim.before_ms) {
                break;
            }
            if last.since(floor) >= BATCH as u64 || (last > floor && outside.enough()) {
                more = true;
                break;
            }
            // Only ops of clients are resent; the server's own events need no memory.
            if let Some(event) = event
                && at >= trim.remember_ms
                && !matches!(event.by.kind, UserKind::Ai | UserKind::System)
            {
                let (op, author): (Vec<u8>, String) = (row.get(1)?, row.get(2)?);
                connection
                    .prepare_cached("INSERT OR REPLACE INTO trimmed_ops VALUES (?, ?, ?, ?, ?, ?)")?
                    .execute(params![
                        op,
                        author,
                        trim.channel,
                        number(offset),
                        at.cast_signed(),
                        digest(&event.kind, &event.body, outside)?
                    ])?;
            }
            (last, oldest) = (offset, None);
        }
    }
    if last > floor {
        connection
            .prepare_cached("DELETE FROM events WHERE key > ? AND key <= ?")?
            .execute(params![event_key(trim.channel, floor), event_key(trim.channel, last)])?;
        connection
            .prepare_cached("UPDATE channels SET floor = ?, oldest = ? WHERE id = ?")?
            .execute(params![number(last), oldest.map(u64::cast_signed), trim.channel])?;
    }
    Ok(Trimmed { floor: last, events: last.since(floor), more })
}

/// Head, floor, and the first offset that is still needed by an answer under way or wanted.
fn extent(connection: &Connection, channel: i64) -> rusqlite::Result<(Offset, Offset, Offset)> {
    connection
        .prepare_cached(
            "SELECT head, floor, min(
                coalesce((SELECT min(first) FROM runs WHERE channel = ?1), head + 1),
                coalesce((SELECT wants_answer FROM dialogs WHERE channel = ?1), head + 1)
             ) FROM channels WHERE id = ?1",
        )?
        .query_row([channel], |row| {
            Ok((columns::offset(row, 0)?, columns::offset(row, 1)?, columns::offset(row, 2)?))
        })
}

/// Forgets the oldest expired op ids, and returns how many.
pub(super) fn forget(connection: &Connection, before_ms: u64, most: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM refused_steps WHERE (op, author, channel) IN
             (SELECT op, author, channel FROM refused_steps WHERE at < ? ORDER BY at LIMIT ?)",
        )?
        .execute(params![before_ms.cast_signed(), most as i64])?;
    connection
        .prepare_cached(
            "DELETE FROM trimmed_ops WHERE (op, author, channel) IN
             (SELECT op, author, channel FROM trimmed_ops WHERE at < ? ORDER BY at LIMIT ?)",
        )?
        .execute(params![before_ms.cast_signed(), most as i64])
}

/// An op whose event was trimmed.
pub(super) struct TrimmedOp {
    offset: Offset,
    at: u64,
    digest: String,
}

impl TrimmedOp {
    /// The outcome for an event with the same op id: a duplicate only if kind and body are the
    /// same.
    pub(super) fn compare(&self, event: &NewEvent, outside: &dyn Outside) -> rusqlite::Result<Outcome> {
        Ok(if digest(&event.kind, &event.body, outside)? == self.digest {
            Outcome::Duplicate(Duplicate { offset: self.offset, at: self.at, frame: None })
        } else {
            Outcome::Refused(Refusal::OpIdReused)
        })
    }
}

/// A remembered op of the event's author and channel whose event was trimmed.
pub(super) fn find(
    connection: &Connection,
    op: &[u8],
    event: &NewEvent,
) -> rusqlite::Result<Option<TrimmedOp>> {
    connection
        .prepare_cached(
            "SELECT offset, at, digest FROM trimmed_ops WHERE op = ? AND author = ? AND channel = ?",
        )?
        .query_row(params![op, event.author, event.channel], |row| {
            Ok(TrimmedOp {
                offset: columns::offset(row, 0)?,
                at: row.get::<_, i64>(1)?.cast_unsigned(),
                digest: row.get(2)?,
            })
        })
        .optional()
}

/// A digest of kind and body, which tells bodies apart without storing what somebody wrote.
fn digest(kind: &str, body: &str, outside: &dyn Outside) -> rusqlite::Result<String> {
    outside
        .digest(&format!("{kind}\0{body}"))
        .ok_or_else(|| rusqlite::Error::ToSqlConversionFailure("no digest".into()))
}
