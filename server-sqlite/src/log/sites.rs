//! Sites: pages elsewhere that may have guests of an account.

use super::columns;
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_server_core::store::{Account, MAX_SITES, Outcome, Refusal, Site};

/// Stores a site in the place of an earlier one of the same account.
pub(super) fn put(connection: &Connection, site: &Site) -> rusqlite::Result<Outcome> {
    match account(connection, &site.key)? {
        Some(account) if account != site.account => return Ok(Outcome::Refused(Refusal::Forbidden)),
        Some(_) => {}
        None => {
            let count: i64 =
                connection.prepare_cached("SELECT count(*) FROM sites")?.query_row([], |row| row.get(0))?;
            if count >= MAX_SITES as i64 {
                return Ok(Outcome::Refused(Refusal::TooManySites));
            }
        }
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sites (key, account, origins, assistant) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![
            site.key,
            columns::account_text(&site.account),
            site.origins.join("\n"),
            site.assistant,
        ])?;
    Ok(Outcome::Done)
}

/// Deletes a site of this account.
pub(super) fn delete(connection: &Connection, key: &str, of: &Account) -> rusqlite::Result<Outcome> {
    if account(connection, key)?.is_some_and(|account| account != *of) {
        return Ok(Outcome::Refused(Refusal::Forbidden));
    }
    connection.prepare_cached("DELETE FROM sites WHERE key = ?")?.execute([key])?;
    Ok(Outcome::Done)
}

/// All sites.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Site>> {
    connection
        .prepare("SELECT key, account, origins, assistant FROM sites")?
        .query_map([], |row| {
            Ok(Site {
                key: row.get(0)?,
                account: columns::account(row, 1)?,
                origins: row.get_ref(2)?.as_str()?.lines().map(str::to_owned).collect(),
                assistant: row.get(3)?,
            })
        })?
        .collect()
}

fn account(connection: &Connection, key: &str) -> rusqlite::Result<Option<Account>> {
    connection
        .prepare_cached("SELECT account FROM sites WHERE key = ?")?
        .query_row([key], |row| columns::account(row, 0))
        .optional()
}
