//! Requests of the tables to their source, and what becomes of the answers.

use super::limits::ENVELOPE;
use super::pages::{Pages, TooLarge};
use super::pending::{Pending, Queued, RequestId};
use super::refusal::{RETRY_MS, Refusal, unavailable};
use super::shape::{RequiredValues, Shape};
use super::state::{Phase, State};
use super::{Cell, Schema, Snapshot, SourceError, Tables};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewire_core::tables::filter::Filter;
use tidewire_core::wire::codes;

/// How often a snapshot is tried. It has to be read again if the log was trimmed meanwhile.
const TRIES: u32 = 3;

/// A request that only the source can answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceRequest {
    /// A snapshot; answer with [`Tables::finish_snapshot`].
    Snapshot(SnapshotRequest),
    /// The position of the commit of a transaction, or a position at which the transaction is over;
    /// answer with [`Tables::finish_locate`]. A transaction that is still running is answered when
    /// it is over, or never.
    Locate {
        /// Goes back with the answer.
        id: RequestId,
        /// The database's name of the transaction.
        tx: String,
    },
}

/// The rows of a table at one moment.
#[derive(Debug)]
pub struct SnapshotRequest {
    /// Goes back with the answer.
    pub id: RequestId,
    /// The table's index in the registry.
    pub table: usize,
    /// Most rows; answer [`SourceError::TooManyRows`] if there are more.
    pub most: usize,
    /// Most bytes of the rows, roughly; answer [`SourceError::TooBig`] if there are more.
    pub most_bytes: usize,
    /// The owner of the work. Sources should share their time fairly between owners.
    pub owner: Arc<str>,
    shape: Arc<Shape>,
}

impl SnapshotRequest {
    /// Whether rows of a table with this schema can be the answer. If not, the table's schema has
    /// changed since the request, or the tables don't know of a change yet: answer
    /// [`SourceError::Unavailable`], and the client subscribes again.
    pub fn is_of(&self, schema: &Schema) -> bool {
        *self.shape.schema == *schema
    }

    /// Whether a row belongs to the answer. Other rows may be in it too, and are ignored.
    pub fn keeps(&self, row: &[Cell]) -> bool {
        self.shape.row_belongs(row)
    }

    /// Filters that all rows of the answer match, for a database that compares exactly as ours
    /// does.
    pub fn filters(&self) -> &[Filter] {
        &self.shape.filters
    }

    /// Conditions that all rows of the answer meet, so that the database can read fewer rows. The
    /// database may read more rows than these, never fewer: where it compares differently, don't
    /// use the condition.
    pub fn required_values(&self) -> Vec<RequiredValues> {
        self.shape.required_values()
    }
}

impl State {
    /// Requests a snapshot for a group, unless one is pending.
    pub(super) fn request_snapshot(&mut self, group: u64, tries: u32) {
        let (id, head) = (self.id(), self.head);
        let Some(group_state) = self.groups.get_mut(&group) else { return };
        if group_state.snapshot.is_some() {
            return;
        }
        group_state.snapshot = Some(id);
        self.shared.log.lock().snapshot_requested();
        self.queue(id, Pending::Snapshot { group, head, tries });
    }

    pub(super) fn request_position(&mut self, sub: u64, tx: String) {
        self.queue(self.id(), Pending::Locate { sub, tx });
    }

    fn queue(&mut self, id: u64, pending: Pending) {
        self.pending.insert(id, pending);
        self.queued.push_back(Queued { id });
        self.after.requests = true;
    }

    fn take_requests(&mut self) -> Vec<SourceRequest> {
        let queued = std::mem::take(&mut self.queued);
        let limits = &self.shared.limits;
        // Requests that are no longer needed are not pending any more.
        let requests = queued.into_iter().filter_map(|Queued { id: number }| {
            let (table, id) = (self.at, RequestId { table: self.at, number });
            match self.pending.get(&number)? {
                Pending::Snapshot { group, .. } => {
                    let group = self.groups.get(group)?;
                    let (shape, owner) = (group.shape.clone(), group.owner.clone());
                    // A cell may take twice as many bytes in memory as in JSON.
                    let (most, most_bytes) = (limits.rows, 2 * limits.snapshot_bytes);
                    Some(SourceRequest::Snapshot(SnapshotRequest {
                        id,
                        table,
                        most,
                        most_bytes,
                        owner,
                        shape,
                    }))
                }
                Pending::Locate { tx, .. } => Some(SourceRequest::Locate { id, tx: tx.clone() }),
            }
        });
        requests.collect()
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
            self.after.ready.push(id);
        }
    }
}

impl Tables {
    /// The new requests to the source. The driver takes them when it is woken, and may answer in
    /// any order.
    pub fn take_requests(&self) -> Vec<SourceRequest> {
        self.states.iter().flat_map(|state| state.lock().take_requests()).collect()
    }

    /// Whether an answer is still needed. A source should check this while it works for long.
    pub fn is_pending(&self, id: RequestId) -> bool {
        let state = self.states.get(id.table);
        state.is_some_and(|state| state.lock().pending.contains_key(&id.number))
    }

    /// The answer to a [`SourceRequest::Snapshot`]. Does nothing if it is no longer needed.
    pub fn finish_snapshot(&self, id: RequestId, answer: Result<Snapshot, SourceError>) {
        let Some(shape) = self.states.get(id.table).and_then(|state| state.lock().shape_of(id)) else {
            return;
        };
        // Encoding takes a while, so it is done without the lock.
        let pages = self.pages(&shape, answer);
        self.with(id.table, |state| state.finish_snapshot(id, pages));
    }

    fn pages(&self, shape: &Shape, answer: Result<Snapshot, SourceError>) -> Result<Arc<Pages>, Refusal> {
        let limits = &self.shared.limits;
        let most_row = limits.frame_bytes.saturating_sub(ENVELOPE);
        let most = (limits.rows, limits.snapshot_bytes, most_row, limits.page_rows.max(1));
        let Snapshot { rows, seen } = answer.map_err(|error| match error {
            SourceError::TooManyRows => too_many_rows(limits.rows),
            SourceError::TooBig => too_many_bytes(limits.snapshot_bytes),
            SourceError::TooSlow => too_slow(),
            _ => unavailable(),
        })?;
        Pages::new(shape, &rows, seen, most, &self.shared.held).map(Arc::new).map_err(|error| match error {
            TooLarge::Rows => too_many_rows(limits.rows),
            TooLarge::Bytes => too_many_bytes(limits.snapshot_bytes),
            TooLarge::Row => {
                Refusal::new(codes::TOO_BIG, "a row is greater than a frame may be; select fewer columns")
            }
        })
    }

    /// The answer to a [`SourceRequest::Locate`].
    pub fn finish_locate(&self, id: RequestId, answer: Result<u64, SourceError>) {
        self.with(id.table, |state| {
            let Some(Pending::Locate { sub, tx }) = state.pending.remove(&id.number) else { return };
            match answer {
                Ok(position) => state.found(sub, &tx, position),
                Err(SourceError::UnknownTx) => state.answer_wait(sub, &tx, Some(codes::UNKNOWN_TX)),
                Err(SourceError::AbortedTx) => state.answer_wait(sub, &tx, Some(codes::ABORTED_TX)),
                // The wait ends by its own time-out.
                Err(_) => {}
            }
        });
    }
}

impl State {
    /// The shape of a pending snapshot request.
    fn shape_of(&self, id: RequestId) -> Option<Arc<Shape>> {
        let Pending::Snapshot { group, .. } = self.pending.get(&id.number)? else { return None };
        Some(self.groups.get(group)?.shape.clone())
    }

    /// Gives a snapshot to the subscriptions that wait for it, unless a commit is neither in it nor
    /// in the log.
    fn finish_snapshot(&mut self, id: RequestId, pages: Result<Arc<Pages>, Refusal>) {
        let Some(Pending::Snapshot { group, head, tries }) = self.pending.remove(&id.number) else { return };
        if let Some(group) = self.groups.get_mut(&group) {
            group.snapshot = None;
        }
        self.shared.log.lock().snapshot_finished();
        let pages = match pages {
            Ok(_) if self.shared.held.load(Ordering::Relaxed) > self.shared.limits.held_bytes => {
                let message = "too many clients are reading snapshots; subscribe again later";
                let refusal = Refusal::later(codes::TABLE_UNAVAILABLE, message, RETRY_MS);
                return self.refuse_waiters(group, &refusal);
            }
            Ok(pages) => pages,
            Err(refusal) => return self.refuse_waiters(group, &refusal),
        };
        let applied = self.history.behind(&pages.seen, self.head);
        // A commit that was trimmed meanwhile may be missing in the snapshot.
        let known = if pages.seen.is_position() { applied } else { head };
        let missed = self.shared.log.lock().is_missed(&pages.seen);
        if missed || self.history.floor() > known || self.cut > applied {
            match tries < TRIES {
                true => self.request_snapshot(group, tries + 1),
                false => self.refuse_waiters(group, &unavailable()),
            }
            return;
        }
        self.give(group, &pages, applied);
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
