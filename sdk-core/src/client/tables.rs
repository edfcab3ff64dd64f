//! The commands for live tables.

use super::Client;
use crate::config::Config;
use crate::io::Restored;
use crate::tables::{TableError, TableQuery, TableRows, TableStatus, Tables};
use crate::time::Now;

impl Client<Tables> {
    /// As [`Client::new`], with live tables.
    pub fn with_tables(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client<Tables> {
        Client::with_part(Tables::new(config.cached_table_bytes), config, seed, now, restored)
    }

    /// Opens a view of a table and returns its number. Its updates come as
    /// [`TableEvent`](crate::tables::TableEvent)s with that number. Views with equal queries to the
    /// server share one subscription.
    pub fn open_table(&mut self, now: Now, query: &TableQuery) -> Result<u32, TableError> {
        self.acts(now);
        let view = self.part.open(query);
        self.follow_part();
        view
    }

    /// Closes a view, here and at the server.
    pub fn close_table(&mut self, now: Now, view: u32) {
        self.clamp(now);
        self.part.close(view);
        self.follow_part();
    }

    /// Requests a [`crate::tables::TableUpdate::Seen`] for when a transaction of the database has
    /// been applied to a view. So an application that writes to the database directly knows when
    /// its write is visible here. `tx` is the transaction's id: the text of `pg_current_xact_id()`
    /// in PostgreSQL, `max(seq)` of the change log in SQLite (protocol section 12).
    pub fn await_tx(&mut self, now: Now, view: u32, tx: &str) -> Result<(), TableError> {
        self.acts(now);
        let asked = self.part.wait_for(view, tx);
        self.follow_part();
        asked
    }

    /// A view's rows, including updates that are not drained yet; none while it is loading or has
    /// failed.
    pub fn table_rows(&self, view: u32) -> TableRows {
        self.part.rows(view)
    }

    /// A view's status; none if there is no such view.
    pub fn table_status(&self, view: u32) -> Option<TableStatus> {
        self.part.status(view)
    }

    /// Emits a view's rows and status again, for a new reader.
    pub fn tell_table(&mut self, now: Now, view: u32) {
        self.clamp(now);
        self.part.emit_again(view);
        self.follow_part();
    }
}
