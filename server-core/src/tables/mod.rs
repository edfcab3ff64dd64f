//! Live tables, protocol section 12: which subscription is sent which change.
//!
//! A source publishes commits in order, and answers the requests that only it can answer
//! ([`Tables::take_requests`]). Identical subscriptions form a group, which an index finds by the
//! values in a row. A commit is encoded once for each group. A slow consumer leaves the group's
//! feed and reads the log until its queue has room again, so no queue holds what the log has.
//!
//! There is one log. Each table has a lock, a head and feeds of its own, and reads the log at its
//! own pace, so a table with much work delays no other. Rows are matched and frames encoded without
//! any lock; `feed` explains why every subscriber still gets each commit exactly once.

mod access;
mod catch_up;
mod cells;
mod cost;
mod cursor;
mod directory;
mod fair_queue;
mod feed;
mod frame_pos;
mod history;
mod index;
mod limits;
mod locked;
mod log;
mod matching;
mod pages;
mod pending;
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

/// Why a driver is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// [`Tables::take_requests`] has something.
    Requests,
    /// [`Tables::work`] has something to do for the table with this index.
    Work(usize),
}

/// Wakes the driver; called with no lock held.
pub type Wake = Arc<dyn Fn(Woken) + Send + Sync>;

/// The tables that clients may subscribe to, and all subscriptions.
///
/// The driver says where its source begins ([`Tables::restart`]), then publishes commits in order.
/// When it is woken it takes requests for the source, or does a table's work on that table's
/// thread, so that tables don't wait for each other. It calls [`Tables::tick`] at least once a
/// second.
pub struct Tables {
    shared: Arc<Shared>,
    by_name: BTreeMap<String, usize>,
    states: Vec<Mutex<State>>,
    wake: Wake,
}

/// Counts, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCounts {
    /// Subscriptions.
    pub subscriptions: usize,
    /// Groups of identical subscriptions.
    pub groups: usize,
    /// Groups that must be matched with every change, because no index finds them.
    pub unindexed: usize,
    /// Requests that the source has not answered.
    pub pending: usize,
    /// Transactions that clients wait for.
    pub waits: usize,
    /// Bytes of snapshots that are being sent.
    pub snapshot_bytes: usize,
    /// Bytes of the log.
    pub log_bytes: usize,
}

impl Tables {
    /// Tables with these names, schemas and permissions. Changes refer to them by their index here.
    ///
    /// # Errors
    ///
    /// A permission that does not fit its table, two tables with one name, or a table without a
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

    /// The claims that permissions name: [`crate::Identity::claims`] must have these.
    pub fn claims(&self) -> BTreeSet<String> {
        let mut claims = BTreeSet::new();
        self.states.iter().for_each(|state| state.lock().rights.claims(&mut claims));
        claims
    }

    /// The source begins at a position, or begins again. Cursors from before the position or of
    /// another epoch can't be resumed. Calling it again with the same epoch and a position within
    /// the log changes nothing; this is usual after a new connection to the same database.
    ///
    /// `unseen` are transaction ids ([`Commit::xid`]) that may have been committed at or before the
    /// position and that snapshots may not contain yet. They are not published, so a snapshot that
    /// lacks one of them is not used.
    pub fn restart(&self, epoch: &str, position: u64, unseen: &[u64]) {
        // All tables are locked at once, so that the log and the tables never have different
        // epochs.
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

    /// Publishes a commit. One at or before the head is ignored, so the source may repeat commits
    /// after a new connection. Little work for a table is done at once, more is left to the driver.
    pub fn publish(&self, commit: Commit) {
        let mut log = self.shared.log.lock();
        let Some(logged) = log.push(commit) else { return };
        let standing = log.standing();
        drop(log);
        for at in 0..self.states.len() {
            self.publish_now(at, &logged, standing.floor);
        }
    }

    /// How many groups a change would be sent to. Sends nothing.
    pub fn reach(&self, change: &Change) -> usize {
        let state = self.states.get(change.table());
        state.map_or(0, |state| state.lock().reach(change))
    }

    /// There are no commits up to this position beyond those that were published.
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

    /// A table has another schema from this position on.
    pub fn reshape(&self, table: usize, schema: Schema) {
        self.with(table, |state| {
            let standing = state.shared.log.lock().standing();
            state.restart("schema", standing);
            state.rights.reshape(schema);
            state.cut = standing.head;
        });
    }

    /// The position from which the source must be able to continue after a restart of the server,
    /// so that subscriptions can resume.
    pub fn oldest(&self) -> u64 {
        let log = self.shared.log.lock();
        log.ring.oldest(log.head)
    }

    /// Notes the time, ends what took too long, and sends marks. Call it at least once a second.
    pub fn tick(&self, now: Time) {
        self.shared.log.lock().tick(now);
        for at in 0..self.states.len() {
            self.with(at, |state| state.tick(now));
            self.mark_quiet(at);
            self.with(at, |state| state.expire(now));
        }
    }

    /// Counts, for metrics.
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
