//! Sessions of signed-in users.

use super::columns;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidewire_core::wire::{Profile, UserKind};
use tidewire_server_core::store::{Account, Outcome, Refusal, SessionRow};

/// Stores a session in the place of an earlier one of the same user.
pub(super) fn put(connection: &Connection, row: &SessionRow) -> rusqlite::Result<Outcome> {
    if let Some((account, kind, user)) = whose(connection, &row.id)? {
        if account != row.account {
            return Ok(Outcome::Refused(Refusal::Forbidden));
        }
        if (kind.as_str(), user.as_str()) != (row.kind.as_str(), row.user.as_str()) {
            return Ok(Outcome::Refused(Refusal::SessionTaken));
        }
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sessions (id, account, kind, user, name, profile, claims, since, ends)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            row.id,
            columns::account_text(&row.account),
            row.kind.as_str(),
            row.user,
            row.name,
            row.profile.as_ref().map(Profile::as_json),
            row.claims_text(),
            row.since_ms.cast_signed(),
            row.ends_ms.cast_signed(),
        ])?;
    Ok(Outcome::Done)
}

/// Deletes a session of this account.
pub(super) fn end(connection: &Connection, id: &str, account: &Account) -> rusqlite::Result<Outcome> {
    if whose(connection, id)?.is_some_and(|(of, ..)| of != *account) {
        return Ok(Outcome::Refused(Refusal::Forbidden));
    }
    connection.prepare_cached("DELETE FROM sessions WHERE id = ?")?.execute([id])?;
    Ok(Outcome::Done)
}

/// Deletes sessions that ended before this time, and returns how many.
pub(super) fn forget(connection: &Connection, before_ms: u64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM sessions WHERE ends < ?")?
        .execute([i64::try_from(before_ms).unwrap_or(i64::MAX)])
}

/// A session by its id.
pub(super) fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<SessionRow>> {
    connection
        .prepare_cached(
            "SELECT id, account, kind, user, name, profile, claims, since, ends FROM sessions WHERE id = ?",
        )?
        .query_row([id], |row| {
            Ok(SessionRow {
                id: row.get(0)?,
                account: columns::account(row, 1)?,
                kind: UserKind::parse(row.get_ref(2)?.as_str()?),
                user: row.get(3)?,
                name: row.get(4)?,
                profile: row.get::<_, Option<String>>(5)?.and_then(|text| Profile::from_json(&text)),
                claims: claims(row, 6)?,
                since_ms: row.get::<_, i64>(7)?.cast_unsigned(),
                ends_ms: row.get::<_, i64>(8)?.cast_unsigned(),
            })
        })
        .optional()
}

/// The claims in a column.
///
/// # Errors
///
/// They are not as they were written: somebody else wrote into the database.
fn claims(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<std::collections::BTreeMap<String, std::collections::BTreeSet<String>>> {
    SessionRow::read_claims(row.get_ref(column)?.as_str()?).ok_or_else(|| {
        let error = "the claims of a session can't be read";
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

/// The account, kind and user of a session.
fn whose(connection: &Connection, id: &str) -> rusqlite::Result<Option<(Account, String, String)>> {
    connection
        .prepare_cached("SELECT account, kind, user FROM sessions WHERE id = ?")?
        .query_row([id], |row| Ok((columns::account(row, 0)?, row.get(1)?, row.get(2)?)))
        .optional()
}
