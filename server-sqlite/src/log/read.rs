//! Reads from the log.

use super::columns::{self, channel_name, offset};
use super::schema::{event_key, offset_of};
use super::{handing, positions, sessions, sites};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use tidewire_core::wire::{ChannelName, EventFrame, Offset, PAGE_BYTES, PAGE_EVENTS, RunId};
use tidewire_server_core::Text;
use tidewire_server_core::store::{ChannelRow, Found, Read, Reply, Revocation, UnfinishedRun};

/// How many events back the messages for an answer are looked for.
const CONTEXT_SCAN: u64 = 400;

/// Answers a read. Blocks.
///
/// # Errors
///
/// The database can't be read.
pub fn read(connection: &Connection, read: &Read) -> rusqlite::Result<Reply> {
    match read {
        Read::Channel(name) => channel(connection, name).map(Reply::Channel),
        Read::Events { channel, from, to } => page(connection, *channel, *from, *to).map(Reply::Events),
        Read::Earlier { channel, from, to } => earlier(connection, *channel, *from, *to).map(Reply::Events),
        Read::Newest { channel, before, most, kinds } => {
            newest(connection, *channel, *before, *most, kinds).map(Reply::Frames)
        }
        Read::ToTrim { after, before_ms, keep, most } => {
            to_trim(connection, *after, *before_ms, *keep, *most).map(Reply::Channels)
        }
        Read::Unused { after, before_ms, most } => {
            unused(connection, *after, *before_ms, *most).map(Reply::Channels)
        }
        Read::Wanting => wanting(connection).map(Reply::Wanting),
        Read::Unfinished => unfinished(connection).map(Reply::Unfinished),
        Read::Memberships(user) => memberships(connection, user).map(Reply::Names),
        Read::Members { channel, after, most } => {
            members(connection, channel, after, *most).map(Reply::Users)
        }
        Read::Positions { channel, user, to, most } => {
            positions::of(connection, *channel, user, *to, *most).map(Reply::Positions)
        }
        Read::Queued { account, most } => handing::queued(connection, account, *most).map(Reply::Handed),
        Read::Held => handing::held(connection).map(Reply::Handed),
        Read::Revocations => revocations(connection).map(Reply::Revocations),
        Read::Session(id) => sessions::read(connection, id).map(Reply::Session),
        Read::Sites => sites::read(connection).map(Reply::Sites),
    }
}

/// A channel by its name.
fn channel(connection: &Connection, name: &str) -> rusqlite::Result<Option<ChannelRow>> {
    connection
        .prepare_cached(
            "SELECT id, head, floor, owner, account, handler FROM channels
             JOIN dialogs ON dialogs.channel = channels.id WHERE name = ?",
        )?
        .query_row([name], |row| {
            Ok(ChannelRow {
                id: row.get(0)?,
                head: offset(row, 1)?,
                floor: offset(row, 2)?,
                owner: row.get(3)?,
                account: columns::account(row, 4)?,
                handler: handing::handler(row, 5)?,
            })
        })
        .optional()
}

/// The events after `from` up to `to`, at most as many as a page has, but at least one if there is
/// one.
fn page(connection: &Connection, channel: i64, from: Offset, to: Offset) -> rusqlite::Result<Found> {
    // One read transaction, so that the floor belongs to the same state as the events.
    let snapshot = connection.unchecked_transaction()?;
    let floor = snapshot
        .prepare_cached("SELECT floor FROM channels WHERE id = ?")?
        .query_row([channel], |row| offset(row, 0))?;
    if floor > from {
        return Ok(Found::Trimmed(floor));
    }
    let statement = snapshot
        .prepare_cached("SELECT key, frame FROM events WHERE key > ? AND key <= ? ORDER BY key LIMIT ?")?;
    events_of_a_page(statement, channel, from, to).map(Found::Events)
}

/// The newest of the events after `from` up to `to`, oldest first, at most as many as a page has,
/// but at least one if there is one.
fn earlier(connection: &Connection, channel: i64, from: Offset, to: Offset) -> rusqlite::Result<Found> {
    let statement = connection.prepare_cached(
        "SELECT key, frame FROM events WHERE key > ? AND key <= ? ORDER BY key DESC LIMIT ?",
    )?;
    let mut found = events_of_a_page(statement, channel, from, to)?;
    found.reverse();
    Ok(Found::Events(found))
}

/// The events in the order of the statement, until a page is full.
fn events_of_a_page(
    mut statement: CachedStatement<'_>,
    channel: i64,
    from: Offset,
    to: Offset,
) -> rusqlite::Result<Vec<(Offset, Text)>> {
    let mut rows =
        statement.query(params![event_key(channel, from), event_key(channel, to), PAGE_EVENTS as i64])?;
    let mut found = Vec::new();
    let mut size = 0;
    while let Some(row) = rows.next()? {
        let frame: String = row.get(1)?;
        size += frame.len() + 1;
        if size > PAGE_BYTES && !found.is_empty() {
            break;
        }
        found.push((offset_of(row.get(0)?), Text::from(frame)));
    }
    Ok(found)
}

/// The frames of the newest events before `before` of these kinds, oldest first, at most `most`.
fn newest(
    connection: &Connection,
    channel: i64,
    before: Offset,
    most: usize,
    kinds: &[&str],
) -> rusqlite::Result<Vec<Text>> {
    let mut statement =
        connection.prepare_cached("SELECT frame FROM events WHERE key >= ? AND key < ? ORDER BY key DESC")?;
    let oldest = before.minus(CONTEXT_SCAN).max(Offset(1));
    let mut rows = statement.query(params![event_key(channel, oldest), event_key(channel, before)])?;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        let frame: String = row.get(0)?;
        if EventFrame::decode(&frame).is_ok_and(|event| kinds.contains(&event.kind.as_str())) {
            found.push(Text::from(frame));
        }
    }
    found.reverse();
    Ok(found)
}

/// The next channels after row `after` that may have something to trim, with their names.
fn to_trim(
    connection: &Connection,
    after: i64,
    before_ms: u64,
    keep: u64,
    most: usize,
) -> rusqlite::Result<Vec<(i64, ChannelName)>> {
    connection
        .prepare_cached(
            "SELECT id, name FROM channels
             WHERE id > ?1 AND (oldest < ?2 OR (?3 > 0 AND head - floor > ?3)) ORDER BY id LIMIT ?4",
        )?
        .query_map(params![after, before_ms.cast_signed(), keep.cast_signed(), most as i64], |row| {
            Ok((row.get(0)?, channel_name(row, 1)?))
        })?
        .collect()
}

/// The next dialogs after row `after` that a user created before this time (ms since the Unix
/// epoch) and in which nobody ever wrote, with their names.
fn unused(
    connection: &Connection,
    after: i64,
    before_ms: u64,
    most: usize,
) -> rusqlite::Result<Vec<(i64, ChannelName)>> {
    connection
        .prepare_cached(
            "SELECT id, name FROM channels JOIN dialogs ON dialogs.channel = channels.id
             WHERE head = 0 AND id > ? AND created < ? AND owner IS NOT NULL ORDER BY id LIMIT ?",
        )?
        .query_map(params![after, before_ms.cast_signed(), most as i64], |row| {
            Ok((row.get(0)?, channel_name(row, 1)?))
        })?
        .collect()
}

/// The names of dialogs that want an answer, each with the offset of the message.
fn wanting(connection: &Connection) -> rusqlite::Result<Vec<(ChannelName, Offset)>> {
    connection
        .prepare(
            "SELECT name, wants_answer FROM dialogs JOIN channels ON channels.id = dialogs.channel
             WHERE wants_answer IS NOT NULL ORDER BY channel",
        )?
        .query_map([], |row| Ok((channel_name(row, 0)?, offset(row, 1)?)))?
        .collect()
}

/// The runs that have no end because of a crash.
fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<UnfinishedRun>> {
    let mut pieces = connection.prepare("SELECT text FROM pieces WHERE run = ? ORDER BY at")?;
    connection
        .prepare(
            "SELECT runs.id, channel, name FROM runs JOIN channels ON channels.id = runs.channel
             ORDER BY channel, runs.id",
        )?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, channel_name(row, 2)?)))?
        .map(|row| {
            let (run, channel, name) = row?;
            let text: rusqlite::Result<String> =
                pieces.query_map([&run], |row| row.get::<_, String>(0))?.collect();
            Ok(UnfinishedRun { text: text?, run: RunId::from(run), channel, name })
        })
        .collect()
}

/// The channels that a user is a member of.
fn memberships(connection: &Connection, user: &str) -> rusqlite::Result<Vec<ChannelName>> {
    connection
        .prepare_cached("SELECT channel FROM members WHERE user = ?")?
        .query_map([user], |row| channel_name(row, 0))?
        .collect()
}

/// The members of a channel after one of them, in their order.
fn members(
    connection: &Connection,
    channel: &ChannelName,
    after: &str,
    most: usize,
) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT user FROM members WHERE channel = ? AND user > ? ORDER BY user LIMIT ?")?
        .query_map(params![channel.as_str(), after, most as i64], |row| row.get(0))?
        .collect()
}

/// The revocations.
fn revocations(connection: &Connection) -> rusqlite::Result<Vec<Revocation>> {
    connection
        .prepare("SELECT user, dialog, since, account FROM revocations")?
        .query_map([], |row| {
            Ok(Revocation {
                user: row.get(0)?,
                dialog: row.get::<_, Option<String>>(1)?.filter(|dialog| !dialog.is_empty()),
                since_ms: row.get::<_, i64>(2)?.cast_unsigned(),
                account: columns::account(row, 3)?,
            })
        })?
        .collect()
}
