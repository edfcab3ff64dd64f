//! Reads beside the writer: a few connections, each used by one blocking task at a time.

use super::schema::open_reader;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use tidewire_server_core::store::{Got, Read, Reply, StoreError};
use tidewire_server_sqlite::log;
use tokio::sync::Semaphore;

/// Most reads at the same time.
const READERS: usize = 4;

/// The pool of reading connections.
pub(super) struct Readers {
    pool: Arc<Pool>,
    runtime: tokio::runtime::Handle,
}

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    /// A pool that reads on the blocking threads of the current runtime.
    pub(super) fn new(path: PathBuf) -> Readers {
        let pool = Pool { path, idle: Mutex::default(), places: Semaphore::new(READERS) };
        Readers { pool: Arc::new(pool), runtime: tokio::runtime::Handle::current() }
    }

    /// Closes the connections that are not in use.
    pub(super) fn close(&self) {
        self.pool.idle.lock().clear();
    }

    /// Reads on a free connection.
    pub(super) fn read(&self, read: Read, got: Got) {
        let pool = self.pool.clone();
        self.runtime.spawn(async move {
            let reply = match pool.places.acquire().await {
                Ok(_place) => {
                    let pool = pool.clone();
                    let blocking = tokio::task::spawn_blocking(move || pool.read(&read));
                    blocking.await.unwrap_or(Err(StoreError::Unavailable))
                }
                Err(_) => Err(StoreError::Unavailable),
            };
            got(reply);
        });
    }
}

impl Pool {
    fn read(&self, read: &Read) -> Result<Reply, StoreError> {
        let attempt = || {
            let idle = self.idle.lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&self.path)?,
            };
            let reply = log::read(&connection, read)?;
            self.idle.lock().push(connection);
            Ok(reply)
        };
        attempt().map_err(|error: rusqlite::Error| {
            tracing::error!(%error, "reading failed");
            log::store_error(&error)
        })
    }
}
