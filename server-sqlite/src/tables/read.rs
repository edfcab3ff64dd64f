//! Reading the log, and rows.

use super::chain::{self, Link};
use super::{Described, LOG, columns, triggers};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use tidewire_core::tables::Type;
use tidewire_server_core::tables::{
    Cell, Change, Commit, RequiredValues, Row, Seen, Snapshot, SnapshotRequest, SourceError,
};

/// More changes, or bytes of them, at once are not told one by one.
const MOST_CHANGES: usize = 50_000;
const MOST_BYTES: usize = 32 << 20;

/// Where the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The position of the newest change that ever was.
    pub head: u64,
    /// All after this position is there.
    pub floor: u64,
}

impl Log {
    /// Asks the database.
    pub fn of(connection: &Connection) -> rusqlite::Result<Log> {
        let head = head(connection)?;
        let first: Option<i64> =
            connection.query_row(&format!("SELECT min(seq) FROM {LOG}"), [], |row| row.get(0))?;
        let floor = first.map_or(head, |first| (first - 1).cast_unsigned());
        Ok(Log { head, floor })
    }

    /// The floor, or later if less than that is to be read: with at most so many changes after it.
    pub fn within(self, connection: &Connection, most: u64) -> rusqlite::Result<u64> {
        let sql = format!("SELECT seq FROM {LOG} ORDER BY seq DESC LIMIT 1 OFFSET ?");
        let at: Option<i64> =
            connection.query_row(&sql, [most.cast_signed()], |row| row.get(0)).optional()?;
        Ok(at.map_or(self.floor, |seq| seq.cast_unsigned().max(self.floor)))
    }
}

/// A change at this position, as far as two databases can be told apart by it; none if it is not
/// there.
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

/// A text of the log as it is there, which need not be UTF-8: SQLite takes any bytes for one.
fn bytes<'a>(row: &'a rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    Ok(row.get_ref(at)?.as_bytes_or_null()?)
}

/// The newest change is never trimmed.
fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = format!("SELECT ifnull(max(seq), 0) FROM {LOG}");
    let head: i64 = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    Ok(head.cast_unsigned())
}

/// What was committed after a position, as one commit; none if nothing was. `tables` are in the
/// order of the registry. It is read within a transaction, which is the caller's if there is one.
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

/// So much that new snapshots are cheaper: each table that it concerns is lost.
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

/// A row of the log; none of a table that is not watched any more.
fn change(
    tables: &[Described],
    tags: &[String],
    tag: &str,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Option<Change> {
    let Some(table) = tags.iter().position(|known| known == tag) else {
        // It had other columns: what was known of its rows is of no use.
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

/// A row, if its key has no null.
fn keyed(table: &Described, cells: Vec<Cell>) -> Option<Row> {
    let null = table.schema.key.iter().any(|at| cells.get(*at).is_none_or(|cell| *cell == Cell::Null));
    (!null).then(|| cells.into())
}

/// So many bytes of a snapshot are kept while it is not known whether all of it is within the
/// limits. One that is greater is read twice.
const KEPT_BYTES: usize = 2 << 20;

/// Why there are no rows.
enum NoRows {
    Database(rusqlite::Error),
    Said(SourceError),
}

impl From<rusqlite::Error> for NoRows {
    fn from(error: rusqlite::Error) -> NoRows {
        NoRows::Database(error)
    }
}

/// The rows that are wanted, all at one moment. Blocks. `pause` is called
/// before each row: it may take its time, and its error ends the snapshot.
///
/// # Errors
///
/// More rows or bytes than are wanted, that the database can't be read, or what `pause` says.
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
            // One that was interrupted says why here.
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
            // A row can be long, and its filter much work.
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
        // All of it is within the limits: now it is worth its memory.
        most_kept = request.most_bytes;
    }
}

/// What of the conditions means the same, or more, to SQLite: whole numbers and texts.
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

/// Forgets the log up to a position, but for so many of the newest changes, at least one: after it
/// the next ones are numbered. How many went.
pub fn trim(connection: &Connection, up_to: u64, keep: u64, most: u64) -> rusqlite::Result<usize> {
    let sql = format!(
        "DELETE FROM {LOG} WHERE seq IN (SELECT seq FROM {LOG} WHERE seq <= ? AND seq <= (SELECT max(seq) FROM {LOG}) - ? \
         ORDER BY seq LIMIT ?)"
    );
    connection.execute(&sql, params![up_to.cast_signed(), keep.max(1).cast_signed(), most.cast_signed()])
}
