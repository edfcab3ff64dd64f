//! SQLite as a source of live tables. Triggers log changes within the transactions that make them,
//! whichever program writes.
//!
//! A hook of the SQLite library would miss other processes and see changes that are rolled back;
//! triggers don't. SQLite has one writer at a time, so the order of the log is the order of the
//! commits, and a reader's transaction sees all or nothing of another transaction. The log does not
//! say where a transaction ends: everything that is read at once is published as one commit, with
//! the place of each change.
//!
//! Rows with a null in their key, which SQLite allows in some tables, are left out.

mod chain;
mod columns;
mod describe;
mod detach;
mod read;
mod triggers;

pub use detach::{detach, is_attached};
pub use read::{Log, fingerprint, read, snapshot, trim};
use rusqlite::Connection;
use std::collections::BTreeMap;
use thiserror::Error;
use tidewire_server_core::tables::{Schema, TableError, hash};

/// The log's table. Its rowid is the position: one more than that of the newest row, which is never
/// deleted ([`trim`]). `AUTOINCREMENT` is not needed for that, and would write one more page in
/// each transaction.
const LOG: &str = "_tidewire_change";

/// A table that is to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its name in the database.
    pub table: String,
    /// The columns that clients may see, with those of the key; `None` for all.
    pub columns: Option<Vec<String>>,
}

/// A watched table as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name in the database.
    pub table: String,
    /// The columns that clients may see.
    pub schema: Schema,
    /// Changes that the triggers can't see, as warnings for the server's log.
    pub warnings: Vec<String>,
    /// The columns of the key and of unique indexes. A write that conflicts in one of these may
    /// replace other rows.
    unique: Vec<Vec<Part>>,
    /// Whether an update of any column may conflict, because a unique index is partial or on a
    /// generated column.
    any_update: bool,
    encoding: Encoding,
    /// Whether the application has triggers on the table.
    triggered: bool,
}

/// The encoding of a database's texts, which shows when a text is cast to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    fn of(connection: &Connection) -> rusqlite::Result<Encoding> {
        let name: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
        Ok(match name.as_str() {
            "UTF-16le" => Encoding::Utf16Le,
            "UTF-16be" => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        })
    }

    /// The character that precedes the bytes of a text in the log.
    fn mark(self) -> char {
        match self {
            Encoding::Utf8 => 'T',
            Encoding::Utf16Le => 'L',
            Encoding::Utf16Be => 'B',
        }
    }
}

/// A column of a unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    column: String,
    collation: String,
}

/// Why tables can't be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// A table can't be watched.
    #[error(transparent)]
    Table(#[from] TableError),
    /// SQLite reports an error.
    #[error("the tables' database: {0}")]
    Database(#[from] rusqlite::Error),
}

impl Described {
    /// The table's name in the log, with a hash of its columns: other columns give another name.
    fn tag(&self) -> String {
        let columns = self.schema.columns.iter();
        let texts = columns.flat_map(|column| [column.name.as_str(), column.declared.as_str()]);
        let key = format!("{:?}", self.schema.key);
        format!("{}#{:016x}", self.table, hash(texts.chain([key.as_str()])))
    }
}

/// Describes the tables, and creates the log and the triggers. Triggers that are missing, that were
/// made for other columns or that run too late are made again; as changes may have been missed
/// then, the log records this. What watching other tables has left is removed.
///
/// # Errors
///
/// A table that does not exist, is a view or has no primary key, or a column that it does not have.
/// Nothing is changed then.
pub fn attach(connection: &mut Connection, watches: &[Watch]) -> Result<Vec<Described>, SqliteError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let described = watches
        .iter()
        .map(|watch| describe::describe(&transaction, watch))
        .collect::<Result<Vec<_>, SqliteError>>()?;
    for table in &described {
        make(&transaction, table)?;
    }
    detach::remove_others(&transaction, &described)?;
    transaction.commit()?;
    Ok(described)
}

/// As [`attach`], after the schema has changed, for each table on its own: one that can't be
/// watched any more does not affect the others. Triggers of other tables stay, as another server
/// may watch them.
///
/// # Errors
///
/// SQLite's error.
pub fn reattach(
    connection: &mut Connection,
    watches: &[Watch],
) -> Result<Vec<Result<Described, TableError>>, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut found = Vec::new();
    for watch in watches {
        found.push(match describe::describe(&transaction, watch) {
            Ok(table) => {
                make(&transaction, &table)?;
                Ok(table)
            }
            Err(SqliteError::Table(error)) => Err(error),
            Err(SqliteError::Database(error)) => return Err(error),
        });
    }
    transaction.commit()?;
    Ok(found)
}

/// Creates what a table needs and does not have.
fn make(connection: &Connection, table: &Described) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {LOG} (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, old TEXT, new TEXT, at INTEGER)"
    ))?;
    let known: BTreeMap<String, String> = connection
        .prepare("SELECT name, sql FROM sqlite_master WHERE name GLOB '_tidewire_*' AND type IN ('table', 'trigger')")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())))?
        .collect::<Result<_, _>>()?;
    let statements = triggers::statements(table);
    if statements.iter().all(|(name, sql)| known.get(name) == Some(sql))
        && are_newest_in_order(connection, table, &statements)?
    {
        return Ok(());
    }
    // Triggers before the tables that they name.
    for (name, sql) in statements.iter().rev() {
        let kind = if sql.starts_with("CREATE TABLE") { "TABLE" } else { "TRIGGER" };
        connection.execute_batch(&format!("DROP {kind} IF EXISTS {}", triggers::quoted(name)))?;
    }
    for (_, sql) in &statements {
        connection.execute_batch(sql)?;
    }
    // A log row without values: changes may be missing before it, but not after it.
    connection.execute(&format!("INSERT INTO {LOG} (tbl) VALUES (?)"), [table.tag()])?;
    Ok(())
}

/// Whether a table's newest triggers are these, in the order of their creation. SQLite runs the
/// newest first: triggers behind one of the application that uses `RAISE(IGNORE)` would not run,
/// and ours rely on their order.
fn are_newest_in_order(
    connection: &Connection,
    table: &Described,
    statements: &[(String, String)],
) -> rusqlite::Result<bool> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY rowid";
    let triggers: Vec<String> =
        connection.prepare(sql)?.query_map([&table.table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let triggers: Vec<&String> = triggers.iter().collect();
    let ours = statements.iter().filter(|(_, sql)| sql.starts_with("CREATE TRIGGER")).map(|(name, _)| name);
    Ok(triggers.ends_with(&ours.collect::<Vec<_>>()))
}
