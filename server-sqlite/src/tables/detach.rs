//! Removes what watching tables has created in a database.

use super::{Described, LOG, triggers};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// The driver's table, which holds the epoch of the log.
const LIFE: &str = "_tidewire_life";

/// Whether the database's tables are or were watched.
///
/// # Errors
///
/// SQLite's error.
pub fn is_attached(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare("SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table'")?.exists([LOG])
}

/// Removes all triggers and tables that watching has created, with the log, and returns their
/// names. Watching again begins a new epoch.
///
/// # Errors
///
/// SQLite's error; nothing has changed then.
pub fn detach(connection: &mut Connection) -> rusqlite::Result<Vec<String>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut gone = remove(&transaction, &BTreeSet::new())?;
    for table in [LOG, LIFE] {
        let there = "SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table'";
        if transaction.prepare(there)?.exists([table])? {
            transaction.execute_batch(&format!("DROP TABLE {}", triggers::quoted(table)))?;
            gone.push(table.to_owned());
        }
    }
    transaction.commit()?;
    Ok(gone)
}

/// Removes the triggers and tables of tables that are not in this list, because the triggers would
/// still write to the log.
pub(super) fn remove_others(connection: &Connection, tables: &[Described]) -> rusqlite::Result<()> {
    let needed = tables.iter().flat_map(triggers::statements).map(|(name, _)| name).collect();
    for name in remove(connection, &needed)? {
        tracing::info!(name, "removed: its table is not watched any more");
    }
    Ok(())
}

fn remove(connection: &Connection, needed: &BTreeSet<String>) -> rusqlite::Result<Vec<String>> {
    // Triggers before the tables that they name.
    let mut found: Vec<(String, String)> = connection
        .prepare("SELECT type, name FROM sqlite_master WHERE name GLOB '_tidewire_*' AND type IN ('table', 'trigger') ORDER BY type DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    found.retain(|(_, name)| !needed.contains(name) && name != LOG && name != LIFE);
    for (kind, name) in &found {
        connection.execute_batch(&format!("DROP {kind} {}", triggers::quoted(name)))?;
    }
    Ok(found.into_iter().map(|(_, name)| name).collect())
}
