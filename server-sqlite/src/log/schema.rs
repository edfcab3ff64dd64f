//! The database's tables and their migrations.

use super::columns::number;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};
use thiserror::Error;
use tidewire_core::wire::Offset;

/// Entry `n` migrates a database from version `n` to version `n + 1`.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE channels (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL DEFAULT 0,
        -- Every event up to this offset was trimmed.
        floor INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE dialogs (
        channel INTEGER PRIMARY KEY REFERENCES channels (id),
        owner TEXT,
        -- Offset of the newest message that no answer covers yet.
        wants_answer INTEGER
    );
    -- `key` is channel << 40 | offset: a channel's events lie together and in order.
    CREATE TABLE events (
        key INTEGER PRIMARY KEY,
        op BLOB NOT NULL,
        author TEXT NOT NULL,
        frame TEXT NOT NULL
    );
    CREATE UNIQUE INDEX events_by_op ON events (op, author, key >> 40);
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        channel INTEGER NOT NULL REFERENCES channels (id)
    ) WITHOUT ROWID;
    CREATE TABLE pieces (
        run TEXT NOT NULL,
        at INTEGER NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (run, at)
    ) WITHOUT ROWID;
", "
    -- When the oldest event that is kept was committed, ms since the Unix epoch; none when no event is kept.
    ALTER TABLE channels ADD COLUMN oldest INTEGER;
    -- Offset of the first event that belongs to the run; nothing from there on is trimmed while it is under way.
    ALTER TABLE runs ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
    -- What a late resend is compared with once its event is gone.
    CREATE TABLE trimmed_ops (
        op BLOB NOT NULL,
        author TEXT NOT NULL,
        channel INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        at INTEGER NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (op, author, channel)
    ) WITHOUT ROWID;
    CREATE INDEX trimmed_ops_by_at ON trimmed_ops (at);
    UPDATE channels SET oldest = (
        SELECT iif(json_valid(frame), CAST(json_extract(frame, '$.at') AS INTEGER), 0) FROM events
        WHERE key > channels.id << 40 AND key < (channels.id + 1) << 40 ORDER BY key LIMIT 1
    );
    UPDATE runs SET first = coalesce((
        SELECT key & 0xffffffffff FROM events
        WHERE key > runs.channel << 40 AND key < (runs.channel + 1) << 40 AND json_valid(frame)
            AND json_extract(frame, '$.kind') = 'answer.start' AND json_extract(frame, '$.body.run') = runs.id
    ), 0);
", "
    -- Tokens issued up to `since`, ms since the Unix epoch, are refused: for one dialog, or altogether when `dialog` is empty.
    CREATE TABLE revocations (
        user TEXT NOT NULL,
        dialog TEXT NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (user, dialog)
    ) WITHOUT ROWID;
", "
    -- When the dialog was created, ms since the Unix epoch.
    ALTER TABLE dialogs ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
    UPDATE dialogs SET created = unixepoch() * 1000;
    -- Where dialogs ended that were deleted: one of the same name begins after it, so that no offset means two events.
    CREATE TABLE deleted (
        name TEXT PRIMARY KEY,
        head INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX never_written ON channels (id) WHERE head = 0;
    -- Ids that clients made for themselves and gave away for a guest of this server, as digests.
    CREATE TABLE exchanged (
        digest TEXT PRIMARY KEY,
        guest TEXT NOT NULL,
        at INTEGER NOT NULL
    ) WITHOUT ROWID;
", "
    -- The account; none for the server's own.
    ALTER TABLE dialogs ADD COLUMN account TEXT;
    -- As before, by account; an empty text for the server's own.
    CREATE TABLE revoked (
        account TEXT NOT NULL,
        user TEXT NOT NULL,
        dialog TEXT NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (account, user, dialog)
    ) WITHOUT ROWID;
    INSERT INTO revoked SELECT '', user, dialog, since FROM revocations;
    DROP TABLE revocations;
    ALTER TABLE revoked RENAME TO revocations;
    -- By names, because a channel may get members before it exists.
    CREATE TABLE members (
        user TEXT NOT NULL,
        channel TEXT NOT NULL,
        PRIMARY KEY (user, channel)
    ) WITHOUT ROWID;
    CREATE INDEX members_by_channel ON members (channel, user);
", "
    -- How far users have read. `by` is the user as others see them, `at` when they said so, ms since the Unix epoch.
    CREATE TABLE positions (
        channel INTEGER NOT NULL,
        user TEXT NOT NULL,
        by TEXT NOT NULL,
        offset INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (channel, user)
    ) WITHOUT ROWID;
    -- Who answers: a JSON object, none for the model.
    ALTER TABLE dialogs ADD COLUMN handler TEXT;
    -- Since when an operator is asked for, ms since the Unix epoch; none if none is.
    ALTER TABLE dialogs ADD COLUMN queued INTEGER;
    -- Whether an operator has the dialog, so that the model may not write.
    ALTER TABLE dialogs ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;
    -- Steps of hand-offs that were refused: one that comes again, when the state may allow it, stays refused.
    CREATE TABLE refused_steps (
        op BLOB NOT NULL,
        author TEXT NOT NULL,
        channel INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (op, author, channel)
    ) WITHOUT ROWID;
    CREATE INDEX refused_steps_by_at ON refused_steps (at);
    CREATE INDEX dialogs_queued ON dialogs (queued) WHERE queued IS NOT NULL;
    CREATE INDEX dialogs_held ON dialogs (channel) WHERE silent;
", "
    -- What the application's backend says about signed-in users. Times are ms since the Unix epoch.
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        account TEXT,
        kind TEXT NOT NULL,
        user TEXT NOT NULL,
        name TEXT,
        -- A JSON object.
        profile TEXT,
        -- A JSON array of arrays: each a name and its values.
        claims TEXT NOT NULL,
        since INTEGER NOT NULL,
        ends INTEGER NOT NULL
    );
    CREATE INDEX sessions_by_end ON sessions (ends);
    -- Pages elsewhere that may have guests of an account.
    CREATE TABLE sites (
        key TEXT PRIMARY KEY,
        account TEXT,
        -- One in a line.
        origins TEXT NOT NULL,
        assistant TEXT
    ) WITHOUT ROWID;
"];

/// The version this server writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// How many bits of an event's key hold its offset.
const OFFSET_BITS: u32 = 40;

/// The key of the event at `offset` of `channel`.
pub(super) fn event_key(channel: i64, offset: Offset) -> i64 {
    (channel << OFFSET_BITS) | number(offset)
}

/// The offset within an event's key.
pub(super) fn offset_of(key: i64) -> Offset {
    Offset((key & ((1 << OFFSET_BITS) - 1)).cast_unsigned())
}

/// Why the tables can't be migrated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A newer server wrote it.
    #[error("the database has schema version {found}, this server knows {SCHEMA_VERSION}")]
    Newer {
        /// The version in the database.
        found: u32,
    },
    /// SQLite's error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// How many prepared statements a connection caches: more than there are different ones.
const STATEMENTS: usize = 64;

/// Settings that every connection to the log needs for speed.
pub fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise each new value of a `LIMIT ?` prepares the statement again, which costs more than
    // reading a page.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Creates or migrates the tables.
pub fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID;",
    )?;
    let found = read_meta::<u32>(&transaction, "schema_version")?.unwrap_or(0);
    if found > SCHEMA_VERSION {
        return Err(SchemaError::Newer { found });
    }
    for migration in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(migration)?;
    }
    if found < SCHEMA_VERSION {
        write_meta(&transaction, "schema_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

/// One value of the meta table.
pub fn read_meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0)).optional()
}

/// Stores one value of the meta table.
pub fn write_meta(connection: &Connection, key: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
        )?
        .execute(params![key, value])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_server_core::store::Read;

    #[test]
    fn a_statement_is_prepared_once_whatever_its_limit() {
        let mut connection = Connection::open_in_memory().unwrap();
        tune(&connection).unwrap();
        migrate(&mut connection).unwrap();
        let mut statement = connection.prepare("SELECT key FROM events ORDER BY key LIMIT ?").unwrap();
        for most in 1..4 {
            assert!(statement.query([most]).unwrap().next().unwrap().is_none());
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_key_keeps_channel_and_offset_apart() {
        assert_eq!(offset_of(event_key(7, Offset(12))), 12);
        assert!(event_key(7, Offset((1 << OFFSET_BITS) - 1)) < event_key(8, Offset::ZERO));
    }

    #[test]
    fn a_database_of_the_second_version_keeps_its_log_and_can_revoke() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID")
            .unwrap();
        MIGRATIONS[..2].iter().for_each(|migration| connection.execute_batch(migration).unwrap());
        write_meta(&connection, "schema_version", 2).unwrap();
        connection.execute_batch("INSERT INTO channels (name, head) VALUES ('dialog:a', 5)").unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(read_meta(&connection, "schema_version").unwrap(), Some(SCHEMA_VERSION));
        let revocations = crate::log::read(&connection, &Read::Revocations).unwrap();
        assert!(revocations.revocations().unwrap().is_empty());
        let head = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        assert_eq!(connection.query_row("SELECT head FROM channels", [], head).unwrap(), 5);
    }

    #[test]
    fn a_run_of_the_first_version_is_kept_from_its_start_on() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        let frame = r#"{"t":"event","at":7,"kind":"answer.start","body":{"run":"r1"}}"#;
        connection
            .execute_batch(&format!(
                "INSERT INTO channels VALUES (3, 'dialog:a', 5, 4);
                 INSERT INTO events VALUES ({}, x'01', 'ai:ai', '{frame}');
                 INSERT INTO runs VALUES ('r1', 3), ('lost', 3);",
                event_key(3, Offset(5))
            ))
            .unwrap();
        connection.execute_batch(MIGRATIONS[1]).unwrap();
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("SELECT first FROM runs WHERE id = 'r1'"), 5);
        assert_eq!(number("SELECT first FROM runs WHERE id = 'lost'"), 0);
        assert_eq!(number("SELECT oldest FROM channels"), 7);
    }
}
