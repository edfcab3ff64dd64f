//! The database, the server's tables, and the source between them.

use crate::dice::Dice;
use crate::tables::database::Database;
use crate::tables::engine::engine;
use crate::tables::figures::TableFigures;
use std::sync::Arc;
use tidewire_core::{Now, Time};
use tidewire_server_core::Engine;
use tidewire_server_core::tables::{SourceError, SourceRequest, TableLimits, Tables};

const WALL: u64 = 1_795_228_800_000;

/// What all clients share.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) dice: Dice,
    pub(super) figures: TableFigures,
    pub(super) database: Database,
    pub(super) engine: Arc<Engine>,
    limits: TableLimits,
    epoch: u64,
    /// The number of commits that the source has delivered.
    delivered: usize,
    /// Pending requests, and when they are answered.
    asked: Vec<(u64, SourceRequest)>,
    pub(super) faults: bool,
    /// Steps for which nothing happens.
    pub(super) quiet: u64,
}

impl World {
    /// A world whose server has just started.
    pub(super) fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let database = Database::new(dice.once_in(2));
        let limits = TableLimits {
            log_commits: dice.log_uniform(3, 400) as usize,
            log_ms: dice.log_uniform(2_000, 900_000),
            frame_bytes: 16_384,
            page_rows: 1 + dice.below(6) as usize,
            spread_ms: 1_000,
            at_once: [TableLimits::default().at_once, 0, 200][(seed % 3) as usize],
            ..TableLimits::default()
        };
        let engine = engine(&limits);
        let world = World {
            now: 1,
            dice,
            figures: TableFigures::default(),
            database,
            engine,
            limits,
            epoch: 1,
            delivered: 0,
            asked: Vec::new(),
            faults: true,
            quiet: 0,
        };
        world.tables().restart("e1", 0, &[]);
        world
    }

    pub(super) fn tables(&self) -> &Arc<Tables> {
        self.engine.tables.as_ref().unwrap_or_else(|| unreachable!("made with tables"))
    }

    pub(super) fn clock(&self) -> Now {
        Now { mono: Time(self.now), wall: WALL + self.now }
    }

    /// Delivers commits, and answers requests.
    pub(super) fn source(&mut self) {
        let most = if self.faults { self.dice.below(4) as usize } else { usize::MAX };
        let until = self.database.log.len().min(self.delivered.saturating_add(most));
        for at in self.delivered..until {
            self.tables().publish(self.database.log[at].commit.clone());
        }
        self.delivered = until;
        if until == self.database.log.len() && self.dice.once_in(3) {
            // Later commits have a greater position.
            self.tables().advance(self.database.position());
        }
        while self.tables().catch_up() {}
        for wanted in self.tables().take_requests() {
            let delay = if self.faults { self.dice.below(400) } else { 5 };
            self.asked.push((self.now + delay, wanted));
        }
        let (due, later) = std::mem::take(&mut self.asked).into_iter().partition(|(at, _)| *at <= self.now);
        self.asked = later;
        for (_, wanted) in due {
            match wanted {
                SourceRequest::Snapshot(wanted) => {
                    let answer = if self.faults && self.dice.once_in(8) {
                        self.figures.mark("snapshot_fails");
                        Err(SourceError::Unavailable)
                    } else {
                        let mut snapshot = self.database.snapshot(self.now);
                        snapshot.rows.retain(|row| wanted.keeps(row));
                        Ok(snapshot)
                    };
                    self.tables().finish_snapshot(wanted.id, answer);
                }
                SourceRequest::Locate { id, tx } => {
                    let found = self.database.log.iter().find(|logged| logged.commit.tx == tx);
                    let answer = found.map(|logged| logged.commit.position).ok_or(SourceError::UnknownTx);
                    self.tables().finish_locate(id, answer);
                }
                _ => {}
            }
        }
        self.tables().tick(Time(self.now));
    }

    /// The server's process restarts; the source has kept everything after `oldest`.
    pub(super) fn restart(&mut self, oldest: u64) {
        self.engine = engine(&self.limits);
        self.asked.clear();
        self.tables().restart(&format!("e{}", self.epoch), oldest, &self.database.unseen(self.now));
        self.delivered = self.database.log.partition_point(|logged| logged.commit.position <= oldest);
    }

    /// What the source kept is lost: it begins at the database's present position.
    pub(super) fn lose_slot(&mut self) {
        self.figures.mark("slot_lost");
        self.epoch += 1;
        self.tables().restart(
            &format!("e{}", self.epoch),
            self.database.position(),
            &self.database.unseen(self.now),
        );
        self.delivered = self.database.log.len();
    }
}
