//! Taking away what watching a database has left in it.

use super::{Described, LOG, triggers};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Names the life of the log; the driver's.
const LIFE: &str = "_tidewire_life";

/// Whether tables of a database are watched, or were.
///
/// # Errors
///
/// The database's.
pub fn is_attached(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare("SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table'")?.exists([LOG])
}

/// Removes all triggers and tables that watching has made, the log too: whoever watches again
/// begins anew. The result names what is gone.
///
/// # Errors
///
/// The database's; then nothing has changed.
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

/// Removes what belongs to other tables than these, which would go on to write to the log.
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
