//! Live tables, protocol section 12: which subscription is about which change.
//!
//! A source tells of commits, in order, and answers what only it knows ([`Tables::take_requests`]).
//! Equal subscriptions are a group, which an index finds by the values in a row; a commit is
//! encoded once for each group. Whoever reads slowly falls out of the group's feed and reads the
//! log instead, until there is room again; so a queue never holds what the log has.
//!
//! The log is one, and each table has a lock, a head and feeds of its own: it takes commits from
//! the log, in their order, as fast as it can. So one that has much to do holds up nobody else.
//! Rows are judged and frames encoded without any lock; `feed` says why nobody misses a commit by
//! that, or gets one twice.

mod access;
mod catch_up;
mod cells;
mod cost;
mod cursor;
mod directory;
mod fair_queue;
mod feed;
mod history;
mod index;
mod limits;
mod locked;
mod log;
mod matching;
mod pages;
mod pending;
mod place;
mod plan;
mod refusal;
mod registry;
mod requests;
mod ring;
mod serve;
mod shape;
mod shared;
mod source;
mod source_requests;
mod state;
mod work;

use crate::lock::Mutex;
pub use cells::push as push_cell;
pub use cursor::hash;
pub(crate) use fair_queue::Owner;
pub use limits::TableLimits;
pub use pending::RequestId;
pub use registry::{TableConfig, TableError};
pub(crate) use requests::Asker;
pub use shape::RequiredValues;
use shared::Shared;
pub use source::{Cell, Change, Column, Commit, Row, Schema, Seen, Snapshot, SourceError};
pub use source_requests::{SnapshotRequest, SourceRequest};
use state::{After, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewire_core::Time;

/// What a driver is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// [`Tables::take_requests`] has something.
    Requests,
    /// [`Tables::work`] has something to do for the table at this place.
    Work(usize),
}

/// Wakes the driver, with no lock held.
pub type Wake = Arc<dyn Fn(Woken) + Send + Sync>;

/// The tables that clients may subscribe to, and all subscriptions.
///
/// The driver says where its source begins ([`Tables::restart`]), then publishes commits in order.
/// When it is woken it takes what is wanted, or does a table's work on a thread of that table's, so
/// that tables don't wait for each other. It looks at the clock at least each second
/// ([`Tables::tick`]).
pub struct Tables {
    shared: Arc<Shared>,
    by_name: BTreeMap<String, usize>,
    states: Vec<Mutex<State>>,
    wake: Wake,
}

/// How much there is of what subscriptions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCounts {
    /// Subscriptions.
    pub subscriptions: usize,
    /// Groups of equal ones.
    pub groups: usize,
    /// Those of them that must be asked about every change.
    pub unindexed: usize,
    /// Questions that the source has not answered.
    pub pending: usize,
    /// Transactions that clients wait for.
    pub waits: usize,
    /// Bytes of snapshots that clients are reading.
    pub snapshot_bytes: usize,
    /// Bytes of the log.
    pub log_bytes: usize,
}

impl Tables {
    /// Tables with these names, schemas and permissions; changes call them by their places here.
    ///
    /// # Errors
    ///
    /// A permission that is not one for its table, two tables of one name, or a table without a
    /// key.
    pub fn new(configs: Vec<TableConfig>, limits: TableLimits, wake: Wake) -> Result<Tables, TableError> {
        let shared = Arc::new(Shared::new(limits));
        let (mut by_name, mut states) = (BTreeMap::new(), Vec::new());
        for (at, config) in configs.into_iter().enumerate() {
            if by_name.insert(config.name.clone(), at).is_some() {
                let reason = "is configured twice; give each table one entry".to_owned();
                return Err(TableError { table: config.name, reason });
            }
            states.push(Mutex::new(State::new(at, shared.clone(), registry::Rights::new(config)?)));
        }
        Ok(Tables { shared, by_name, states, wake })
    }

    /// How many tables there are.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// The claims that permissions name: what [`crate::Identity::claims`] has to have.
    pub fn claims(&self) -> BTreeSet<String> {
        let mut claims = BTreeSet::new();
        self.states.iter().for_each(|state| state.lock().rights.claims(&mut claims));
        claims
    }

    /// The source begins, or begins anew, at a position: nothing before it can be gone on from, and
    /// nothing of another epoch. Called again with the same epoch and where it stands, as after a
    /// new connection to the same database, it changes nothing.
    ///
    /// `unseen` are the numbers of transactions that may have been committed at or before the
    /// position ([`Commit::xid`]) and that snapshots may not contain yet. They are not told, so a
    /// snapshot without one of them is not given to anybody.
    pub fn restart(&self, epoch: &str, position: u64, unseen: &[u64]) {
        // All tables at once: the log and what they were told of it are never of two epochs.
        let mut states: Vec<_> = self.states.iter().map(Mutex::lock).collect();
        let mut log = self.shared.log.lock();
        if log.goes_on(epoch, position) {
            return;
        }
        let epoch: Arc<str> = Arc::from(epoch);
        log.restart(epoch.clone(), position, unseen);
        let standing = log.standing();
        drop(log);
        for state in &mut states {
            state.restart("epoch", standing);
            (state.epoch, state.cut) = (Some(epoch.clone()), 0);
        }
        let left: Vec<After> = states.iter_mut().map(|state| std::mem::take(&mut state.after)).collect();
        drop(states);
        for (at, after) in left.into_iter().enumerate() {
            let ready = self.carry_out(at, after);
            self.serve(at, ready);
        }
    }

    /// A commit. Those at or before where the source has told are dropped, so after a new
    /// connection it may begin earlier. What is little work for a table is done at once, and the
    /// rest is left to its driver; so this takes about as long as the little work.
    pub fn publish(&self, commit: Commit) {
        let mut log = self.shared.log.lock();
        let Some(logged) = log.push(commit) else { return };
        let standing = log.standing();
        drop(log);
        for at in 0..self.states.len() {
            self.publish_now(at, &logged, standing.floor);
        }
    }

    /// To how many groups of equal subscriptions a change would be told. It is told to none by
    /// this.
    pub fn reach(&self, change: &Change) -> usize {
        let state = self.states.get(change.table());
        state.map_or(0, |state| state.lock().reach(change))
    }

    /// Up to this position there is nothing more to tell.
    pub fn advance(&self, position: u64) {
        let mut log = self.shared.log.lock();
        if position <= log.head {
            return;
        }
        log.head = position;
        let standing = log.standing();
        drop(log);
        for at in 0..self.states.len() {
            match self.try_with(at, |state| state.advance(standing)) {
                Some(((), ready)) => self.serve(at, ready),
                None => self.wake(Woken::Work(at)),
            }
        }
    }

    /// A table has another schema from here on.
    pub fn reshape(&self, table: usize, schema: Schema) {
        self.with(table, |state| {
            let standing = state.shared.log.lock().standing();
            state.restart("schema", standing);
            state.rights.reshape(schema);
            state.cut = standing.head;
        });
    }

    /// Where the source has to begin after a restart, so that subscriptions can go on: it must keep
    /// what comes after.
    pub fn oldest(&self) -> u64 {
        let log = self.shared.log.lock();
        log.ring.oldest(log.head)
    }

    /// Looks at the clock; at least each second.
    pub fn tick(&self, now: Time) {
        self.shared.log.lock().tick(now);
        for at in 0..self.states.len() {
            self.with(at, |state| state.tick(now));
            self.mark_quiet(at);
            self.with(at, |state| state.expire(now));
        }
    }

    /// How much there is of what subscriptions need.
    pub fn counts(&self) -> TableCounts {
        let mut counts = TableCounts {
            subscriptions: self.shared.directory.lock().count(),
            groups: 0,
            unindexed: 0,
            pending: 0,
            waits: 0,
            snapshot_bytes: self.shared.held.load(Ordering::Relaxed),
            log_bytes: self.shared.log.lock().ring.bytes(),
        };
        for state in &self.states {
            let state = state.lock();
            counts.groups += state.groups.len();
            counts.unindexed += state.index.unindexed().len();
            counts.pending += state.pending.len();
            counts.waits += state.subs.values().map(|sub| sub.waits.len()).sum::<usize>();
        }
        counts
    }
}
