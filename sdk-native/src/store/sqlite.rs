//! The store's SQLite file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use tidewire_core::{Offset, Restored, RestoredChannel, StoreChange, StoreError};

use super::Storage;
use crate::error::StoreOpenError;

/// The file's name in its folder.
const FILE: &str = "tidewire.db";
/// The newest format this version reads, in SQLite's `user_version`.
const FORMAT: i64 = 3;
/// How long opening waits for another client that is just closing.
const PATIENCE: Duration = Duration::from_millis(250);

const SCHEMA: &str = "
    CREATE TABLE profile (one INTEGER PRIMARY KEY CHECK (one = 1), record TEXT NOT NULL);
    CREATE TABLE ops (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE channels (channel TEXT PRIMARY KEY, epoch TEXT NOT NULL, cursor INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (channel TEXT NOT NULL, offset INTEGER NOT NULL, event TEXT NOT NULL,
        PRIMARY KEY (channel, offset)) WITHOUT ROWID;
";
/// The changes from format 1 to format 2.
const TABLES: &str = "CREATE TABLE tables (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;";

/// The changes from format 2 to format 3.
const RUNS: &str = "ALTER TABLE channels ADD COLUMN runs TEXT NOT NULL DEFAULT ''";

/// A store in one SQLite database, locked for as long as it is open.
pub struct Sqlite {
    db: Connection,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Sqlite {
    /// Opens the store and locks it; creates it if there is none.
    ///
    /// # Errors
    /// [`StoreOpenError`]; a store that can't be opened is left as it was.
    pub fn open(storage: &Storage) -> Result<Sqlite, StoreOpenError> {
        let mut db = match storage {
            Storage::Memory => Connection::open_in_memory().map_err(open_error)?,
            Storage::Folder(folder) => {
                make_folder(folder).map_err(|error| StoreOpenError::Unavailable(error.to_string()))?;
                Connection::open(folder.join(FILE)).map_err(open_error)?
            }
        };
        db.busy_timeout(PATIENCE).map_err(open_error)?;
        // The lock keeps a second client out. It ends with the process, however that ends.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(open_error)?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(open_error)?;
        if found > FORMAT {
            return Err(StoreOpenError::Newer { found, known: FORMAT });
        }
        db.pragma_update(None, "journal_mode", "WAL").map_err(open_error)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(open_error)?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(open_error)?;
        if found == 0 {
            transaction.execute_batch(SCHEMA).map_err(open_error)?;
        }
        if found < 2 {
            transaction.execute_batch(TABLES).map_err(open_error)?;
        }
        if found < 3 {
            transaction.execute_batch(RUNS).map_err(open_error)?;
        }
        // Written at every start: in exclusive mode the first write takes the lock, which is then
        // kept.
        transaction.pragma_update(None, "user_version", FORMAT).map_err(open_error)?;
        transaction.commit().map_err(open_error)?;
        Ok(Sqlite { db })
    }

    /// Caps the file at about this many bytes. Changes that don't fit fail with
    /// [`StoreError::Full`].
    ///
    /// # Errors
    /// [`StoreOpenError::Unavailable`], when the cap could not be set.
    pub fn limit(&self, bytes: u64) -> Result<(), StoreOpenError> {
        let page: i64 =
            self.db.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(open_error)?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        self.db.pragma_update(None, "max_page_count", pages).map_err(open_error)
    }

    /// Reads everything in the store.
    ///
    /// # Errors
    /// [`StoreOpenError::Unavailable`], when it can't be read.
    pub fn restored(&self) -> Result<Restored, StoreOpenError> {
        self.read().map_err(open_error)
    }

    /// Carries out changes in order, each whole or not at all, and returns the result of each. A
    /// change that succeeded is on disk.
    pub fn apply(&mut self, changes: &[StoreChange]) -> Vec<Result<(), StoreError>> {
        if self.apply_together(changes).is_ok() {
            return vec![Ok(()); changes.len()];
        }
        // One change failed. Each is tried by itself, so that the others don't fail with it.
        changes
            .iter()
            .map(|change| self.apply_together(std::slice::from_ref(change)).map_err(store_error))
            .collect()
    }

    fn apply_together(&mut self, changes: &[StoreChange]) -> rusqlite::Result<()> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            write(&transaction, change)?;
        }
        transaction.commit()
    }

    fn read(&self) -> rusqlite::Result<Restored> {
        let profile = self.db.query_row("SELECT record FROM profile", [], |row| row.get(0)).optional()?;
        let mut ops = self.db.prepare("SELECT record FROM ops ORDER BY id")?;
        let ops = ops.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut events = self.db.prepare("SELECT event FROM events WHERE channel = ?1 ORDER BY offset")?;
        let mut statement =
            self.db.prepare("SELECT channel, epoch, cursor, runs FROM channels ORDER BY channel")?;
        let mut rows = statement.query([])?;
        let mut channels = Vec::new();
        while let Some(row) = rows.next()? {
            let channel: String = row.get(0)?;
            let events = events.query_map([&channel], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let cursor: i64 = row.get(2)?;
            channels.push(RestoredChannel {
                channel,
                epoch: row.get(1)?,
                cursor: cursor.unsigned_abs(),
                events,
                runs: row.get(3)?,
            });
        }
        let mut tables = self.db.prepare("SELECT name, record FROM tables ORDER BY name")?;
        let tables = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(Restored { profile, ops, channels, tables })
    }
}

fn write(transaction: &Transaction<'_>, change: &StoreChange) -> rusqlite::Result<()> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(params).map(|_| ())
    };
    match change {
        StoreChange::PutOp { id, record } => {
            run("INSERT OR REPLACE INTO ops (id, record) VALUES (?1, ?2)", params![id.as_str(), record.0])
        }
        StoreChange::DeleteOp { id } => run("DELETE FROM ops WHERE id = ?1", params![id.as_str()]),
        StoreChange::PutEvents { channel, epoch, cursor, events, runs, trim_below } => {
            for (offset, event) in events {
                run(
                    "INSERT OR REPLACE INTO events (channel, offset, event) VALUES (?1, ?2, ?3)",
                    params![channel.as_str(), number(*offset)?, event.0],
                )?;
            }
            run(
                "INSERT OR REPLACE INTO channels (channel, epoch, cursor, runs) VALUES (?1, ?2, ?3, ?4)",
                params![channel.as_str(), epoch.as_str(), number(*cursor)?, runs.0],
            )?;
            run(
                "DELETE FROM events WHERE channel = ?1 AND offset < ?2",
                params![channel.as_str(), number(*trim_below)?],
            )
        }
        StoreChange::ClearChannel { channel } => {
            run("DELETE FROM events WHERE channel = ?1", params![channel.as_str()])?;
            run("DELETE FROM channels WHERE channel = ?1", params![channel.as_str()])
        }
        StoreChange::PutTable { name, record } => {
            run("INSERT OR REPLACE INTO tables (name, record) VALUES (?1, ?2)", params![name, record.0])
        }
        StoreChange::ClearTable { name } => run("DELETE FROM tables WHERE name = ?1", params![name]),
        StoreChange::PutProfile { record } => {
            run("INSERT OR REPLACE INTO profile (one, record) VALUES (1, ?1)", params![record.0])
        }
    }
}

/// SQLite's integers are signed; the protocol's integers are at most 2^53.
fn number(Offset(value): Offset) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn open_error(error: rusqlite::Error) -> StoreOpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreOpenError::InUse,
        _ => StoreOpenError::Unavailable(error.to_string()),
    }
}

fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Unavailable,
    }
}
