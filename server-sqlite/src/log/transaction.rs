//! One transaction for a batch of writes: each of them stands or falls alone, until the commit.

use super::{Outside, ops, store_error};
use rusqlite::Connection;
use tidewire_server_core::store::{Outcome, StoreError, Write};

/// Writes that were applied and wait for [`commit`] or [`rollback`].
pub struct Applied {
    /// What becomes of each write, if the transaction is committed.
    pub answers: Vec<Result<Outcome, StoreError>>,
    /// Whether anything was written: what is answered from what is there already costs no write.
    pub changed: bool,
}

/// Begins a transaction and applies the writes in it. After an error call [`rollback`]: nothing was
/// written.
pub fn begin(connection: &Connection, batch: &[&Write], outside: &dyn Outside) -> rusqlite::Result<Applied> {
    let before = connection.total_changes();
    // SQLite sets the limit only outside of a transaction's snapshot.
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
            // SQLite has rolled everything back by itself (full disk, I/O error).
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

/// Commits what [`begin`] applied; it is on disk when this returns, if the connection is set up so.
pub fn commit(connection: &Connection) -> rusqlite::Result<()> {
    statement(connection, "COMMIT")
}

/// Takes back what [`begin`] applied, if it is not over already.
pub fn rollback(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") }
}

fn statement(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
