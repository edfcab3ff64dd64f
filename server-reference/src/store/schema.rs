//! The database file: how it is opened, its tables and their migrations.

use super::life::Life;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// One entry a version; entry `n` brings a database of version `n` to version `n + 1`.
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
"];

/// The version this server writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// How many bits of an event's key hold its offset.
const OFFSET_BITS: u32 = 40;

/// The key of the event at `offset` of `channel`.
pub(crate) fn event_key(channel: i64, offset: u64) -> i64 {
    (channel << OFFSET_BITS) | offset.cast_signed()
}

/// The offset within an event's key.
pub(crate) fn offset_of(key: i64) -> u64 {
    (key & ((1 << OFFSET_BITS) - 1)).cast_unsigned()
}

/// Why the database could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A later server wrote it.
    #[error(
        "the database has schema version {found}, this server knows {SCHEMA_VERSION}; start the newer server, or use another --database"
    )]
    Newer {
        /// The version in the file.
        found: u32,
    },
    /// Another database stands at the path than the one that was opened first.
    #[error("the database file was replaced while the server ran; restart the server")]
    Replaced,
    /// Another server has it open.
    #[error("another server uses this database; stop it first, or use another --database")]
    InUse,
    /// SQLite refuses.
    #[error("can't open the database: {0}; check that the folder exists and is writable")]
    Sqlite(#[from] rusqlite::Error),
    /// The small file beside the database can't be written.
    #[error("can't write the file beside the database: {0}; check that the folder is writable")]
    Life(std::io::Error),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl OpenError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::Newer { .. } => "database_newer",
            OpenError::Replaced => "database_replaced",
            OpenError::InUse => "database_in_use",
            OpenError::Sqlite(_) | OpenError::Life(_) => "database_unavailable",
            OpenError::Random => "no_randomness",
        }
    }
}

/// What the database says about itself.
#[derive(Clone)]
pub(crate) struct Identity {
    /// Names this life of the log.
    pub(crate) epoch: String,
    /// Signs guests' tokens.
    pub(crate) guest_key: Vec<u8>,
}

/// How long a start waits for a server that is just draining.
const LOCK_TIME: Duration = Duration::from_secs(6);

/// Keeps other servers away for as long as the connection lives: two would give the same offsets. The lock is on a file of its own,
/// because an exclusive lock on the database would keep our own readers away too; a crash releases it.
pub(crate) fn lock_out_others(path: &Path) -> Result<Connection, OpenError> {
    let mut file = path.as_os_str().to_owned();
    file.push("-lock");
    let connection = Connection::open(PathBuf::from(file))?;
    connection.busy_timeout(LOCK_TIME)?;
    match connection.execute_batch("BEGIN EXCLUSIVE") {
        Ok(()) => Ok(connection),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(OpenError::InUse),
        Err(error) => Err(error.into()),
    }
}

/// Opens for writing, creates or migrates what is needed, and reads the identity.
pub(super) fn open_or_create(path: &Path) -> Result<(Connection, Identity, Life), OpenError> {
    let mut connection = Connection::open(path)?;
    configure(&connection)?;
    migrate(&mut connection)?;
    let transaction = connection.transaction()?;
    let (mut life, other) = Life::begin(&transaction, path)?;
    if let Some(why) = other
        && read_meta::<String>(&transaction, "epoch")?.is_some()
    {
        tracing::warn!(
            why,
            "this database is not the one that ran here last, but an older or another one: every client starts \
             anew, and what was written since the backup was made is lost"
        );
        write_meta(&transaction, "epoch", new_epoch())?;
    }
    let identity = identity(&transaction)?;
    transaction.commit()?;
    life.begun()?;
    Ok((connection, identity, life))
}

/// The letter keeps it from being stored as a number.
fn new_epoch() -> String {
    format!("e{}", crate::clock::random_id())
}

/// Opens again after an error, and only the same database.
pub(super) fn reopen(path: &Path, life: &mut Life) -> Result<Connection, OpenError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    configure(&connection)?;
    if life.goes_on(&connection)? { Ok(connection) } else { Err(OpenError::Replaced) }
}

/// Opens for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit returns only once it is on disk. Checkpoints have their own thread.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID;",
    )?;
    let found = read_meta::<u32>(&transaction, "schema_version")?.unwrap_or(0);
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { found });
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

fn identity(connection: &Connection) -> Result<Identity, OpenError> {
    let epoch = match read_meta::<String>(connection, "epoch")? {
        Some(epoch) => epoch,
        None => {
            let epoch = new_epoch();
            write_meta(connection, "epoch", &epoch)?;
            epoch
        }
    };
    let guest_key = match read_meta::<Vec<u8>>(connection, "guest_key")? {
        Some(key) => key,
        None => {
            let mut key = vec![0u8; 32];
            getrandom::fill(&mut key).map_err(|_| OpenError::Random)?;
            write_meta(connection, "guest_key", &key)?;
            key
        }
    };
    Ok(Identity { epoch, guest_key })
}

/// One value of the meta table.
pub(super) fn read_meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0)).optional()
}

/// Stores one value of the meta table.
pub(crate) fn write_meta(
    connection: &Connection,
    key: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
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

    #[test]
    fn a_key_keeps_channel_and_offset_apart() {
        assert_eq!(offset_of(event_key(7, 12)), 12);
        assert!(event_key(7, (1 << OFFSET_BITS) - 1) < event_key(8, 0));
    }

    #[test]
    fn the_identity_survives_a_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (_, first, _) = open_or_create(&path).unwrap();
        let (_, second, _) = open_or_create(&path).unwrap();
        assert_eq!((first.epoch, first.guest_key), (second.epoch, second.guest_key));
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
                event_key(3, 5)
            ))
            .unwrap();
        connection.execute_batch(MIGRATIONS[1]).unwrap();
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("SELECT first FROM runs WHERE id = 'r1'"), 5);
        assert_eq!(number("SELECT first FROM runs WHERE id = 'lost'"), 0);
        assert_eq!(number("SELECT oldest FROM channels"), 7);
    }

    #[test]
    fn a_second_server_is_locked_out_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let first = lock_out_others(&path).unwrap();
        let waiting = std::thread::spawn(move || lock_out_others(&path).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(first);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_replaced_file_is_not_taken_for_the_same_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (_, _, mut life) = open_or_create(&path).unwrap();
        reopen(&path, &mut life).unwrap();
        let other = folder.path().join("b.db");
        open_or_create(&other).unwrap();
        assert!(matches!(reopen(&other, &mut life), Err(OpenError::Replaced)));
    }
}
