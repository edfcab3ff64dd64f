//! The triggers that log changes, made for each table.
//!
//! `REPLACE` deletes rows without a word to triggers, unless the connection that writes has `recursive_triggers` on, and each program
//! may write. So a BEFORE trigger notes the rows that a write conflicts with, by the key and by unique indexes, and the AFTER trigger
//! logs those that are gone: as the old row if the key is the same, otherwise as deleted. An upsert, and an insert that is ignored,
//! have conflicts too, but there nothing is gone.

use super::{Described, LOG};
use std::fmt::Write;

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// ms since the Unix epoch, also for a SQLite that is years old.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

/// A row as one text.
pub(super) fn row(of: &str, columns: impl Iterator<Item = impl AsRef<str>>) -> String {
    let cells: Vec<String> = columns.map(|name| format!("quote({of}.{})", quoted(name.as_ref()))).collect();
    cells.join("||','||")
}

/// The row before an update as one text: nothing stands for a cell that is as it is after it, so that an update of one column does not
/// log all others twice. Those of the key are always there.
fn row_before(keys: &[&str], columns: impl Iterator<Item = impl AsRef<str>>) -> String {
    let cell = |name: &str| {
        let column = quoted(name);
        match keys.contains(&name) {
            true => format!("quote(OLD.{column})"),
            false => format!(
                "CASE WHEN OLD.{column} IS NEW.{column} COLLATE BINARY THEN '' ELSE quote(OLD.{column}) END"
            ),
        }
    };
    let cells: Vec<String> = columns.map(|name| cell(name.as_ref())).collect();
    cells.join("||','||")
}

/// Where rows that a write conflicts with are noted.
fn scratch(table: &str) -> String {
    quoted(&format!("_tidewire_before_{table}"))
}

/// Forgets what is noted. Without a condition, and be it one that always holds, a table's page is written even if it is empty.
fn clear(before: &str) -> String {
    format!("DELETE FROM {before} WHERE 1;")
}

/// Names and statements of everything that a table needs, in the order in which they are made.
pub(super) fn statements(table: &Described) -> Vec<(String, String)> {
    let name = quoted(&table.table);
    let before = scratch(&table.table);
    let clear = clear(&before);
    let tag = text(&table.tag());
    let columns = || table.schema.columns.iter().map(|column| column.name.as_str());
    let keys: Vec<&str> = table
        .schema
        .key
        .iter()
        .filter_map(|at| table.schema.columns.get(*at))
        .map(|column| column.name.as_str())
        .collect();
    let note = |condition: &str| {
        let values: Vec<String> = keys.iter().map(|key| format!("t.{}", quoted(key))).collect();
        let row = row("t", columns());
        let values = values.join(", ");
        format!("{clear} INSERT INTO {before} SELECT {row}, {values} FROM {name} t WHERE {condition};")
    };
    // Exactly the same key, whatever its collation takes for equal.
    let same_as = |of: &str, row: &str| {
        let parts = keys.iter().enumerate();
        let parts: Vec<String> =
            parts.map(|(at, key)| format!("{of}k{at} IS {row}.{} COLLATE BINARY", quoted(key))).collect();
        parts.join(" AND ")
    };
    let same = |row: &str| same_as("b.", row);
    let there = {
        let parts = keys.iter().enumerate().map(|(at, key)| {
            let key = quoted(key);
            // The first finds it by the index, the second is exact.
            format!("t.{key} = b.k{at} AND t.{key} = b.k{at} COLLATE BINARY")
        });
        let parts: Vec<String> = parts.collect();
        format!("EXISTS (SELECT 1 FROM {name} t WHERE {})", parts.join(" AND "))
    };
    let conflict = conflict(table);
    let (old, new) = (row("OLD", columns()), row("NEW", columns()));
    let log = |old: &str, new: &str, of: &str| {
        format!("INSERT INTO {LOG} (tbl, old, new, at) SELECT {tag}, {old}, {new}, {NOW}{of};")
    };
    let (same_new, same_old) = (same("NEW"), same("OLD"));
    let watched = {
        let mut names: Vec<String> = table.unique.iter().flatten().map(|part| quoted(&part.column)).collect();
        names.sort();
        names.dedup();
        if table.any_update { String::new() } else { format!(" OF {}", names.join(", ")) }
    };
    let key_columns: Vec<String> = (0..keys.len()).map(|at| format!("k{at}")).collect();
    let mut statements = vec![(
        format!("_tidewire_before_{}", table.table),
        format!("CREATE TABLE {before} (row, {})", key_columns.join(", ")),
    )];
    let mut trigger = |suffix: &str, when: String, body: String| {
        let trigger = format!("_tidewire_{suffix}_{}", table.table);
        let statement = format!("CREATE TRIGGER {} {when} ON {name} BEGIN {body} END", quoted(&trigger));
        statements.push((trigger, statement));
    };
    trigger("bi", "BEFORE INSERT".to_owned(), note(&conflict));
    let mut inserted =
        log("b.row", "NULL", &format!(" FROM {before} b WHERE NOT ({same_new}) AND NOT {there}"));
    let replaced = format!("(SELECT b.row FROM {before} b WHERE {same_new})");
    let _ = write!(inserted, " {} {clear}", log(&replaced, &new, ""));
    trigger("ai", "AFTER INSERT".to_owned(), inserted);
    let other = {
        let parts: Vec<String> =
            keys.iter().map(|key| format!("t.{0} IS OLD.{0} COLLATE BINARY", quoted(key))).collect();
        format!("({conflict}) AND NOT ({})", parts.join(" AND "))
    };
    trigger("bu", format!("BEFORE UPDATE{watched}"), note(&other));
    let gone = format!(" FROM {before} b WHERE NOT ({same_old}) AND (({same_new}) OR NOT {there})");
    let updated =
        format!("{} {} {clear}", log("b.row", "NULL", &gone), log(&row_before(&keys, columns()), &new, ""));
    trigger("au", "AFTER UPDATE".to_owned(), updated);
    // Statements of triggers have no aliases here.
    let forget = format!("DELETE FROM {before} WHERE {};", same_as("", "OLD"));
    trigger("ad", "AFTER DELETE".to_owned(), format!("{} {forget}", log(&old, "NULL", "")));
    statements
}

/// The rows of `t` that a write of `NEW` conflicts with, or more.
fn conflict(table: &Described) -> String {
    let alternatives = table.unique.iter().map(|parts| {
        let parts = parts.iter().map(|part| {
            format!("t.{0} = NEW.{0} COLLATE {1}", quoted(&part.column), quoted(&part.collation))
        });
        parts.collect::<Vec<String>>().join(" AND ")
    });
    alternatives.collect::<Vec<String>>().join(" OR ")
}
