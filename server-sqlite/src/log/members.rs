//! Memberships of users in channels.

use super::columns;
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_server_core::store::{MAX_MEMBERSHIPS, Outcome, Refusal, SetMember};

/// Makes a user a member, or ends that.
pub(super) fn set(connection: &Connection, set: &SetMember) -> rusqlite::Result<Outcome> {
    let account = connection
        .prepare_cached(
            "SELECT account FROM channels JOIN dialogs ON dialogs.channel = channels.id WHERE name = ?",
        )?
        .query_row([set.channel.as_str()], |row| columns::account(row, 0))
        .optional()?;
    if account.is_some_and(|account| account != set.account) {
        return Ok(Outcome::Refused(Refusal::Forbidden));
    }
    let row = params![set.user, set.channel.as_str()];
    if !set.member {
        connection.prepare_cached("DELETE FROM members WHERE user = ? AND channel = ?")?.execute(row)?;
        return Ok(Outcome::Done);
    }
    let added = connection
        .prepare_cached("INSERT OR IGNORE INTO members (user, channel) VALUES (?, ?)")?
        .execute(row)?;
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM members WHERE user = ?")?
        .query_row([&set.user], |row| row.get(0))?;
    if added > 0 && count > MAX_MEMBERSHIPS as i64 {
        connection.prepare_cached("DELETE FROM members WHERE user = ? AND channel = ?")?.execute(row)?;
        return Ok(Outcome::Refused(Refusal::TooManyMemberships));
    }
    Ok(Outcome::Done)
}
