//! SQLite as a source: changes are logged by triggers, within the transactions that make them, whichever program does.
//!
//! A hook of the library would miss other processes and see what is rolled back; a trigger does neither. Writers take turns, so the
//! order of the log is that of the commits, and a reader's transaction sees all of a transaction or nothing of it. Where one ends the
//! log does not say: what is read at once is told as one commit, with the place of each change.
//!
//! Rows whose key has a null, which SQLite allows in some tables, are not told of. Texts end at their first NUL.

mod columns;
mod read;
mod triggers;

use super::{Schema, TableError, cursor};
pub use read::{Log, fingerprint, read, snapshot, trim};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use thiserror::Error;
use tidewire_core::wire::MAX_TABLE_COLUMNS;

/// The table of the log. Its sequence is the position: the next one is that of the newest row and one more, and the newest row stays
/// ([`trim`]). `AUTOINCREMENT` would hold without that, but has each transaction write one more page.
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
    /// Whether that may happen at an update of any column, not only of theirs: one of them is partial, or on a generated column.
    any_update: bool,
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
        format!("{}#{:016x}", self.table, cursor::hash(texts.chain([key.as_str()])))
    }
}

/// Describes the tables, and makes the log and the triggers where they are missing or were made for other columns: then changes may
/// have been missed, and the log says so.
///
/// # Errors
///
/// A table that is not there, is a view, or has no primary key, or columns that it does not have. Nothing is changed then.
pub fn attach(connection: &mut Connection, watches: &[Watch]) -> Result<Vec<Described>, SqliteError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let described =
        watches.iter().map(|watch| describe(&transaction, watch)).collect::<Result<Vec<_>, SqliteError>>()?;
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {LOG} (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, old TEXT, new TEXT, at INTEGER)"
    ))?;
    let known: BTreeMap<String, String> = transaction
        .prepare("SELECT name, sql FROM sqlite_master WHERE name GLOB '_tidewire_*' AND type IN ('table', 'trigger')")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())))?
        .collect::<Result<_, _>>()?;
    for table in &described {
        let statements = triggers::statements(table);
        if statements.iter().all(|(name, sql)| known.get(name) == Some(sql)) {
            continue;
        }
        // The triggers first: they name the table.
        for (name, sql) in statements.iter().rev() {
            let kind = if sql.starts_with("CREATE TABLE") { "TABLE" } else { "TRIGGER" };
            transaction.execute_batch(&format!("DROP {kind} IF EXISTS {}", triggers::quoted(name)))?;
        }
        for (_, sql) in &statements {
            transaction.execute_batch(sql)?;
        }
        // A change without a row: from here on, and not from before, nothing is missed.
        transaction.execute(&format!("INSERT INTO {LOG} (tbl) VALUES (?)"), [table.tag()])?;
    }
    transaction.commit()?;
    Ok(described)
}

fn describe(connection: &Connection, watch: &Watch) -> Result<Described, SqliteError> {
    let wrong = |reason: String| TableError { table: watch.table.clone(), reason };
    let kind: Option<(String, Option<String>)> = connection
        .query_row(
            "SELECT type, sql FROM sqlite_master WHERE name = ? AND type IN ('table', 'view')",
            [&watch.table],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let sql = match kind {
        None => {
            return Err(
                wrong("is not in the database; create it first, or correct its name".to_owned()).into()
            );
        }
        Some((kind, _)) if kind == "view" => {
            return Err(wrong("is a view, of which no changes are known; name its tables".to_owned()).into());
        }
        Some((_, sql)) => sql.unwrap_or_default(),
    };
    if sql.trim_start().to_ascii_uppercase().starts_with("CREATE VIRTUAL") {
        return Err(wrong("is a virtual table, of which no changes are known".to_owned()).into());
    }
    let mut all: Vec<(String, String, usize)> = connection
        .prepare("SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden != 1 ORDER BY cid")?
        .query_map([&watch.table], |row| {
            Ok((row.get(0)?, row.get(1)?, usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0)))
        })?
        .collect::<Result<_, _>>()?;
    if all.iter().all(|(_, _, place)| *place == 0) {
        let reason =
            "has no PRIMARY KEY: rows could not be told apart; give it one, such as id INTEGER PRIMARY KEY";
        return Err(wrong(reason.to_owned()).into());
    }
    if let Some(names) = &watch.columns {
        if let Some(name) = names.iter().find(|name| !all.iter().any(|(known, _, _)| known == *name)) {
            return Err(wrong(format!("has no column `{name}`")).into());
        }
        if let Some((name, _, _)) = all.iter().find(|(name, _, place)| *place > 0 && !names.contains(name)) {
            return Err(wrong(format!("clients must see its key: add `{name}` to the columns")).into());
        }
        all.retain(|(name, _, _)| names.contains(name));
    }
    if all.len() > MAX_TABLE_COLUMNS {
        return Err(wrong(format!("has more than {MAX_TABLE_COLUMNS} columns; choose some")).into());
    }
    let mut key: Vec<(usize, usize)> = all
        .iter()
        .enumerate()
        .filter(|(_, (_, _, place))| *place > 0)
        .map(|(at, (_, _, place))| (*place, at))
        .collect();
    key.sort_unstable();
    let key: Vec<usize> = key.into_iter().map(|(_, at)| at).collect();
    let columns = all.iter().map(|(name, declared, _)| columns::column(name, declared)).collect();
    let schema = Schema { columns, key };
    let (unique, warnings) = unique(connection, &watch.table, &schema)?;
    let any_update = depends_on_more(connection, &watch.table)?;
    Ok(Described { table: watch.table.clone(), schema, warnings, unique, any_update })
}

/// Whether what a unique index of a table holds depends on more than the columns that it names.
fn depends_on_more(connection: &Connection, table: &str) -> Result<bool, rusqlite::Error> {
    let partial = "SELECT 1 FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND partial = 1";
    let generated = "SELECT 1 FROM pragma_index_list(?1) list, pragma_index_xinfo(list.name) part, pragma_table_xinfo(?1) col \
                     WHERE list.\"unique\" = 1 AND part.key = 1 AND col.name = part.name AND col.hidden <> 0";
    Ok(connection.prepare(partial)?.exists([table])? || connection.prepare(generated)?.exists([table])?)
}

/// The key and the unique indexes of a table, and what can't be known of them.
fn unique(
    connection: &Connection,
    table: &str,
    schema: &Schema,
) -> Result<(Vec<Vec<Part>>, Vec<String>), rusqlite::Error> {
    let indexes: Vec<(String, String)> = connection
        .prepare("SELECT name, origin FROM pragma_index_list(?) WHERE \"unique\" = 1 ORDER BY seq")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut unique, mut warnings) = (Vec::new(), Vec::new());
    if !indexes.iter().any(|(_, origin)| origin == "pk") {
        // The rowid itself.
        let key = schema.key.iter().filter_map(|at| schema.columns.get(*at));
        let part =
            |column: &super::Column| Part { column: column.name.clone(), collation: "BINARY".to_owned() };
        unique.push(key.map(part).collect());
    }
    for (name, _) in indexes {
        let parts: Vec<(Option<String>, String)> = connection
            .prepare("SELECT name, coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno")?
            .query_map(params![name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let known = parts.into_iter().map(|(column, collation)| Some(Part { column: column?, collation }));
        match known.collect::<Option<Vec<Part>>>() {
            Some(parts) => unique.push(parts),
            None => warnings.push(format!(
                "`{table}`: the index {name} is on an expression: rows that REPLACE deletes because of it alone are only \
                 seen of programs with PRAGMA recursive_triggers = ON"
            )),
        }
    }
    Ok((unique, warnings))
}
