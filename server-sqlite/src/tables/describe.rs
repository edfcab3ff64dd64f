//! A table as the database describes it.

use super::{Described, Encoding, Part, SqliteError, Watch, columns};
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_core::wire::MAX_TABLE_COLUMNS;
use tidewire_server_core::tables::{Column, Schema, TableError};

/// Looks a table up.
///
/// # Errors
///
/// [`SqliteError::Table`] if it can't be watched, with the reason.
pub(super) fn describe(connection: &Connection, watch: &Watch) -> Result<Described, SqliteError> {
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
    let encoding = Encoding::of(connection)?;
    let triggers = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND NOT name GLOB '_tidewire_*'";
    let triggered = connection.prepare(triggers)?.exists([&watch.table])?;
    Ok(Described { table: watch.table.clone(), schema, warnings, unique, any_update, encoding, triggered })
}

/// Whether a unique index of the table depends on more than the columns that it names.
fn depends_on_more(connection: &Connection, table: &str) -> Result<bool, rusqlite::Error> {
    let partial = "SELECT 1 FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND partial = 1";
    let generated = "SELECT 1 FROM pragma_index_list(?1) list, pragma_index_xinfo(list.name) part, pragma_table_xinfo(?1) col \
                     WHERE list.\"unique\" = 1 AND part.key = 1 AND col.name = part.name AND col.hidden <> 0";
    Ok(connection.prepare(partial)?.exists([table])? || connection.prepare(generated)?.exists([table])?)
}

/// The key and the unique indexes of a table, with warnings about what can't be seen of them.
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
        // The key is the rowid itself.
        let key = schema.key.iter().filter_map(|at| schema.columns.get(*at));
        let part = |column: &Column| Part { column: column.name.clone(), collation: "BINARY".to_owned() };
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
