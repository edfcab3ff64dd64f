//! One transaction for a batch of writes. Each write is applied or refused on its own; the commit
//! covers all.

use super::{Outside, ops, store_error};
use rusqlite::Connection;
use tidewire_server_core::store::{Outcome, StoreError, Write};

/// Writes that were applied and wait for [`commit`] or [`rollback`].
pub struct Applied {
    /// The outcome of each write if the transaction is committed.
    pub answers: Vec<Result<Outcome, StoreError>>,
    /// Whether anything was written. Duplicates and refusals write nothing.
    pub changed: bool,
}

/// Begins a transaction and applies the writes in it. After an error call [`rollback`]: nothing was
/// written.
pub fn begin(connection: &Connection, batch: &[&Write], outside: &dyn Outside) -> rusqlite::Result<Applied> {
    let before = connection.total_changes();
    // SQLite applies the limit only outside of a read snapshot.
    for write in batch {
        if matches!(write, Write::LimitPages(_)) {
            ops::apply(connection, write, outside)?;
        }
    }
    statement(connection, "BEGIN IMMEDIATE")?;
    let mut answers = Vec::with_capacity(batch.len());
    for write in batch {
        if matches!(write, Write::LimitPages(_)) {
            answers.push(Ok(Outcome::Done));
            continue;
        }
        statement(connection, "SAVEPOINT one")?;
        match ops::apply(connection, write, outside) {
            Ok(outcome) => {
                statement(connection, "RELEASE one")?;
                answers.push(Ok(outcome));
            }
            // SQLite has rolled the transaction back itself (full disk, I/O error).
            Err(error) if connection.is_autocommit() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "one write of a batch failed");
                statement(connection, "ROLLBACK TO one")?;
                statement(connection, "RELEASE one")?;
                answers.push(Err(store_error(&error)));
            }
        }
    }
    Ok(Applied { answers, changed: connection.total_changes() != before })
}

/// Commits what [`begin`] applied. It is on disk when this returns, if the connection's
/// `synchronous` is set so.
pub fn commit(connection: &Connection) -> rusqlite::Result<()> {
    statement(connection, "COMMIT")
}

/// Rolls back what [`begin`] applied, unless SQLite has done so already.
pub fn rollback(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") }
}

fn statement(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
