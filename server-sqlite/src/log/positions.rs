//! How far users have read channels.

use super::columns::{number, offset};
use super::schema::event_key;
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::wire::{EventFrame, Offset, Receipt, UNREAD_SCAN, User, counts_as_unread};
use tidewire_server_core::store::{Positions, SetPosition};

/// Stores positions, unless there are later ones; none for a dialog that was deleted.
pub(super) fn set(
    connection: &Connection,
    set: &[SetPosition],
    at: u64,
) -> rusqlite::Result<Vec<Option<(Offset, u64)>>> {
    let mut write = connection.prepare_cached(
        "INSERT INTO positions (channel, user, by, offset, at)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM channels WHERE id = ?1)
         ON CONFLICT DO UPDATE SET by = ?3, offset = ?4, at = ?5 WHERE offset < ?4",
    )?;
    let mut read =
        connection.prepare_cached("SELECT offset, at FROM positions WHERE channel = ? AND user = ?")?;
    let mut stored = Vec::with_capacity(set.len());
    for SetPosition { channel, user, by, offset: to, .. } in set {
        let by = Writer::object().with("by", |writer| by.write(writer)).end();
        write.execute(params![channel, user, by, number(*to), at.cast_signed()])?;
        let row = read.query_row(params![channel, user], |row| {
            Ok((offset(row, 0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        });
        stored.push(row.optional()?);
    }
    Ok(stored)
}

/// A user's own position in a channel, what is unread after it up to `to`, and the positions of
/// others, at most `most`.
pub(super) fn of(
    connection: &Connection,
    channel: i64,
    user: &str,
    to: Offset,
    most: usize,
) -> rusqlite::Result<Positions> {
    let own = connection
        .prepare_cached("SELECT offset FROM positions WHERE channel = ? AND user = ?")?
        .query_row(params![channel, user], |row| offset(row, 0))
        .optional()?
        .unwrap_or(Offset::ZERO);
    let oldest = own.max(to.minus(UNREAD_SCAN));
    let (unread, scanned) = count(connection, channel, user, oldest, to)?;
    let others = connection
        .prepare_cached("SELECT user, by, offset, at FROM positions WHERE channel = ? AND user <> ? LIMIT ?")?
        .query_map(params![channel, user, most as i64], |row| {
            let (user, by): (String, String) = (row.get(0)?, row.get(1)?);
            let (offset, at) = (offset(row, 2)?, row.get::<_, i64>(3)?.cast_unsigned());
            Ok((user, by, offset, at))
        })?
        .filter_map(|row| {
            let row = row.map(|(user, by, offset, at)| {
                // Written here alone, so it can be read.
                let by = read_user(&by)?;
                Some((user, Receipt { user: by, offset, at }))
            });
            row.transpose()
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(Positions { own, unread, more: own < oldest, scanned, others })
}

/// How many events after `from` up to `to` count as unread for this user, and how many bytes were
/// read for it.
fn count(
    connection: &Connection,
    channel: i64,
    user: &str,
    from: Offset,
    to: Offset,
) -> rusqlite::Result<(u64, usize)> {
    let mut statement = connection
        .prepare_cached("SELECT frame FROM events WHERE key > ? AND key <= ? AND author <> ? ORDER BY key")?;
    let mut rows = statement.query(params![event_key(channel, from), event_key(channel, to), user])?;
    let (mut unread, mut scanned) = (0, 0);
    while let Some(row) = rows.next()? {
        let frame = row.get_ref(0)?.as_str()?;
        scanned += frame.len();
        unread += u64::from(EventFrame::decode(frame).is_ok_and(|event| counts_as_unread(&event.kind)));
    }
    Ok((unread, scanned))
}

fn read_user(by: &str) -> Option<User> {
    User::read(&Object::parse(by).ok()?.need_object("by").ok()?).ok()
}
