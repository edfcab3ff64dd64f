//! Which subscription a connection's client means by a name, and how many there are. It is locked
//! to look something up, and nothing else is done meanwhile.

use super::limits::TableLimits;
use std::collections::BTreeMap;

/// Where a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The table, by its place.
    pub(super) table: usize,
    pub(super) sub: u64,
}

/// The subscriptions of all tables by connection and by the client's names for them.
#[derive(Default)]
pub(super) struct Directory {
    connections: BTreeMap<u64, BTreeMap<String, Location>>,
    count: usize,
}

/// Why there is no room for one more.
pub(super) enum Full {
    /// The connection has all that it may have.
    Connection,
    /// All have.
    Server,
}

impl Directory {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn find(&self, conn: u64, sid: &str) -> Option<Location> {
        self.connections.get(&conn)?.get(sid).copied()
    }

    /// All of a connection.
    pub(super) fn of(&self, conn: u64) -> Vec<Location> {
        self.connections.get(&conn).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Adds one, whose name is not in use.
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

    /// Removes one, unless its name has become another's.
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
