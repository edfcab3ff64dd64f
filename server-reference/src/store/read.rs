//! Reading beside the writer: a few connections, each used by one blocking task at a time.

use super::schema::open_reader;
use crate::sync::lock;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tidewire_server_core::log::{self, ChannelRow, Found, StoreError, UnfinishedRun};
use tidewire_server_core::{Revocation, Text};
use tokio::sync::Semaphore;

/// Most reads at the same time.
const READERS: usize = 4;

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
        self.query(move |connection| log::channel(connection, &name)).await
    }

    /// A page of events.
    pub(crate) async fn page(&self, channel: i64, from: u64, to: u64) -> Result<Found, StoreError> {
        self.query(move |connection| log::page(connection, channel, from, to)).await
    }

    /// The first of the events after `from` up to `to`, on a connection of its own; none when there is nothing more. Blocks.
    pub(crate) fn events_blocking(
        &self,
        channel: i64,
        from: u64,
        to: u64,
    ) -> Result<Vec<(u64, Text)>, StoreError> {
        let connection = open_reader(&self.pool.path)?;
        match log::page(&connection, channel, from, to)? {
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
        self.query(move |connection| log::newest(connection, channel, before, most, wanted)).await
    }

    /// The next channels after the row `after` of which something may have to be trimmed, with their names.
    pub(crate) async fn to_trim(
        &self,
        after: i64,
        before_ms: u64,
        keep: u64,
        most: usize,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.query(move |connection| log::to_trim(connection, after, before_ms, keep, most)).await
    }

    /// The next dialogs after the row `after` in which nobody ever wrote, created by somebody before this time.
    pub(crate) async fn unused(
        &self,
        after: i64,
        before_ms: u64,
        most: usize,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.query(move |connection| log::unused(connection, after, before_ms, most)).await
    }

    /// Access that was taken back.
    pub(crate) async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.query(log::revocations).await
    }

    /// Names of the dialogs that want an answer, with the offset of the message.
    pub(crate) async fn wanting(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.query(log::wanting).await
    }

    /// The runs that a crash left without an end.
    pub(crate) async fn unfinished(&self) -> Result<Vec<UnfinishedRun>, StoreError> {
        self.query(log::unfinished).await
    }
}
