//! Reads changes from the log, and rows for snapshots.

use super::chain::{self, Link};
use super::{Described, LOG, columns, triggers};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use tidewire_core::tables::Type;
use tidewire_server_core::tables::{
    Cell, Change, Commit, RequiredValues, Row, Seen, Snapshot, SnapshotRequest, SourceError,
};

/// With more changes, or bytes of them, at once, new snapshots are cheaper and the tables count as
/// lost.
const MOST_CHANGES: usize = 50_000;
const MOST_BYTES: usize = 32 << 20;

/// The extent of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The position of the newest change ever made.
    pub head: u64,
    /// All changes after this position are in the log.
    pub floor: u64,
}

impl Log {
    /// Reads it from the database.
    pub fn of(connection: &Connection) -> rusqlite::Result<Log> {
        let head = head(connection)?;
        let first: Option<i64> =
            connection.query_row(&format!("SELECT min(seq) FROM {LOG}"), [], |row| row.get(0))?;
        let floor = first.map_or(head, |first| (first - 1).cast_unsigned());
        Ok(Log { head, floor })
    }

    /// The floor, or a later position if fewer than all changes are to be read: at most `most`
    /// changes lie after it.
    pub fn within(self, connection: &Connection, most: u64) -> rusqlite::Result<u64> {
        let sql = format!("SELECT seq FROM {LOG} ORDER BY seq DESC LIMIT 1 OFFSET ?");
        let at: Option<i64> =
            connection.query_row(&sql, [most.cast_signed()], |row| row.get(0)).optional()?;
        Ok(at.map_or(self.floor, |seq| seq.cast_unsigned().max(self.floor)))
    }
}

/// A fingerprint of the change at this position, to tell two databases apart; `None` if the log
/// does not have it.
pub fn fingerprint(connection: &Connection, position: u64) -> rusqlite::Result<Option<String>> {
    let sql = format!("SELECT tbl, old, new, at FROM {LOG} WHERE seq = ?");
    let read = |row: &rusqlite::Row<'_>| {
        let at = row.get::<_, Option<i64>>(3)?.unwrap_or(0).to_string();
        let texts = [bytes(row, 0)?, bytes(row, 1)?, bytes(row, 2)?].map(Option::unwrap_or_default);
        let hash = tidewire_server_core::tables::hash(texts.into_iter().chain([at.as_bytes()]));
        Ok(format!("{hash:016x}"))
    };
    connection.prepare_cached(&sql)?.query_row([position.cast_signed()], read).optional()
}

/// A text of the log as bytes, because SQLite does not require texts to be UTF-8.
fn bytes<'a>(row: &'a rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    Ok(row.get_ref(at)?.as_bytes_or_null()?)
}

/// The newest change is never trimmed, so this is always known.
fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = format!("SELECT ifnull(max(seq), 0) FROM {LOG}");
    let head: i64 = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    Ok(head.cast_unsigned())
}

/// Reads everything that was committed after a position as one commit; `None` if there is nothing.
/// `tables` are in the order of the registry. Uses the caller's transaction if there is one.
pub fn read(connection: &Connection, tables: &[Described], after: u64) -> rusqlite::Result<Option<Commit>> {
    let _own = if connection.is_autocommit() { Some(connection.unchecked_transaction()?) } else { None };
    let position = head(connection)?;
    if position <= after {
        return Ok(None);
    }
    let mut commit = Commit {
        position,
        xid: None,
        tx: position.to_string(),
        at: 0,
        changes: Vec::new(),
        places: Vec::new(),
    };
    let tags: Vec<String> = tables.iter().map(Described::tag).collect();
    let sql = format!("SELECT seq, tbl, old, new, at FROM {LOG} WHERE seq > ? ORDER BY seq");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([after.cast_signed()])?;
    let mut read = 0;
    let (mut links, mut lost) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (seq, tag): (i64, String) = (row.get(0)?, row.get(1)?);
        let place = seq.cast_unsigned();
        commit.at = row.get::<_, Option<i64>>(4)?.map_or(commit.at, i64::cast_unsigned);
        let (old, new) = (bytes(row, 2)?, bytes(row, 3)?);
        read += old.map_or(0, <[u8]>::len) + new.map_or(0, <[u8]>::len);
        if links.len() + lost.len() >= MOST_CHANGES || read > MOST_BYTES {
            drop(rows);
            drop(statement);
            return too_big(connection, tables, after, commit).map(Some);
        }
        match change(tables, &tags, &tag, old, new) {
            Some(Change::Row { table, old, new }) => links.push(Link { table, place, old, new }),
            Some(change) => lost.push((place, change)),
            None => {}
        }
    }
    let links = chain::mended(links, |table| Some(&tables.get(table)?.schema));
    let rows =
        links.into_iter().map(|Link { table, place, old, new }| (place, Change::Row { table, old, new }));
    let mut changes: Vec<(u64, Change)> = rows.chain(lost).collect();
    changes.sort_by_key(|(place, _)| *place);
    (commit.places, commit.changes) = changes.into_iter().unzip();
    Ok(Some(commit))
}

/// A commit that is too big: each table that it concerns is lost.
fn too_big(
    connection: &Connection,
    tables: &[Described],
    after: u64,
    commit: Commit,
) -> rusqlite::Result<Commit> {
    let sql = format!("SELECT DISTINCT tbl FROM {LOG} WHERE seq > ?");
    let concerned: BTreeSet<String> = connection
        .prepare(&sql)?
        .query_map([after.cast_signed()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let lost = |(table, described): (usize, &Described)| {
        let begins = format!("{}#", described.table);
        let is = concerned.iter().any(|tag| tag.starts_with(&begins));
        is.then_some(Change::Lost { table, reason: "too_big" })
    };
    let changes = tables.iter().enumerate().filter_map(lost).collect();
    Ok(Commit { changes, places: Vec::new(), ..commit })
}

/// A change from a row of the log; `None` for a table that is no longer watched.
fn change(
    tables: &[Described],
    tags: &[String],
    tag: &str,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Option<Change> {
    let Some(table) = tags.iter().position(|known| known == tag) else {
        // Logged when the table had other columns, so the values can't be used.
        let name = tag.rsplit_once('#').map_or(tag, |(name, _)| name);
        let table = tables.iter().position(|table| table.table == name)?;
        return Some(Change::Lost { table, reason: "schema" });
    };
    if old.is_none() && new.is_none() {
        return Some(Change::Lost { table, reason: "missed" });
    }
    let described = tables.get(table)?;
    let row = |text: &[u8], after: Option<&Vec<Cell>>| {
        columns::row(text, &described.schema, after.map(Vec::as_slice))
    };
    let read = || {
        let new = match new {
            Some(text) => Some(row(text, None)?),
            None => None,
        };
        let old = match old {
            Some(text) => Some(row(text, new.as_ref())?),
            None => None,
        };
        Some((old, new))
    };
    let Some((old, new)) = read() else { return Some(Change::Lost { table, reason: "missed" }) };
    let keyed = |cells: Option<Vec<Cell>>| cells.and_then(|cells| keyed(described, cells));
    match (keyed(old), keyed(new)) {
        (None, None) => None,
        (old, new) => Some(Change::Row { table, old, new }),
    }
}

/// A row, if no column of its key is null.
fn keyed(table: &Described, cells: Vec<Cell>) -> Option<Row> {
    let null = table.schema.key.iter().any(|at| cells.get(*at).is_none_or(|cell| *cell == Cell::Null));
    (!null).then(|| cells.into())
}

/// Most bytes of a snapshot that are kept while it may still exceed the limits. A larger one is
/// read twice.
const KEPT_BYTES: usize = 2 << 20;

/// Why a snapshot could not be read.
enum NoRows {
    Database(rusqlite::Error),
    Said(SourceError),
}

impl From<rusqlite::Error> for NoRows {
    fn from(error: rusqlite::Error) -> NoRows {
        NoRows::Database(error)
    }
}

/// The requested rows, all at one moment. Blocks. `pause` is called before each row: it may block,
/// and its error ends the snapshot.
///
/// # Errors
///
/// More rows or bytes than requested, a database that can't be read, or the error of `pause`.
pub fn snapshot(
    connection: &mut Connection,
    tables: &[Described],
    request: &SnapshotRequest,
    pause: &mut dyn FnMut() -> Result<(), SourceError>,
) -> Result<Snapshot, SourceError> {
    let Some(table) = tables.get(request.table) else { return Err(SourceError::Unavailable) };
    if !request.is_of(&table.schema) {
        return Err(SourceError::Unavailable);
    }
    match rows(connection, table, request, pause) {
        Ok(snapshot) => Ok(snapshot),
        Err(NoRows::Said(error)) => Err(error),
        Err(NoRows::Database(error)) => {
            // If the query was interrupted, `pause` gives the reason.
            pause()?;
            tracing::warn!(%error, table = table.table, "can't read a snapshot");
            Err(SourceError::Unavailable)
        }
    }
}

fn rows(
    connection: &mut Connection,
    table: &Described,
    request: &SnapshotRequest,
    pause: &mut dyn FnMut() -> Result<(), SourceError>,
) -> Result<Snapshot, NoRows> {
    let transaction = connection.transaction()?;
    let seen = Seen::UpTo(head(&transaction)?);
    let columns = table.schema.columns.iter().map(|column| format!("t.{}", triggers::quoted(&column.name)));
    let cells = triggers::row(columns, table.encoding);
    let mut sql = format!("SELECT {cells} FROM {} t", triggers::quoted(&table.table));
    let (conditions, values) = conditions(table, &request.required_values());
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions);
    }
    let mut statement = transaction.prepare(&sql)?;
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut most_kept = KEPT_BYTES.min(request.most_bytes);
    loop {
        let mut found = statement.query(values.as_slice())?;
        let (mut kept, mut count, mut bytes): (Vec<Row>, usize, usize) = (Vec::new(), 0, 0);
        while let Some(row) = found.next()? {
            // Reading a long row and matching it may take a while.
            pause().map_err(NoRows::Said)?;
            let text = self::bytes(row, 0)?.unwrap_or_default();
            let size = text.len();
            let cells = columns::row(text, &table.schema, None);
            let Some(row) = cells.and_then(|cells| keyed(table, cells)).filter(|row| request.keeps(row))
            else {
                continue;
            };
            (count, bytes) = (count + 1, bytes + size);
            if count > request.most {
                return Err(NoRows::Said(SourceError::TooManyRows));
            }
            if bytes > request.most_bytes {
                return Err(NoRows::Said(SourceError::TooBig));
            }
            if bytes > most_kept {
                kept = Vec::new();
            } else {
                kept.push(row);
            }
        }
        if bytes <= most_kept {
            return Ok(Snapshot { rows: kept, seen });
        }
        // The snapshot is within the limits, so all of it may be kept now.
        most_kept = request.most_bytes;
    }
}

/// The conditions that let the same or more rows through in SQLite: those on whole numbers and
/// texts.
fn conditions(table: &Described, required: &[RequiredValues]) -> (String, Vec<Box<dyn ToSql>>) {
    let (mut parts, mut values): (Vec<String>, Vec<Box<dyn ToSql>>) = (Vec::new(), Vec::new());
    for RequiredValues { column, values: texts } in required {
        let Some(column) = table.schema.columns.get(*column) else { continue };
        let literals: Option<Vec<Box<dyn ToSql>>> = texts
            .iter()
            .map(|text| match column.kind {
                Type::Int8 => {
                    text.trim().parse::<i64>().ok().map(|number| Box::new(number) as Box<dyn ToSql>)
                }
                Type::Text => Some(Box::new(text.clone()) as Box<dyn ToSql>),
                _ => None,
            })
            .collect();
        if let Some(literals) = literals {
            let marks = vec!["?"; literals.len()].join(", ");
            parts.push(format!("t.{} IN ({marks})", triggers::quoted(&column.name)));
            values.extend(literals);
        }
    }
    (parts.join(" AND "), values)
}

/// Trims the log up to a position, except for the newest `keep` changes. At least one is kept,
/// because positions continue from it. Returns how many were removed.
pub fn trim(connection: &Connection, up_to: u64, keep: u64, most: u64) -> rusqlite::Result<usize> {
    let sql = format!(
        "DELETE FROM {LOG} WHERE seq IN (SELECT seq FROM {LOG} WHERE seq <= ? AND seq <= (SELECT max(seq) FROM {LOG}) - ? \
         ORDER BY seq LIMIT ?)"
    );
    connection.execute(&sql, params![up_to.cast_signed(), keep.max(1).cast_signed(), most.cast_signed()])
}
