//! Dialogs as rows: creating, disowning, handing over and deleting them.

use super::Outside;
use super::columns::account_text;
use super::schema::{event_key, read_meta, write_meta};
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_core::wire::{DIALOG_PREFIX, Offset};
use tidewire_server_core::store::{Account, CreateDialog, Exchange, Outcome, Refusal};

/// The meta key of the highest row id of a deleted channel. Row ids are not reused, so that code
/// that still holds one finds nothing.
const LAST_ROW: &str = "last_channel";

/// Creates a dialog, unless one with this name exists.
pub(super) fn create(
    connection: &Connection,
    dialog: &CreateDialog,
    now_ms: u64,
) -> rusqlite::Result<Outcome> {
    let owner: Option<Option<String>> = connection
        .prepare_cached(
            "SELECT owner FROM channels JOIN dialogs ON dialogs.channel = channels.id WHERE name = ?",
        )?
        .query_row([dialog.name.as_str()], |row| row.get(0))
        .optional()?;
    match owner {
        Some(owner) if owner == dialog.owner => return Ok(Outcome::Done),
        Some(_) => return Ok(Outcome::Refused(Refusal::DialogTaken)),
        None => {}
    }
    let greatest: i64 =
        connection.query_row("SELECT coalesce(max(id), 0) FROM channels", [], |row| row.get(0))?;
    let row = greatest.max(read_meta(connection, LAST_ROW)?.unwrap_or(0)) + 1;
    // Begins one offset after the old end, so that older cursors are before the floor and their
    // clients are reset.
    let begin: Option<i64> = connection
        .prepare_cached("SELECT head + 1 FROM deleted WHERE name = ?")?
        .query_row([dialog.name.as_str()], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("INSERT INTO channels (id, name, head, floor) VALUES (?1, ?2, ?3, ?3)")?
        .execute(params![row, dialog.name.as_str(), begin.unwrap_or(0)])?;
    connection
        .prepare_cached("INSERT INTO dialogs (channel, owner, created, account) VALUES (?, ?, ?, ?)")?
        .execute(params![row, dialog.owner, now_ms.cast_signed(), account_text(&dialog.account)])?;
    Ok(Outcome::Created)
}

/// Deletes a dialog with all its data. With a time, only if it was created before and nobody ever
/// wrote in it.
pub(super) fn delete(
    connection: &Connection,
    name: &str,
    unused_before_ms: Option<u64>,
) -> rusqlite::Result<Outcome> {
    let found: Option<(i64, i64, i64)> = connection
        .prepare_cached(
            "SELECT id, head, created FROM channels JOIN dialogs ON dialogs.channel = channels.id WHERE name = ?",
        )?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((row, head, created)) = found else { return Ok(Outcome::Done) };
    if unused_before_ms.is_some_and(|before| head > 0 || created >= before.cast_signed()) {
        return Ok(Outcome::Done);
    }
    for sql in [
        "DELETE FROM pieces WHERE run IN (SELECT id FROM runs WHERE channel = ?)",
        "DELETE FROM runs WHERE channel = ?",
        "DELETE FROM trimmed_ops WHERE channel = ?",
        "DELETE FROM positions WHERE channel = ?",
        "DELETE FROM refused_steps WHERE channel = ?",
        "DELETE FROM dialogs WHERE channel = ?",
    ] {
        connection.prepare_cached(sql)?.execute([row])?;
    }
    connection
        .prepare_cached("DELETE FROM events WHERE key > ? AND key < ?")?
        .execute(params![event_key(row, Offset::ZERO), event_key(row + 1, Offset::ZERO)])?;
    connection.prepare_cached("DELETE FROM members WHERE channel = ?")?.execute([name])?;
    connection.prepare_cached("DELETE FROM channels WHERE id = ?")?.execute([row])?;
    if head > 0 {
        connection
            .prepare_cached("INSERT OR REPLACE INTO deleted (name, head) VALUES (?, ?)")?
            .execute(params![name, head])?;
    }
    write_meta(connection, LAST_ROW, row.max(read_meta(connection, LAST_ROW)?.unwrap_or(0)))?;
    Ok(Outcome::Deleted(row))
}

/// Removes the owner of a dialog if it is this user.
pub(super) fn disown(
    connection: &Connection,
    dialog: &str,
    user: &str,
    account: &Account,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE dialogs SET owner = NULL
             WHERE owner = ?1 AND account IS ?3 AND channel = (SELECT id FROM channels WHERE name = ?2)",
        )?
        .execute(params![user, format!("{DIALOG_PREFIX}{dialog}"), account_text(account)])
}

/// How long the same secret gets the same guest again, in ms: the reply may have been lost.
const LOST_ANSWER_MS: u64 = 600_000;

/// Exchanges a client's own id for a guest, once.
pub(super) fn exchange(
    connection: &Connection,
    exchange: &Exchange,
    outside: &dyn Outside,
) -> rusqlite::Result<Outcome> {
    let digest = outside
        .digest(&format!("exchange\0{}", exchange.secret))
        .ok_or_else(|| rusqlite::Error::ToSqlConversionFailure("no digest".into()))?;
    let before: Option<(String, i64)> = connection
        .prepare_cached("SELECT guest, at FROM exchanged WHERE digest = ?")?
        .query_row([&digest], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let now = outside.now_ms();
    match before {
        Some((guest, at)) if at.cast_unsigned().saturating_add(LOST_ANSWER_MS) > now => {
            return Ok(Outcome::Exchanged(guest));
        }
        Some(_) => return Ok(Outcome::Refused(Refusal::Exchanged)),
        None => {}
    }
    connection
        .prepare_cached("INSERT INTO exchanged (digest, guest, at) VALUES (?, ?, ?)")?
        .execute(params![digest, exchange.guest, now.cast_signed()])?;
    connection
        .prepare_cached("UPDATE dialogs SET owner = ? WHERE owner = ?")?
        .execute([&exchange.to, &exchange.from])?;
    connection
        .prepare_cached("UPDATE OR IGNORE members SET user = ? WHERE user = ?")?
        .execute([&exchange.to, &exchange.from])?;
    Ok(Outcome::Exchanged(exchange.guest.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::migrate;
    use super::*;
    use tidewire_core::wire::ChannelName;
    use tidewire_server_core::store::Read;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
    }

    fn made(connection: &Connection, name: &str, owner: &str, at: u64) -> i64 {
        let dialog = CreateDialog {
            name: ChannelName::parse(name).unwrap(),
            owner: Some(owner.to_owned()),
            account: Account::Own,
        };
        assert!(matches!(create(connection, &dialog, at).unwrap(), Outcome::Created));
        row(connection, name).unwrap()
    }

    fn row(connection: &Connection, name: &str) -> Option<i64> {
        let sql = "SELECT id FROM channels WHERE name = ?";
        connection.query_row(sql, [name], |row| row.get(0)).optional().unwrap()
    }

    #[test]
    fn a_row_is_never_given_twice() {
        let database = database();
        let first = made(&database, "dialog:a", "ada", 1);
        assert!(
            matches!(delete(&database, "dialog:a", None).unwrap(), Outcome::Deleted(row) if row == first)
        );
        let second = made(&database, "dialog:b", "ada", 1);
        assert!(second > first);
        delete(&database, "dialog:b", None).unwrap();
        assert!(made(&database, "dialog:a", "ada", 1) > second);
    }

    #[test]
    fn a_dialog_made_anew_begins_after_the_end_of_the_old_one() {
        let database = database();
        let row = made(&database, "dialog:a", "ada", 1);
        database.execute("UPDATE channels SET head = 7 WHERE id = ?", [row]).unwrap();
        delete(&database, "dialog:a", None).unwrap();
        let row = made(&database, "dialog:a", "bob", 1);
        let sql = "SELECT head, floor FROM channels WHERE id = ?";
        let extent = database.query_row(sql, [row], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(extent, (8_i64, 8_i64));
    }

    #[test]
    fn only_what_is_old_and_was_never_written_in_is_forgotten() {
        let database = database();
        let written = made(&database, "dialog:written", "ada", 1);
        database.execute("UPDATE channels SET head = 1, floor = 1 WHERE id = ?", [written]).unwrap();
        made(&database, "dialog:new", "ada", 10);
        made(&database, "dialog:old", "ada", 9);
        create(
            &database,
            &CreateDialog {
                name: ChannelName::parse("dialog:open").unwrap(),
                owner: None,
                account: Account::Own,
            },
            1,
        )
        .unwrap();
        let unused =
            super::super::read(&database, &Read::Unused { after: 0, before_ms: 10, most: 5 }).unwrap();
        assert_eq!(
            unused.channels().unwrap(),
            [(row(&database, "dialog:old").unwrap(), ChannelName::parse("dialog:old").unwrap())]
        );
        for name in ["dialog:written", "dialog:new", "dialog:nowhere"] {
            assert!(matches!(delete(&database, name, Some(10)).unwrap(), Outcome::Done), "{name}");
        }
        assert!(matches!(delete(&database, "dialog:old", Some(10)).unwrap(), Outcome::Deleted(_)));
    }

    #[test]
    fn a_dialog_that_was_taken_back_is_nobodys() {
        let database = database();
        made(&database, "dialog:a", "guest:g", 1);
        assert_eq!(disown(&database, "a", "user:eve", &Account::Own).unwrap(), 0);
        assert_eq!(disown(&database, "a", "guest:g", &Account::Named("other".to_owned())).unwrap(), 0);
        assert_eq!(disown(&database, "a", "guest:g", &Account::Own).unwrap(), 1);
        let mut dialog = CreateDialog {
            name: ChannelName::parse("dialog:a").unwrap(),
            owner: Some("guest:g".to_owned()),
            account: Account::Own,
        };
        for owner in ["guest:g", "user:ada"] {
            dialog.owner = Some(owner.to_owned());
            let outcome = create(&database, &dialog, 2).unwrap();
            assert!(matches!(outcome, Outcome::Refused(Refusal::DialogTaken)), "{owner}");
        }
    }
}
