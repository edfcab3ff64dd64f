//! The thread that answers what the tables want.

use super::connect;
use crate::sync::lock;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewire_server_core::tables::sqlite::{self, Described, Log};
use tidewire_server_core::tables::{SourceError, Tables, Wanted};

/// How often it is looked whether a transaction has come.
const AGAIN: Duration = Duration::from_millis(20);
/// How long it is looked for; no client waits longer.
const LOOK_FOR: Duration = Duration::from_secs(15);

pub(super) struct Answers {
    path: PathBuf,
    described: Arc<Mutex<Vec<Described>>>,
    tables: Arc<Tables>,
    /// Transactions that have not come: the question, the position, and until when it is looked for.
    open: Vec<(u64, u64, Instant)>,
}

impl Answers {
    pub(super) fn new(path: PathBuf, described: Arc<Mutex<Vec<Described>>>, tables: Arc<Tables>) -> Answers {
        Answers { path, described, tables, open: Vec::new() }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self, woken: &Receiver<()>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match woken.recv_timeout(AGAIN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let wanted = self.tables.take_wanted();
            if wanted.is_empty() && self.open.is_empty() {
                continue;
            }
            // Each time anew, so that it is the file that the path names now.
            match connect(&self.path) {
                Ok(mut connection) => {
                    wanted.into_iter().for_each(|wanted| self.answer(&mut connection, wanted));
                    self.look(&connection);
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    for wanted in wanted {
                        if let Wanted::Snapshot(wanted) = wanted {
                            self.tables.answered(wanted.id, Err(SourceError::Unavailable));
                        }
                    }
                }
            }
        }
    }

    fn answer(&mut self, connection: &mut Connection, wanted: Wanted) {
        match wanted {
            Wanted::Snapshot(wanted) => {
                let described = lock(&self.described).clone();
                let answer = sqlite::snapshot(connection, &described, &wanted);
                self.tables.answered(wanted.id, answer);
            }
            Wanted::Locate { id, tx } => match tx.parse() {
                Ok(position) => self.open.push((id, position, Instant::now() + LOOK_FOR)),
                Err(_) => self.tables.located(id, Err(SourceError::UnknownTx)),
            },
            other => tracing::error!("a question that nobody answers: {other:?}"),
        }
    }

    /// Answers for the transactions that have come.
    fn look(&mut self, connection: &Connection) {
        if self.open.is_empty() {
            return;
        }
        let (head, now) = (Log::of(connection).map_or(0, |log| log.head), Instant::now());
        self.open.retain(|(id, position, until)| {
            let there = *position <= head;
            if there {
                self.tables.located(*id, Ok(*position));
            }
            !there && *until > now
        });
    }
}
