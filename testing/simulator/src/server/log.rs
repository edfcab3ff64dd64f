//! The server's disk: an in-memory database, its backup, and checks of its log.

use crate::script::{CHANNELS, WALL_MS};
use crate::server::log_watch::LogWatch;
use crate::server::logged::Logged;
use rusqlite::Connection;
use tidewire_core::wire::{ChannelName, Handler, Offset};
use tidewire_server_core::store::{
    Account, ChannelRow, CreateDialog, Found, Outcome, Positions, Read, Reply, StoreError, Write,
};
use tidewire_server_sqlite::log::{self, Outside};

/// A violation found in the log: the guarantee's number, and what was found.
pub(crate) type Fault = (&'static str, String);

/// The database.
pub(super) struct Log {
    db: Connection,
    backup: Option<Connection>,
    /// The number of epochs so far.
    epochs: u64,
    watches: [LogWatch; 2],
}

/// The clock that the database writes into its rows.
struct Clock(u64);

impl Outside for Clock {
    fn now_ms(&self) -> u64 {
        self.0
    }

    fn digest(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn enough(&self) -> bool {
        false
    }
}

impl Log {
    /// A log with both channels, empty.
    pub(super) fn new() -> rusqlite::Result<Log> {
        let mut db = Connection::open_in_memory()?;
        db.pragma_update(None, "synchronous", "OFF")?;
        db.pragma_update(None, "journal_mode", "MEMORY")?;
        log::tune(&db)?;
        log::migrate(&mut db).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let dialogs: Vec<Write> = CHANNELS
            .iter()
            .filter_map(|name| ChannelName::parse(name))
            .map(|name| Write::CreateDialog(CreateDialog { name, owner: None, account: Account::Own }))
            .collect();
        let log = Log { db, backup: None, epochs: 1, watches: [LogWatch::new(), LogWatch::new()] };
        log.commit(&dialogs.iter().collect::<Vec<_>>(), 0)?;
        Ok(log)
    }

    pub(super) fn epoch(&self) -> String {
        format!("e{}", self.epochs)
    }

    /// Commits writes in one transaction, `now` ms into the run; returns an outcome for each.
    pub(super) fn commit(
        &self,
        writes: &[&Write],
        now: u64,
    ) -> rusqlite::Result<Vec<Result<Outcome, StoreError>>> {
        let applied = log::begin(&self.db, writes, &Clock(WALL_MS + now))?;
        log::commit(&self.db)?;
        Ok(applied.answers)
    }

    /// Answers as the server's store does.
    pub(super) fn read(&self, read: &Read) -> Result<Reply, StoreError> {
        log::read(&self.db, read).map_err(|error| log::store_error(&error))
    }

    /// Reads for the simulator itself. A reply of another kind than the read's is an error.
    pub(super) fn ask<T>(
        &self,
        read: &Read,
        reply: impl FnOnce(Reply) -> Result<T, StoreError>,
    ) -> rusqlite::Result<T> {
        reply(log::read(&self.db, read)?).map_err(|_| rusqlite::Error::InvalidQuery)
    }

    /// How far a channel was read, as this user is told of it.
    pub(super) fn positions(&self, name: &str, user: String) -> rusqlite::Result<Option<Positions>> {
        let Some(row) = self.channel(name)? else { return Ok(None) };
        let read = Read::Positions { channel: row.id, user, to: row.head, most: 100 };
        self.ask(&read, Reply::positions).map(Some)
    }

    /// A channel's row.
    pub(super) fn channel(&self, name: &str) -> rusqlite::Result<Option<ChannelRow>> {
        let name = ChannelName::parse(name).ok_or(rusqlite::Error::InvalidQuery)?;
        self.ask(&Read::Channel(name), Reply::channel)
    }

    fn page(&self, channel: i64, from: Offset, to: Offset) -> rusqlite::Result<Found> {
        self.ask(&Read::Events { channel, from, to }, Reply::events)
    }

    /// The events of a channel, and the offset up to which they were trimmed.
    pub(super) fn events(&self, channel: &str) -> rusqlite::Result<(u64, Vec<Logged>)> {
        let Some(row) = self.channel(channel)? else { return Ok((0, Vec::new())) };
        let mut events = Vec::new();
        let mut from = row.floor;
        while from < row.head {
            match self.page(row.id, from, row.head)? {
                Found::Events(found) if !found.is_empty() => {
                    for (offset, frame) in found {
                        from = offset;
                        events.extend(Logged::read(&frame));
                    }
                }
                _ => break,
            }
        }
        Ok((row.floor.0, events))
    }

    /// The event at this offset.
    pub(super) fn at(&self, channel: &str, offset: u64) -> rusqlite::Result<Option<Logged>> {
        let Some(row) = self.channel(channel)? else { return Ok(None) };
        match self.page(row.id, Offset(offset).minus(1), Offset(offset))? {
            Found::Events(found) => Ok(found.first().and_then(|(_, frame)| Logged::read(frame))),
            Found::Trimmed(_) => Ok(None),
        }
    }

    pub(super) fn take_backup(&mut self) -> rusqlite::Result<()> {
        let mut copy = Connection::open_in_memory()?;
        rusqlite::backup::Backup::new(&self.db, &mut copy)?.step(-1)?;
        self.backup = Some(copy);
        Ok(())
    }

    /// Restores the last backup, which begins another epoch; false if there is none.
    pub(super) fn restore(&mut self) -> rusqlite::Result<bool> {
        let Some(backup) = &self.backup else { return Ok(false) };
        rusqlite::backup::Backup::new(backup, &mut self.db)?.step(-1)?;
        self.epochs += 1;
        for (at, name) in CHANNELS.iter().enumerate() {
            let floor = self.channel(name)?.map_or(0, |row| row.floor.0);
            self.watches[at].begins_after(floor);
        }
        Ok(true)
    }

    /// Reads and checks what was committed since the last call.
    pub(super) fn look(&mut self, now: u64) -> rusqlite::Result<Vec<Fault>> {
        let mut faults = Vec::new();
        for (at, name) in CHANNELS.iter().enumerate() {
            let Some(row) = self.channel(name)? else { continue };
            if self.watches[at].seen() < row.floor.0 {
                self.watches[at].begins_after(row.floor.0);
            }
            while self.watches[at].seen() < row.head.0 {
                let before = self.watches[at].seen();
                let Found::Events(events) = self.page(row.id, Offset(before), row.head)? else { break };
                for event in events.iter().filter_map(|(_, frame)| Logged::read(frame)) {
                    let fault = self.watches[at].read(&event, now);
                    faults.extend(fault.map(|how| ("S19", format!("{name}: {how}"))));
                }
                if self.watches[at].seen() == before {
                    break;
                }
            }
            self.watches[at].learn(row.handler);
        }
        Ok(faults)
    }

    /// Who answers in the first channel, by its events and by its row.
    pub(super) fn handlers(&self) -> rusqlite::Result<(Option<&Handler>, Handler)> {
        let row = self.channel(CHANNELS[0])?.map(|row| row.handler);
        Ok((self.watches[0].handler(), row.unwrap_or_default()))
    }

    /// Runs that take longer than any should.
    pub(super) fn overdue(&self, now: u64) -> Vec<&str> {
        self.watches.iter().filter_map(|watch| watch.overdue(now)).collect()
    }

    /// The channels in which a message still waits for an answer to start.
    pub(super) fn unanswered(&self) -> Vec<&'static str> {
        let waits = |(name, watch): (&&'static str, &LogWatch)| watch.waits().then_some(*name);
        CHANNELS.iter().zip(&self.watches).filter_map(waits).collect()
    }
}
