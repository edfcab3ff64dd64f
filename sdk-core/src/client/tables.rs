//! Live tables as the application asks for them.

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

    /// Opens a view of a table; what happens comes as [`Event::Table`] with the number that this
    /// gives. Views that ask the same of the server share one subscription.
    pub fn open_table(&mut self, now: Now, query: &TableQuery) -> Result<u32, TableError> {
        self.clamp(now);
        let view = self.part.open(query);
        self.follow_part();
        view
    }

    /// Closes a view. Nothing of it is left, here or at the server.
    pub fn close_table(&mut self, now: Now, view: u32) {
        self.clamp(now);
        self.part.close(view);
        self.follow_part();
    }

    /// Asks to be told, by [`crate::tables::TableUpdate::Seen`], once a transaction of the database
    /// has been applied to a view. So who wrote something by another way knows when it can be read
    /// here. `tx` is what the database calls the transaction: the text of `pg_current_xact_id()` in
    /// PostgreSQL, `max(seq)` of the change log in SQLite (protocol section 12).
    pub fn await_tx(&mut self, now: Now, view: u32, tx: &str) -> Result<(), TableError> {
        self.clamp(now);
        let asked = self.part.wait_for(view, tx);
        self.follow_part();
        asked
    }

    /// A view's rows, as the [`TableUpdate`](crate::tables::TableUpdate)s drained so far and those
    /// still to be drained make them; none while it is loading or has failed.
    pub fn table_rows(&self, view: u32) -> TableRows {
        self.part.rows(view)
    }

    /// How far a view's rows can be trusted; none if there is no such view.
    pub fn table_status(&self, view: u32) -> Option<TableStatus> {
        self.part.status(view)
    }

    /// Tells a view's rows and status once more, for somebody who begins to follow it now.
    pub fn tell_table(&mut self, now: Now, view: u32) {
        self.clamp(now);
        self.part.emit_again(view);
        self.follow_part();
    }
}
