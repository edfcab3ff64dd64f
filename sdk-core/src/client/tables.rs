//! Live tables as the application asks for them.

use super::Client;
use crate::config::Config;
use crate::event::Event;
use crate::io::{ConnId, Message, Output, Restored, StoreChange};
use crate::tables::{Effect, TableError, TableQuery, TableState, Tables};
use crate::time::Now;

impl Client {
    /// As [`Client::new`], with live tables.
    pub fn with_tables(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client {
        let (kept_bytes, mut restored) = (config.cached_table_bytes, restored);
        let kept = std::mem::take(&mut restored.tables);
        let mut client = Client::new(config, seed, now, restored);
        let mut tables: Box<dyn crate::tables::LiveTables> = Box::new(Tables::new(kept_bytes));
        tables.restore(kept, now.wall);
        client.tables = Some(tables);
        client
    }

    /// Opens a view of a table; what happens comes as [`Event::Table`] with the number that this
    /// gives. Views that ask the same of the server share one subscription.
    pub fn open_table(&mut self, now: Now, query: &TableQuery) -> Result<u32, TableError> {
        self.clamp(now);
        let view = self.tables.as_mut().ok_or(TableError::NoTables)?.open(query);
        self.follow_tables();
        view
    }

    /// Closes a view. Nothing of it is left, here or at the server.
    pub fn close_table(&mut self, now: Now, view: u32) {
        self.clamp(now);
        if let Some(tables) = &mut self.tables {
            tables.close(view);
        }
        self.follow_tables();
    }

    /// Asks to be told, by [`crate::tables::TableUpdate::Seen`], once a transaction of the database
    /// has been applied to a view. So who wrote something by another way knows when it can be read
    /// here. `tx` is what the database calls the transaction: the text of `pg_current_xact_id()` in
    /// PostgreSQL, `max(seq)` of the change log in SQLite (protocol section 12).
    pub fn await_tx(&mut self, now: Now, view: u32, tx: &str) -> Result<(), TableError> {
        self.clamp(now);
        let asked = self.tables.as_mut().ok_or(TableError::NoTables)?.wait_for(view, tx);
        self.follow_tables();
        asked
    }

    /// A view's rows as JSON objects, in its order and up to its limit; none while it is loading or
    /// has failed.
    pub fn table_rows(&self, view: u32) -> Vec<String> {
        self.tables.as_ref().map_or_else(Vec::new, |tables| tables.rows(view))
    }

    /// The names of the columns that tell a view's rows apart, its table's primary key; none while
    /// it is loading or has failed.
    pub fn table_key(&self, view: u32) -> Vec<String> {
        self.tables.as_ref().map_or_else(Vec::new, |tables| tables.key(view))
    }

    /// How far a view's rows can be trusted; none if there is no such view.
    pub fn table_state(&self, view: u32) -> Option<TableState> {
        self.tables.as_ref()?.state(view)
    }

    pub(super) fn table_frame(&mut self, now: Now, conn: ConnId, text: &str) {
        let Some(tables) = &mut self.tables else { return };
        let taken = tables.frame(now.mono, &mut self.rng, text);
        self.follow_tables();
        if let Err(error) = taken {
            self.not_a_frame(now, conn, error);
        }
    }

    pub(super) fn tables_connected(&mut self) {
        if let Some(tables) = &mut self.tables {
            tables.connected();
        }
    }

    /// Nothing follows that could be stored together with what is known now.
    pub(super) fn tables_disconnected(&mut self) {
        if let Some(tables) = &mut self.tables {
            tables.disconnected();
        }
        self.flush_tables(self.last);
    }

    pub(super) fn forget_tables(&mut self) {
        if let Some(tables) = &mut self.tables {
            tables.forget_user();
        }
        self.follow_tables();
    }

    pub(super) fn tick_tables(&mut self, now: Now) {
        if let Some(tables) = &mut self.tables {
            tables.tick(now, false);
        }
        self.follow_tables();
    }

    /// The page or app may end without another word.
    pub(super) fn flush_tables(&mut self, now: Now) {
        if let Some(tables) = &mut self.tables {
            tables.tick(now, true);
        }
        self.follow_tables();
    }

    fn follow_tables(&mut self) {
        while let Some(effect) = self.tables.as_mut().and_then(|tables| tables.take()) {
            match effect {
                Effect::Send(request) => {
                    if let Some(conn) = self.session {
                        let message = Message(request.encode());
                        self.out.push_back(Output::Transmit { conn, message });
                    }
                }
                Effect::Tell(view, update) => {
                    self.out.push_back(Output::Event(Event::Table { view, update }))
                }
                Effect::Keep(name, Some(record)) => {
                    self.store(StoreChange::PutTable { name, record: Message(record) });
                }
                Effect::Keep(name, None) => {
                    self.store(StoreChange::ClearTable { name });
                }
                Effect::Again { table, missed } => {
                    self.journal.counters.repaired += u64::from(missed);
                    self.journal.note(self.last.wall, if missed { "repair" } else { "reset" }, &table, 1);
                }
            }
        }
    }
}
