//! The triggers that log changes, generated for each table. They have to cope with the following.
//!
//! - `REPLACE` deletes rows without running triggers, unless the writing connection has
//!   `recursive_triggers` on, and any program may write. So a BEFORE trigger notes the rows that a
//!   write conflicts with, by the key and by unique indexes. The AFTER trigger logs those that are
//!   gone: as the old row if the key is the same, otherwise as deleted. Upserts and ignored inserts
//!   have conflicts too, but delete nothing.
//! - The application's own triggers write to the same table, before or after ours. So the AFTER
//!   trigger logs the row that the table has by then, not the row that was written. Changes of
//!   several nested statements are put in order when they are read ([`super::chain`]). A row that a
//!   BEFORE trigger writes may be replaced by the very statement that ran the trigger. So where the
//!   application has triggers, rows written by nested statements are noted too.
//! - `ALTER TABLE … DROP COLUMN` fails if a trigger names the column. So only columns of the key
//!   and of unique indexes are named, which can't be dropped. The others are named without a table
//!   in `t NATURAL LEFT JOIN` an empty table with the same names: SQLite takes the column of `t` if
//!   it exists, and otherwise the empty table's, which is null. This does not work for `OLD` and
//!   `NEW`, so the row before is noted too.
//! - A statement may end between the two triggers, by an ignored conflict or by `RAISE(IGNORE)`.
//!   Its notes stay until they are too many, or until a statement that runs at another time clears
//!   them: SQLite's clock stands still within a statement, so notes of another time are of
//!   statements that are over.

use super::{Described, Encoding, LOG};

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The time in ms since the Unix epoch, in SQL that old versions of SQLite support.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

/// The kinds of notes in `_tidewire_own`: a row that a write may replace, the row that the write
/// changes, or no row while an insert is under way.
const CONFLICT: u8 = 0;
const OWN: u8 = 1;
const INSERTING: u8 = 2;

/// Most conflicts that stay noted if the application has no triggers, and most notes in all: each
/// write reads all of them. Where a removed note may still be needed by a statement around this
/// one, the table counts as lost.
const MOST_CONFLICTS: usize = 16;
const MOST_NOTED: usize = 200;

/// A value as one text; `quote()` alone would end it at the first NUL.
fn cell(value: &str, encoding: Encoding) -> String {
    let mark = encoding.mark();
    format!(
        "CASE WHEN typeof({value}) = 'text' AND instr({value}, char(0)) THEN '{mark}' || quote(CAST({value} AS BLOB)) \
         ELSE quote({value}) END"
    )
}

/// Values as one text.
pub(super) fn row(values: impl Iterator<Item = String>, encoding: Encoding) -> String {
    let cells: Vec<String> = values.map(|value| cell(&value, encoding)).collect();
    joined(&cells)
}

/// Concatenates texts with commas between them. The expression is a balanced tree, because SQLite
/// limits its depth to 1,000.
fn joined(texts: &[String]) -> String {
    match texts {
        [] => "''".to_owned(),
        [only] => only.clone(),
        several => {
            let (left, right) = several.split_at(several.len() / 2);
            format!("({}||','||{})", joined(left), joined(right))
        }
    }
}

/// The names and statements of everything that a table needs, in the order of creation, which
/// matters: SQLite runs the newest triggers first.
pub(super) fn statements(table: &Described) -> Vec<(String, String)> {
    let names = Names::of(table);
    let Names { before, empty, columns, noted, .. } = &names;
    let label = |part: &str| format!("_tidewire_{part}_{}", table.table);
    let mut statements = vec![
        (label("columns"), format!("CREATE TABLE {empty} ({})", columns.join(", "))),
        (
            label("before"),
            format!("CREATE TABLE {before} (_tidewire_at, _tidewire_own, {})", noted.join(", ")),
        ),
    ];
    let mut trigger = |suffix: &str, when: String, body: Vec<String>| {
        let trigger = label(suffix);
        let on = quoted(&table.table);
        let statement =
            format!("CREATE TRIGGER {} {when} ON {on} BEGIN {} END", quoted(&trigger), body.join(" "));
        statements.push((trigger, statement));
    };
    let conflict = conflict(table);
    let mut inserting = vec![names.clear(), names.note(CONFLICT, &conflict)];
    if names.nested {
        inserting
            .push(format!("INSERT INTO {before} (_tidewire_at, _tidewire_own) VALUES ({NOW}, {INSERTING});"));
    }
    trigger("bi", "BEFORE INSERT".to_owned(), inserting);
    trigger("ai", "AFTER INSERT".to_owned(), names.inserted());
    let watched = if table.any_update { String::new() } else { format!(" OF {}", unique_columns(table)) };
    let others = format!("({conflict}) AND NOT ({})", names.has("IS", "t", "OLD"));
    // Older than the one that clears, so it runs after that: what it notes is not cleared.
    trigger("bc", format!("BEFORE UPDATE{watched}"), vec![names.note(CONFLICT, &others)]);
    trigger(
        "bu",
        "BEFORE UPDATE".to_owned(),
        vec![names.clear(), names.note(OWN, &names.has("IS", "t", "OLD"))],
    );
    trigger("au", "AFTER UPDATE".to_owned(), names.updated());
    trigger(
        "bd",
        "BEFORE DELETE".to_owned(),
        vec![names.clear(), names.note(OWN, &names.has("IS", "t", "OLD"))],
    );
    trigger("ad", "AFTER DELETE".to_owned(), names.deleted());
    statements
}

/// The names that the statements use.
struct Names {
    encoding: Encoding,
    /// Whether triggers of the application may run nested in its statements.
    nested: bool,
    tag: String,
    /// The watched table joined with the empty one: the columns of `t`, and null where it lacks
    /// one.
    source: String,
    table: String,
    before: String,
    empty: String,
    /// The columns that clients may see, and the names under which they are noted.
    columns: Vec<String>,
    noted: Vec<String>,
    /// The columns of the key, with both names.
    keys: Vec<(String, String)>,
}

impl Names {
    fn of(table: &Described) -> Names {
        let name = quoted(&table.table);
        let aside = |part: &str| quoted(&format!("_tidewire_{part}_{}", table.table));
        let columns: Vec<String> = table.schema.columns.iter().map(|column| quoted(&column.name)).collect();
        let noted: Vec<String> = (0..columns.len()).map(|at| format!("_tidewire_{at}")).collect();
        let key = table.schema.key.iter();
        let keys = key.filter_map(|at| Some((columns.get(*at)?.clone(), noted.get(*at)?.clone()))).collect();
        Names {
            encoding: table.encoding,
            nested: table.triggered,
            tag: text(&table.tag()),
            source: format!("{name} t NATURAL LEFT JOIN {}", aside("columns")),
            table: name,
            before: aside("before"),
            empty: aside("columns"),
            columns,
            noted,
            keys,
        }
    }

    fn all(parts: impl Iterator<Item = String>) -> String {
        parts.collect::<Vec<String>>().join(" AND ")
    }

    /// Whether a row of the table has exactly the same key as another row, regardless of
    /// collations. The first part of the condition uses the index.
    fn has(&self, equal: &str, row: &str, of: &str) -> String {
        let parts = self.keys.iter().map(|(key, _)| {
            format!("{row}.{key} {equal} {of}.{key} AND {row}.{key} {equal} {of}.{key} COLLATE BINARY")
        });
        Names::all(parts)
    }

    /// Whether a noted row has exactly the same key as another row.
    fn same(&self, of: &str) -> String {
        let parts = self.keys.iter();
        Names::all(parts.map(|(key, noted)| format!("{noted} IS {of}.{key} COLLATE BINARY")))
    }

    /// Whether the table has a row with the key of a noted one.
    fn there(&self) -> String {
        let parts = self
            .keys
            .iter()
            .map(|(key, noted)| format!("t.{key} = {noted} AND t.{key} = {noted} COLLATE BINARY"));
        format!("EXISTS (SELECT 1 FROM {} t WHERE {})", self.table, Names::all(parts))
    }

    fn noted_row(&self) -> String {
        row(self.noted.iter().cloned(), self.encoding)
    }

    fn present_row(&self) -> String {
        row(self.columns.iter().cloned(), self.encoding)
    }

    /// The row before an update beside the row after it. Cells that did not change are left out, so
    /// that an update of one column does not log all others twice. Those of the key are always
    /// there.
    fn noted_beside_present(&self) -> String {
        let cells = self.columns.iter().zip(&self.noted).map(|(column, noted)| {
            let cell = cell(noted, self.encoding);
            match self.keys.iter().any(|(key, _)| key == column) {
                true => cell,
                false => {
                    let cell = cell.strip_prefix("CASE ").unwrap_or(&cell);
                    format!("CASE WHEN {noted} IS {column} COLLATE BINARY THEN '' {cell}")
                }
            }
        });
        joined(&cells.collect::<Vec<String>>())
    }

    /// Removes notes of statements that are over, and notes beyond the limits.
    fn clear(&self) -> String {
        let before = &self.before;
        let over = format!("DELETE FROM {before} WHERE _tidewire_at <> {NOW}");
        let all = format!("(SELECT count(*) FROM {before}) > {MOST_NOTED}");
        if !self.nested {
            // They are of statements that are over: a statement notes its own after this.
            let conflicts = format!("(SELECT count(*) FROM {before} WHERE _tidewire_own = {CONFLICT})");
            return format!(
                "{over} OR _tidewire_own = {CONFLICT} AND {conflicts} > {MOST_CONFLICTS} OR {all};"
            );
        }
        // A statement around this one may still need them.
        let lost = self.log("NULL", "NULL", &format!("WHERE {all}"));
        format!("{over}; {lost} DELETE FROM {before} WHERE {all};")
    }

    fn note(&self, own: u8, condition: &str) -> String {
        let (before, source, columns) = (&self.before, &self.source, self.columns.join(", "));
        format!("INSERT INTO {before} SELECT {NOW}, {own}, {columns} FROM {source} WHERE {condition};")
    }

    fn log(&self, old: &str, new: &str, of: &str) -> String {
        format!("INSERT INTO {LOG} (tbl, old, new, at) SELECT {}, {old}, {new}, {NOW} {of};", self.tag)
    }

    /// Removes the notes for a row that is replaced, and for all rows that are gone.
    fn unneeded(&self, replaced: &str) -> String {
        let there = self.there();
        format!("_tidewire_own = {CONFLICT} AND {replaced} OR _tidewire_own <> {INSERTING} AND NOT {there};")
    }

    /// Notes a row that a nested statement wrote, because the statement around it may replace the
    /// row.
    fn note_if_nested(&self) -> Option<String> {
        let is_new = self.has("=", "t", "NEW");
        let around = format!("EXISTS (SELECT 1 FROM {} WHERE _tidewire_own <> {CONFLICT})", self.before);
        self.nested.then(|| self.note(CONFLICT, &format!("{is_new} AND {around}")))
    }

    /// Updates notes of the row by statements around this one, or by ones that ended early, to the
    /// row's present state.
    fn refresh(&self, same: &str) -> String {
        let (before, source) = (&self.before, &self.source);
        let (noted, columns) = (self.noted.join(", "), self.columns.join(", "));
        let is_new = self.has("=", "t", "NEW");
        format!(
            "UPDATE {before} SET ({noted}) = (SELECT {columns} FROM {source} WHERE {is_new}) \
             WHERE _tidewire_own <> {INSERTING} AND {same} AND EXISTS (SELECT 1 FROM {} t WHERE {is_new});",
            self.table
        )
    }

    fn inserted(&self) -> Vec<String> {
        let Names { before, source, .. } = self;
        let (noted, same, there) = (self.noted_row(), self.same("NEW"), self.there());
        let replaced = format!(
            "(SELECT {noted} FROM {before} WHERE _tidewire_own = {CONFLICT} AND {same} ORDER BY rowid DESC LIMIT 1)"
        );
        let mut statements = vec![
            self.log(
                &noted,
                "NULL",
                &format!("FROM {before} WHERE _tidewire_own = {CONFLICT} AND NOT ({same}) AND NOT {there}"),
            ),
            self.log(
                &replaced,
                &self.present_row(),
                &format!("FROM {source} WHERE {}", self.has("=", "t", "NEW")),
            ),
            format!("DELETE FROM {before} WHERE {}", self.unneeded(&same)),
            self.refresh(&same),
        ];
        if self.nested {
            statements.push(format!(
                "DELETE FROM {before} WHERE rowid = (SELECT max(rowid) FROM {before} WHERE _tidewire_own = {INSERTING});"
            ));
        }
        statements.extend(self.note_if_nested());
        statements
    }

    /// The rowid of the statement's own note of its row: with `min` the first one, as a nested
    /// statement may have noted a later state.
    fn own(&self, which: &str) -> String {
        format!(
            "(SELECT {which}(rowid) FROM {} WHERE _tidewire_own = {OWN} AND {})",
            self.before,
            self.same("OLD")
        )
    }

    /// Whether the row before the change is published. Rows with a null in their key are not,
    /// because they can't be distinguished.
    fn told(&self) -> String {
        Names::all(self.keys.iter().map(|(key, _)| format!("OLD.{key} IS NOT NULL")))
    }

    fn updated(&self) -> Vec<String> {
        let Names { before, source, table, .. } = self;
        let (noted, there) = (self.noted_row(), self.there());
        let (same_old, same_new) = (self.same("OLD"), self.same("NEW"));
        let (is_new, own, told) = (self.has("=", "t", "NEW"), self.own("min"), self.told());
        let mut statements = vec![
            self.log(
                &noted,
                "NULL",
                &format!(
                    "FROM {before} WHERE _tidewire_own = {CONFLICT} AND NOT ({same_old}) AND (({same_new}) OR NOT {there})"
                ),
            ),
            self.log(
                &self.noted_beside_present(),
                &self.present_row(),
                &format!("FROM {source} CROSS JOIN {before} b WHERE {is_new} AND b.rowid = {own}"),
            ),
            // Another trigger has deleted the row.
            self.log(
                &noted,
                "NULL",
                &format!(
                    "FROM {before} b WHERE b.rowid = {own} AND NOT EXISTS (SELECT 1 FROM {table} t WHERE {is_new})"
                ),
            ),
            self.log("NULL", "NULL", &format!("WHERE {told} AND {own} IS NULL")),
            self.log(
                "NULL",
                &self.present_row(),
                &format!("FROM {source} WHERE NOT ({told}) AND {own} IS NULL AND {is_new}"),
            ),
            format!("DELETE FROM {before} WHERE rowid = {};", self.own("max")),
            format!("DELETE FROM {before} WHERE {}", self.unneeded(&format!("{same_new} AND NOT ({same_old})"))),
            self.refresh(&same_new),
        ];
        statements.extend(self.note_if_nested());
        statements
    }

    fn deleted(&self) -> Vec<String> {
        let (before, own) = (&self.before, self.own("min"));
        vec![
            self.log(&self.noted_row(), "NULL", &format!("FROM {before} b WHERE b.rowid = {own}")),
            self.log("NULL", "NULL", &format!("WHERE {} AND {own} IS NULL", self.told())),
            format!("DELETE FROM {before} WHERE {};", self.same("OLD")),
        ]
    }
}

fn unique_columns(table: &Described) -> String {
    let mut names: Vec<String> = table.unique.iter().flatten().map(|part| quoted(&part.column)).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

/// The rows of `t` that may conflict with a write of `NEW`.
fn conflict(table: &Described) -> String {
    let alternatives = table.unique.iter().map(|parts| {
        let parts = parts.iter().map(|part| {
            format!("t.{0} = NEW.{0} COLLATE {1}", quoted(&part.column), quoted(&part.collation))
        });
        Names::all(parts)
    });
    alternatives.collect::<Vec<String>>().join(" OR ")
}
