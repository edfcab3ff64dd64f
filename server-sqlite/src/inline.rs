//! A store without threads.

use crate::log::{self, Outside};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;
use tidewire_server_core::store::{Done, Got, Read, Store, StoreError, Write};

/// A [`Store`] in one database that commits each write at once, in the caller's thread, before
/// [`Store::write`] returns. For tests and tools; a server commits in groups.
pub struct Inline {
    connection: Mutex<Connection>,
    outside: Box<dyn Outside + Send + Sync>,
}

impl Inline {
    /// A store in this database, whose tables are created or migrated.
    ///
    /// # Errors
    ///
    /// A later version wrote the database, or SQLite reports an error.
    pub fn new(
        mut connection: Connection,
        outside: impl Outside + Send + Sync + 'static,
    ) -> Result<Inline, log::SchemaError> {
        log::tune(&connection)?;
        log::migrate(&mut connection)?;
        Ok(Inline { connection: Mutex::new(connection), outside: Box::new(outside) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock()
    }
}

impl Store for Inline {
    fn write(&self, write: Write, done: Done) {
        let result = {
            let connection = self.connection();
            let applied = log::begin(&connection, &[&write], self.outside.as_ref()).and_then(|applied| {
                log::commit(&connection)?;
                Ok(applied)
            });
            match applied {
                Ok(mut applied) => applied.answers.pop().unwrap_or(Err(StoreError::Unavailable)),
                Err(error) => {
                    tracing::error!(%error, "a commit failed");
                    if let Err(error) = log::rollback(&connection) {
                        tracing::error!(%error, "nor could it be rolled back");
                    }
                    Err(log::store_error(&error))
                }
            }
        };
        done(result);
    }

    fn read(&self, read: Read, got: Got) {
        let result = log::read(&self.connection(), &read).map_err(|error| log::store_error(&error));
        got(result);
    }
}
