//! Finds subscriptions by connection and `sid`, and counts them. Its lock is held for look-ups
//! only.

use super::limits::TableLimits;
use std::collections::BTreeMap;

/// The table and id of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The table's index.
    pub(super) table: usize,
    pub(super) sub: u64,
}

/// The subscriptions of all tables, by connection and `sid`.
#[derive(Default)]
pub(super) struct Directory {
    connections: BTreeMap<u64, BTreeMap<String, Location>>,
    count: usize,
}

/// Which limit is reached.
pub(super) enum Full {
    /// The limit of the connection.
    Connection,
    /// The limit of the server.
    Server,
}

impl Directory {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn find(&self, conn: u64, sid: &str) -> Option<Location> {
        self.connections.get(&conn)?.get(sid).copied()
    }

    /// All subscriptions of a connection.
    pub(super) fn of(&self, conn: u64) -> Vec<Location> {
        self.connections.get(&conn).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Adds a subscription, whose `sid` must not be in use.
    pub(super) fn add(
        &mut self,
        (conn, sid): (u64, &str),
        at: Location,
        limits: &TableLimits,
    ) -> Result<(), Full> {
        if self.connections.get(&conn).is_some_and(|sids| sids.len() >= limits.subscriptions) {
            return Err(Full::Connection);
        }
        if self.count >= limits.total {
            return Err(Full::Server);
        }
        if self.connections.entry(conn).or_default().insert(sid.to_owned(), at).is_none() {
            self.count += 1;
        }
        Ok(())
    }

    /// Removes a subscription, unless its `sid` stands for another one now.
    pub(super) fn remove(&mut self, (conn, sid): (u64, &str), sub: u64) {
        let Some(sids) = self.connections.get_mut(&conn) else { return };
        if sids.get(sid).is_some_and(|at| at.sub == sub) {
            sids.remove(sid);
            self.count -= 1;
        }
        if sids.is_empty() {
            self.connections.remove(&conn);
        }
    }
}
