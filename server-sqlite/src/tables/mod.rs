//! SQLite as a source: changes are logged by triggers, within the transactions that make them,
//! whichever program does.
//!
//! A hook of the library would miss other processes and see what is rolled back; a trigger does
//! neither. Writers take turns, so the order of the log is that of the commits, and a reader's
//! transaction sees all of a transaction or nothing of it. Where one ends the log does not say:
//! what is read at once is told as one commit, with the place of each change.
//!
//! Rows whose key has a null, which SQLite allows in some tables, are not told of.

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

/// The table of the log. Its sequence is the position: the next one is that of the newest row and
/// one more, and the newest row stays ([`trim`]). `AUTOINCREMENT` would hold without that, but has
/// each transaction write one more page.
const LOG: &str = "_tidewire_change";

/// A table that is to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its name in the database.
    pub table: String,
    /// The columns that clients may see; none for all. The key's must be among them.
    pub columns: Option<Vec<String>>,
}

/// A watched table as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name in the database.
    pub table: String,
    /// What clients may see.
    pub schema: Schema,
    /// What the triggers can't see, for the log.
    pub warnings: Vec<String>,
    /// The key and the unique indexes, by which a write may replace other rows.
    unique: Vec<Vec<Part>>,
    /// Whether that may happen at an update of any column, not only of theirs: one of them is
    /// partial, or on a generated column.
    any_update: bool,
    encoding: Encoding,
    /// Whether the application has triggers on it.
    triggered: bool,
}

/// How a database keeps its texts, which a `CAST` to a blob shows.
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

    /// Stands before the bytes of a text in the log.
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
    /// One of them can't.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The database says no.
    #[error("the tables' database: {0}")]
    Database(#[from] rusqlite::Error),
}

impl Described {
    /// Names its rows in the log: those with other columns have another name.
    fn tag(&self) -> String {
        let columns = self.schema.columns.iter();
        let texts = columns.flat_map(|column| [column.name.as_str(), column.declared.as_str()]);
        let key = format!("{:?}", self.schema.key);
        format!("{}#{:016x}", self.table, hash(texts.chain([key.as_str()])))
    }
}

/// Describes the tables, and makes the log and the triggers where they are missing, were made for
/// other columns or run too late: then changes may have been missed, and the log says so. What is
/// left of tables that are watched no more is removed.
///
/// # Errors
///
/// A table that is not there, is a view, or has no primary key, or columns that it does not have.
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

/// The same after the schema has changed, for each table on its own: one that can't be watched any
/// more does not keep the others from it. What belongs to other tables stays, as another server may
/// watch them.
///
/// # Errors
///
/// The database's.
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

/// Makes what a table needs, if it is not there.
fn make(connection: &Connection, table: &Described) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {LOG} (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, old TEXT, new TEXT, at INTEGER)"
    ))?;
    let known: BTreeMap<String, String> = connection
        .prepare("SELECT name, sql FROM sqlite_master WHERE name GLOB '_tidewire_*' AND type IN ('table', 'trigger')")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())))?
        .collect::<Result<_, _>>()?;
    let statements = triggers::statements(table);
    if statements.iter().all(|(name, sql)| known.get(name) == Some(sql)) && run_first(connection, table)? {
        return Ok(());
    }
    // The triggers first: they name the tables.
    for (name, sql) in statements.iter().rev() {
        let kind = if sql.starts_with("CREATE TABLE") { "TABLE" } else { "TRIGGER" };
        connection.execute_batch(&format!("DROP {kind} IF EXISTS {}", triggers::quoted(name)))?;
    }
    for (_, sql) in &statements {
        connection.execute_batch(sql)?;
    }
    // A change without a row: from here on, and not from before, nothing is missed.
    connection.execute(&format!("INSERT INTO {LOG} (tbl) VALUES (?)"), [table.tag()])?;
    Ok(())
}

/// Whether the triggers of a table were made after the application's: then they run before them.
/// Behind one that ends a row's triggers with `RAISE(IGNORE)` they would not run at all.
fn run_first(connection: &Connection, table: &Described) -> rusqlite::Result<bool> {
    let sql = "SELECT ifnull(max(rowid) FILTER (WHERE NOT name GLOB '_tidewire_*'), 0) \
               < min(rowid) FILTER (WHERE name GLOB '_tidewire_*') \
               FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE";
    connection.query_row(sql, [&table.table], |row| Ok(row.get::<_, Option<bool>>(0)?.unwrap_or(false)))
}
