//! What tables want of their source, and what they make of the answer.

use super::limits::ENVELOPE;
use super::pages::{Pages, TooGreat};
use super::question::{Asked, Pending};
use super::refusal::{RETRY_MS, Refusal, unavailable};
use super::shape::{Narrow, Shape};
use super::state::{Phase, State};
use super::{Cell, Schema, Snapshot, SourceError, Tables};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewire_core::tables::filter::Filter;
use tidewire_core::wire::codes;

/// A snapshot that took so long that the log was trimmed meanwhile is taken again, so many times.
const TRIES: u32 = 3;

/// Something that only the source knows.
#[derive(Debug)]
#[non_exhaustive]
pub enum Wanted {
    /// A snapshot; [`Tables::answered`] brings it.
    Snapshot(WantedSnapshot),
    /// The position that contains a transaction, or where the stream must have come for it to be
    /// over; [`Tables::located`] brings it. Of a transaction that is still under way the answer
    /// comes when it is over, or not at all.
    Locate {
        /// Goes back with the answer.
        id: u64,
        /// What the database calls it.
        tx: String,
    },
}

/// Rows of a table, all at one moment.
#[derive(Debug)]
pub struct WantedSnapshot {
    /// Goes back with the answer.
    pub id: u64,
    /// The table, by its place in the registry.
    pub table: usize,
    /// Most rows; with more the answer is [`SourceError::TooManyRows`].
    pub most: usize,
    /// Most bytes of them, roughly; with more the answer is [`SourceError::TooBig`].
    pub most_bytes: usize,
    /// Who answers for the work: nobody's questions should hold up those of others.
    pub owner: Arc<str>,
    shape: Arc<Shape>,
}

impl WantedSnapshot {
    /// Whether the rows of a table with this schema can be an answer. If not, the table was another one when the question was asked,
    /// or the source has yet to be told of a change: the answer is [`SourceError::Unavailable`], and the question comes again.
    pub fn is_of(&self, schema: &Schema) -> bool {
        *self.shape.schema == *schema
    }

    /// Whether a row is wanted. Rows beyond these may be in the answer too, but count for nothing.
    pub fn keeps(&self, row: &[Cell]) -> bool {
        self.shape.row_belongs(row)
    }

    /// The filters that all rows that are wanted meet, for a database whose comparison is ours.
    pub fn filters(&self) -> &[Filter] {
        &self.shape.filters
    }

    /// Conditions that all rows that are wanted meet, so that the database need not read the
    /// others. What it reads may be more, and never less: where its comparison is not exactly ours,
    /// it must not be used.
    pub fn narrow(&self) -> Vec<Narrow> {
        self.shape.narrow()
    }
}

impl State {
    /// Asks for a snapshot of a group, if that was not done.
    pub(super) fn want_snapshot(&mut self, group: u64, tries: u32) {
        let id = self.id();
        let head = self.head;
        let Some(group_state) = self.groups.get_mut(&group) else { return };
        if group_state.snapshot.is_some() {
            return;
        }
        group_state.snapshot = Some(id);
        self.pending.insert(id, Pending::Snapshot { group, head, tries });
        self.asked.push_back(Asked { id });
    }

    pub(super) fn want_position(&mut self, sub: u64, tx: String) {
        let id = self.id();
        self.pending.insert(id, Pending::Locate { sub, tx });
        self.asked.push_back(Asked { id });
    }

    fn take_wanted(&mut self) -> Vec<Wanted> {
        let asked = std::mem::take(&mut self.asked);
        // What nobody waits for any more is not pending.
        let wanted = asked.into_iter().filter_map(|Asked { id }| match self.pending.get(&id)? {
            Pending::Snapshot { group, .. } => {
                let group = self.groups.get(group)?;
                let (shape, owner) = (group.shape.clone(), group.owner.clone());
                // A cell may take twice as much here as in JSON.
                let (table, most, most_bytes) =
                    (shape.table, self.limits.rows, 2 * self.limits.snapshot_bytes);
                Some(Wanted::Snapshot(WantedSnapshot { id, table, most, most_bytes, owner, shape }))
            }
            Pending::Locate { tx, .. } => Some(Wanted::Locate { id, tx: tx.clone() }),
        });
        wanted.collect()
    }

    /// The subscriptions of a group that wait for its snapshot.
    fn waiters(&self, group: u64) -> Vec<u64> {
        let Some(group) = self.groups.get(&group) else { return Vec::new() };
        let waits = |id: &&u64| self.subs.get(id).is_some_and(|sub| matches!(sub.phase, Phase::Waiting(_)));
        group.members.iter().filter(waits).copied().collect()
    }

    fn refuse_waiters(&mut self, group: u64, refusal: &Refusal) {
        for sub in self.waiters(group) {
            self.fail(sub, refusal);
        }
    }

    fn give(&mut self, group: u64, pages: &Arc<Pages>, applied: u64) {
        for id in self.waiters(group) {
            let Some(sub) = self.subs.get_mut(&id) else { continue };
            let Phase::Waiting(reason) = sub.phase else { continue };
            sub.phase = Phase::Reading { pages: pages.clone(), next: 0, asked: true, reason };
            sub.applied = applied;
            self.serve(id);
        }
    }
}

impl Tables {
    /// What the source is to be asked. The driver takes it when it is woken, and answers each in
    /// its own time.
    pub fn take_wanted(&self) -> Vec<Wanted> {
        self.state.lock().take_wanted()
    }

    /// Whether somebody still waits for an answer; a source that takes long should look.
    pub fn is_wanted(&self, id: u64) -> bool {
        self.state.lock().pending.contains_key(&id)
    }

    /// The answer to a [`Wanted::Snapshot`]. Answers that nobody waits for any more do nothing.
    pub fn answered(&self, id: u64, answer: Result<Snapshot, SourceError>) {
        let (shape, limits, held) = {
            let state = self.state.lock();
            let Some(Pending::Snapshot { group, .. }) = state.pending.get(&id) else { return };
            let Some(group) = state.groups.get(group) else { return };
            (group.shape.clone(), state.limits.clone(), state.held.clone())
        };
        // Encoding takes a while; commits and clients must not wait for it.
        let most_row = limits.frame_bytes.saturating_sub(ENVELOPE);
        let most = (limits.rows, limits.snapshot_bytes, most_row, limits.page_rows.max(1));
        let pages = match answer {
            Ok(Snapshot { rows, seen }) => {
                Pages::new(&shape, &rows, seen, most, &held).map(Arc::new).map_err(|error| match error {
                    TooGreat::Rows => too_many_rows(limits.rows),
                    TooGreat::Bytes => too_many_bytes(limits.snapshot_bytes),
                    TooGreat::Row => Refusal::new(
                        codes::TOO_BIG,
                        "a row is greater than a frame may be; select fewer columns",
                    ),
                })
            }
            Err(SourceError::TooManyRows) => Err(too_many_rows(limits.rows)),
            Err(SourceError::TooBig) => Err(too_many_bytes(limits.snapshot_bytes)),
            Err(SourceError::TooSlow) => Err(too_slow()),
            Err(_) => Err(unavailable()),
        };
        let mut state = self.state.lock();
        let Some(Pending::Snapshot { group, head, tries }) = state.pending.remove(&id) else { return };
        if let Some(group) = state.groups.get_mut(&group) {
            group.snapshot = None;
        }
        let pages = match pages {
            Ok(_) if held.load(Ordering::Relaxed) > limits.held_bytes => {
                let message = "too many clients are reading snapshots; subscribe again later";
                return state
                    .refuse_waiters(group, &Refusal::later(codes::TABLE_UNAVAILABLE, message, RETRY_MS));
            }
            Ok(pages) => pages,
            Err(refusal) => return state.refuse_waiters(group, &refusal),
        };
        let applied = state.ring.behind(&pages.seen, state.head);
        let cut = state.tables.get(shape.table).map_or(0, |table| table.floor);
        // What was trimmed meanwhile may have been missing in the snapshot.
        let known = if pages.seen.is_position() { applied } else { head };
        let missed = state.ring.is_missed(&pages.seen);
        // Others that were asked for may be older than this one.
        if !state.pending.values().any(|pending| matches!(pending, Pending::Snapshot { .. })) {
            state.ring.saw(&pages.seen);
        }
        if missed || state.ring.floor() > known || cut > applied {
            if tries >= TRIES {
                return state.refuse_waiters(group, &unavailable());
            }
            state.want_snapshot(group, tries + 1);
            drop(state);
            return (self.wake)();
        }
        state.give(group, &pages, applied);
        self.wake_if_lagging(&state);
    }

    /// The answer to a [`Wanted::Locate`].
    pub fn located(&self, id: u64, answer: Result<u64, SourceError>) {
        let mut state = self.state.lock();
        let Some(Pending::Locate { sub, tx }) = state.pending.remove(&id) else { return };
        match answer {
            Ok(position) => state.found(sub, &tx, position),
            Err(SourceError::UnknownTx) => state.seen(sub, &tx, Some(codes::UNKNOWN_TX)),
            Err(SourceError::AbortedTx) => state.seen(sub, &tx, Some(codes::ABORTED_TX)),
            // The wait's own time-out tells.
            Err(_) => {}
        }
    }
}

fn too_many_rows(most: usize) -> Refusal {
    Refusal::new(
        codes::TOO_MANY_ROWS,
        format!("a subscription may have at most {most} rows; narrow its filter"),
    )
}

fn too_many_bytes(most: usize) -> Refusal {
    let most = most >> 20;
    Refusal::new(
        codes::TOO_BIG,
        format!("a subscription may have at most {most} MiB of rows; narrow its filter"),
    )
}

fn too_slow() -> Refusal {
    let message = "reading the rows took too long; use eq or in on a column that has an index";
    Refusal::new(codes::TIMEOUT, message)
}
