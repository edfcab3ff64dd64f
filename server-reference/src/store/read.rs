//! Reading beside the writer: a few connections, each used by one blocking task at a time.

use super::StoreError;
use super::schema::{event_key, offset_of, open_reader};
use crate::sync::lock;
use axum::extract::ws::Utf8Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tidewire_core::wire::{PAGE_BYTES, PAGE_EVENTS};
use tokio::sync::Semaphore;

/// Most reads at the same time.
const READERS: usize = 4;
/// How far back the messages for an answer are looked for, in events.
const CONTEXT_SCAN: u64 = 400;

/// A channel as the database knows it.
pub(crate) struct ChannelRow {
    /// Its row.
    pub(crate) id: i64,
    /// Its newest offset.
    pub(crate) head: u64,
    /// Every event up to here was trimmed.
    pub(crate) floor: u64,
    /// Whose dialog it is.
    pub(crate) owner: Option<String>,
}

/// A page's events, as the database has them.
pub(crate) enum Found {
    /// With their offsets.
    Events(Vec<(u64, Utf8Bytes)>),
    /// Retention passed the place to read from: every event up to here is gone.
    Trimmed(u64),
}

/// A run that has no end yet.
pub(crate) struct UnfinishedRun {
    /// Its id.
    pub(crate) run: String,
    /// The channel's row.
    pub(crate) channel: i64,
    /// The channel's name.
    pub(crate) name: String,
    /// The stored pieces, joined.
    pub(crate) text: String,
}

/// The pool of reading connections.
pub(crate) struct Readers {
    pool: Arc<Pool>,
}

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { pool: Arc::new(Pool { path, idle: Mutex::default(), places: Semaphore::new(READERS) }) }
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close(&self) {
        lock(&self.pool.idle).clear();
    }

    /// Runs a query on a free connection.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _place = self.pool.places.acquire().await.map_err(|_| StoreError::Unavailable)?;
        let pool = self.pool.clone();
        let result = tokio::task::spawn_blocking(move || {
            let idle = lock(&pool.idle).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&pool.path)?,
            };
            let result = query(&connection)?;
            lock(&pool.idle).push(connection);
            Ok(result)
        })
        .await;
        match result {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                let error: rusqlite::Error = error;
                tracing::error!(%error, "reading failed");
                Err(StoreError::from(error))
            }
            Err(_) => Err(StoreError::Unavailable),
        }
    }

    /// A channel by its name.
    pub(crate) async fn channel(&self, name: &str) -> Result<Option<ChannelRow>, StoreError> {
        let name = name.to_owned();
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, head, floor, owner FROM channels
                     JOIN dialogs ON dialogs.channel = channels.id WHERE name = ?",
                )?
                .query_row([name], |row| {
                    Ok(ChannelRow {
                        id: row.get(0)?,
                        head: row.get::<_, i64>(1)?.cast_unsigned(),
                        floor: row.get::<_, i64>(2)?.cast_unsigned(),
                        owner: row.get(3)?,
                    })
                })
                .optional()
        })
        .await
    }

    /// The events after `from` up to `to`, at most `events` of them and `bytes` bytes, but at least one.
    pub(crate) async fn events(
        &self,
        channel: i64,
        from: u64,
        to: u64,
        events: usize,
        bytes: usize,
    ) -> Result<Found, StoreError> {
        self.query(move |connection| page(connection, channel, from, to, (events, bytes))).await
    }

    /// The first of the events after `from` up to `to`, on a connection of its own; none when there is nothing more. Blocks.
    pub(crate) fn events_blocking(
        &self,
        channel: i64,
        from: u64,
        to: u64,
    ) -> Result<Vec<(u64, Utf8Bytes)>, StoreError> {
        let connection = open_reader(&self.pool.path)?;
        match page(&connection, channel, from, to, (PAGE_EVENTS, PAGE_BYTES))? {
            Found::Events(events) => Ok(events),
            Found::Trimmed(_) => Ok(Vec::new()),
        }
    }

    /// The frames of the newest events before `before` that `wanted` picks, oldest first, at most `most`.
    pub(crate) async fn newest(
        &self,
        channel: i64,
        before: u64,
        most: usize,
        wanted: fn(&str) -> bool,
    ) -> Result<Vec<String>, StoreError> {
        self.query(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT frame FROM events WHERE key >= ? AND key < ? ORDER BY key DESC")?;
            let oldest = before.saturating_sub(CONTEXT_SCAN).max(1);
            let mut rows =
                statement.query(params![event_key(channel, oldest), event_key(channel, before)])?;
            let mut found = Vec::new();
            while found.len() < most
                && let Some(row) = rows.next()?
            {
                let frame: String = row.get(0)?;
                if wanted(&frame) {
                    found.push(frame);
                }
            }
            found.reverse();
            Ok(found)
        })
        .await
    }

    /// The next channels after the row `after` of which something may have to be trimmed, with their names.
    pub(crate) async fn to_trim(
        &self,
        after: i64,
        before_ms: u64,
        keep: u64,
        most: usize,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, name FROM channels
                     WHERE id > ?1 AND (oldest < ?2 OR (?3 > 0 AND head - floor > ?3)) ORDER BY id LIMIT ?4",
                )?
                .query_map(params![after, before_ms.cast_signed(), keep.cast_signed(), most as i64], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
        .await
    }

    /// Names of the dialogs that want an answer, with the offset of the message.
    pub(crate) async fn wanting(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare(
                    "SELECT name, wants_answer FROM dialogs JOIN channels ON channels.id = dialogs.channel
                     WHERE wants_answer IS NOT NULL",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?
                .collect()
        })
        .await
    }

    /// The runs that a crash left without an end.
    pub(crate) async fn unfinished(&self) -> Result<Vec<UnfinishedRun>, StoreError> {
        self.query(|connection| {
            let mut pieces = connection.prepare("SELECT text FROM pieces WHERE run = ? ORDER BY at")?;
            connection
                .prepare(
                    "SELECT runs.id, channel, name FROM runs JOIN channels ON channels.id = runs.channel",
                )?
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?
                .map(|row| {
                    let (run, channel, name) = row?;
                    let text: rusqlite::Result<String> =
                        pieces.query_map([&run], |row| row.get::<_, String>(0))?.collect();
                    Ok(UnfinishedRun { text: text?, run, channel, name })
                })
                .collect()
        })
        .await
    }
}

fn page(
    connection: &Connection,
    channel: i64,
    from: u64,
    to: u64,
    (events, bytes): (usize, usize),
) -> rusqlite::Result<Found> {
    // One snapshot, so that the floor is that of these very events.
    let snapshot = connection.unchecked_transaction()?;
    let floor: i64 = snapshot
        .prepare_cached("SELECT floor FROM channels WHERE id = ?")?
        .query_row([channel], |row| row.get(0))?;
    if floor.cast_unsigned() > from {
        return Ok(Found::Trimmed(floor.cast_unsigned()));
    }
    let mut statement = connection
        .prepare_cached("SELECT key, frame FROM events WHERE key > ? AND key <= ? ORDER BY key LIMIT ?")?;
    let mut rows =
        statement.query(params![event_key(channel, from), event_key(channel, to), events as i64])?;
    let mut found = Vec::new();
    let mut size = 0;
    while let Some(row) = rows.next()? {
        let frame: String = row.get(1)?;
        size += frame.len() + 1;
        if size > bytes && !found.is_empty() {
            break;
        }
        found.push((offset_of(row.get(0)?), Utf8Bytes::from(frame)));
    }
    Ok(Found::Events(found))
}
