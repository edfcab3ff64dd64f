//! Live tables, protocol section 12: which subscription is about which change.
//!
//! A source tells of commits, in order, and answers what only it knows ([`Tables::take_wanted`]).
//! Equal subscriptions are a group, which an index finds by the values in a row; a commit is
//! encoded once for each group. Whoever reads slowly falls out of the group's feed and reads the
//! log instead, which all share, until there is room again; so a queue never holds what the log
//! has.

mod access;
mod catch_up;
mod cells;
mod cost;
mod cursor;
mod feed;
mod index;
mod judge;
mod lagging;
mod limits;
mod pages;
mod question;
mod refusal;
mod registry;
mod requests;
mod ring;
mod shape;
mod source;
mod state;
mod wanted;
mod work;

pub use cells::push as push_cell;
pub use cursor::hash;
pub(crate) use lagging::Owner;
pub use limits::TableLimits;
use parking_lot::Mutex;
pub use registry::{TableConfig, TableError};
pub(crate) use requests::Asker;
pub use shape::Narrow;
pub use source::{Cell, Change, Column, Commit, Row, Schema, Seen, Snapshot, SourceError};
use state::State;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewire_core::Time;
pub use wanted::{Wanted, WantedSnapshot};

/// Told that [`Tables::take_wanted`] has something. It must only note or wake, never call back.
pub type Ask = Arc<dyn Fn() + Send + Sync>;

/// The tables that clients may subscribe to, and all subscriptions.
///
/// The driver says where its source begins ([`Tables::restart`]), then publishes commits in order.
/// It takes what is wanted when it is woken, does what takes longer ([`Tables::catch_up`]), and
/// looks at the clock at least each second ([`Tables::tick`]).
pub struct Tables {
    state: Mutex<State>,
    wake: Ask,
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
    pub fn new(configs: Vec<TableConfig>, limits: TableLimits, wake: Ask) -> Result<Tables, TableError> {
        let mut names = BTreeSet::new();
        let mut tables = Vec::new();
        for config in configs {
            if !names.insert(config.name.clone()) {
                let reason = "is configured twice; give each table one entry".to_owned();
                return Err(TableError { table: config.name, reason });
            }
            tables.push(registry::Table::new(config)?);
        }
        Ok(Tables { state: Mutex::new(State::new(limits, tables)), wake })
    }

    /// The claims that permissions name: what [`crate::Identity::claims`] has to have.
    pub fn claims(&self) -> BTreeSet<String> {
        let mut claims = BTreeSet::new();
        self.state.lock().tables.iter().for_each(|table| table.claims(&mut claims));
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
        let mut state = self.state.lock();
        if state.epoch.as_deref() == Some(epoch) && position <= state.head && position >= state.ring.floor() {
            return;
        }
        for group in state.groups_where(|_| true) {
            state.reset_group(group, "epoch", true);
        }
        state.epoch = Some(epoch.to_owned());
        state.head = position;
        state.ring.restart(position, unseen);
        for table in &mut state.tables {
            table.floor = 0;
        }
    }

    /// A commit. Those at or before where the source has told are dropped, so after a new
    /// connection it may begin earlier.
    pub fn publish(&self, commit: Commit) {
        let mut state = self.state.lock();
        state.publish(commit);
        self.wake_if_lagging(&state);
    }

    /// To how many groups of equal subscriptions a change would be told. It is told to none by
    /// this.
    pub fn reach(&self, change: &Change) -> usize {
        self.state.lock().reach(change)
    }

    /// Up to this position there is nothing more to tell.
    pub fn advance(&self, position: u64) {
        let mut state = self.state.lock();
        state.advance(position);
        self.wake_if_lagging(&state);
    }

    /// A table has another schema from here on.
    pub fn reshape(&self, table: usize, schema: Schema) {
        let mut state = self.state.lock();
        for group in state.groups_where(|group| group.shape.table == table) {
            state.reset_group(group, "schema", true);
        }
        let head = state.head;
        if let Some(table) = state.tables.get_mut(table) {
            table.reshape(schema, head);
        }
    }

    /// Where the source has to begin after a restart, so that subscriptions can go on: it must keep
    /// what comes after.
    pub fn oldest(&self) -> u64 {
        let state = self.state.lock();
        state.ring.oldest(state.head)
    }

    /// Looks at the clock; at least each second.
    pub fn tick(&self, now: Time) {
        let mut state = self.state.lock();
        state.tick(now);
        self.wake_if_lagging(&state);
    }

    /// How much there is of what subscriptions need.
    pub fn counts(&self) -> TableCounts {
        let state = self.state.lock();
        TableCounts {
            subscriptions: state.subs.len(),
            groups: state.groups.len(),
            unindexed: state.tables.iter().map(|table| table.index.unindexed().len()).sum(),
            pending: state.pending.len(),
            waits: state.subs.values().map(|sub| sub.waits.len()).sum(),
            snapshot_bytes: state.held.load(Ordering::Relaxed),
            log_bytes: state.ring.bytes(),
        }
    }
}
