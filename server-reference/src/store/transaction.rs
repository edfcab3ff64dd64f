//! One transaction for a batch of writes: each of them stands or falls alone, until the commit.

use super::doubt::{self, Faults};
use super::life::Life;
use super::{Outcome, StoreError, Write, ops};
use rusqlite::Connection;

/// The answers, and whether anything was written.
pub(super) type Committed = (Vec<Result<Outcome, StoreError>>, bool);

/// Applies the writes and commits them under this number, all or, when it fails, none.
pub(super) fn run(
    connection: &Connection,
    batch: &[&Write],
    number: u64,
    faults: &Faults,
) -> rusqlite::Result<Committed> {
    let result = attempt(connection, batch, number, faults);
    if result.is_err() && !connection.is_autocommit() {
        // When this fails too the connection is dropped, which rolls back.
        connection.execute_batch("ROLLBACK")?;
    }
    result
}

fn attempt(
    connection: &Connection,
    batch: &[&Write],
    number: u64,
    faults: &Faults,
) -> rusqlite::Result<Committed> {
    let before = connection.total_changes();
    let statement = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
    // SQLite sets the limit only outside of a transaction's snapshot.
    for write in batch {
        if matches!(write, Write::LimitPages(_)) {
            ops::apply(connection, write)?;
        }
    }
    statement("BEGIN IMMEDIATE")?;
    let mut answers = Vec::with_capacity(batch.len());
    for write in batch {
        if matches!(write, Write::LimitPages(_)) {
            answers.push(Ok(Outcome::Done));
            continue;
        }
        statement("SAVEPOINT one")?;
        match ops::apply(connection, write) {
            Ok(outcome) => {
                statement("RELEASE one")?;
                answers.push(Ok(outcome));
            }
            // SQLite has rolled everything back by itself (full disk, I/O error).
            Err(error) if connection.is_autocommit() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "one write of a batch failed");
                statement("ROLLBACK TO one")?;
                statement("RELEASE one")?;
                answers.push(Err(StoreError::from(error)));
            }
        }
    }
    // What was answered from what is there already costs no write.
    let changed = connection.total_changes() != before;
    let mut fault = None;
    if changed {
        Life::count(connection, number)?;
        fault = faults.take();
    }
    if fault == Some(false) {
        return Err(doubt::sync_failed());
    }
    statement("COMMIT")?;
    if fault == Some(true) {
        return Err(doubt::sync_failed());
    }
    Ok((answers, changed))
}
