//! One subscription at the server: its requests, and how frames are checked and applied.

use super::query::Question;
use super::rows::{Moved, Rows};
use crate::retry::Retry;
use crate::rng::Rng;
use crate::time::Time;
use crate::wire::codes;
use crate::wire::json::{self, Object, Writer};
use crate::wire::{
    Problem, TableLink, TableOk, TablePage, TableRequest, TableShape, TableSub, TableTx, Transaction,
};

/// How long an answer may take before the request is repeated, in ms. A snapshot may be large.
const ANSWER_MS: u64 = 60_000;
/// The retry policy for refused subscriptions.
const RETRY: Retry = Retry::new(1_000, 30_000);
/// After this many repairs in a row without progress the client subscribes without its cursor.
const REPAIRS: u32 = 3;

/// The state of a subscription.
enum Phase {
    /// To be requested, not before this time.
    Idle { not_before: Time },
    /// Requested; the answer is due at `until`.
    Asked { until: Time },
    /// The pages of a snapshot are coming.
    Snapshot { shape: TableShape, rows: Vec<String>, cursor: Option<String>, until: Time },
    /// The rows are a complete snapshot or were resumed, and later transactions are coming.
    Catching { until: Time },
    /// All committed transactions have come.
    Live,
    /// Refused for good.
    Failed { code: String, message: String, at: Option<u64> },
}

/// The outcome of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing visible.
    Nothing,
    /// The next page is to be requested.
    More,
    /// The rows are known for the first time.
    First,
    /// The subscription was refused for good; its rows are gone.
    Refused,
    /// Rows changed; the shape is that of the rows before.
    Changed(TableShape, Vec<Step>),
    /// The subscription is live.
    Live,
    /// The server ended the subscription, and the client subscribes again.
    Reset,
    /// The client missed something and subscribes again.
    Repair,
}

/// Changes that become visible together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The transaction's id and the time of its commit, ms since the Unix epoch; none for changes
    /// by a new snapshot.
    pub(crate) tx: Option<(String, u64)>,
    pub(crate) changes: Vec<Moved>,
}

pub(crate) struct Subscription {
    pub(crate) sid: String,
    pub(crate) question: Question,
    phase: Phase,
    /// None before the first snapshot.
    known: Option<(TableShape, Rows)>,
    cursor: Option<String>,
    /// The position of the last frame applied on this connection.
    pos: Option<u64>,
    feed: Option<String>,
    /// The subscription was live when another connection took over, and it still counts as live.
    steady: bool,
    refusals: u32,
    repairs: u32,
    /// Transactions that views wait for: the view's number and the transaction's id.
    pub(crate) waits: Vec<(u32, String)>,
    /// When the rows are to be stored.
    pub(crate) keep_at: Option<Time>,
}

impl Subscription {
    pub(crate) fn new(sid: String, question: Question, kept: Option<&str>) -> Subscription {
        let restored = kept.and_then(|record| read_record(record, &question));
        let (known, cursor) = match restored {
            Some((shape, rows, cursor)) => (Some((shape, rows)), Some(cursor)),
            None => (None, None),
        };
        Subscription {
            sid,
            question,
            phase: Phase::Idle { not_before: Time(0) },
            known,
            cursor,
            pos: None,
            feed: None,
            steady: false,
            refusals: 0,
            repairs: 0,
            waits: Vec::new(),
            keep_at: None,
        }
    }

    pub(crate) fn known(&self) -> Option<&(TableShape, Rows)> {
        self.known.as_ref()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.steady || matches!(self.phase, Phase::Live)
    }

    /// Code, message and position of a final refusal.
    pub(crate) fn failure(&self) -> Option<(&str, &str, Option<u64>)> {
        match &self.phase {
            Phase::Failed { code, message, at } => Some((code, message, *at)),
            _ => None,
        }
    }

    /// Whether the server knows the subscription on this connection.
    pub(crate) fn is_asked(&self) -> bool {
        !matches!(self.phase, Phase::Idle { .. } | Phase::Failed { .. })
    }

    pub(crate) fn follows(&self, feed: &str) -> bool {
        self.feed.as_deref() == Some(feed)
    }

    /// Tries again after a final refusal, whose reason may be gone.
    pub(crate) fn ask_again(&mut self) {
        if matches!(self.phase, Phase::Failed { .. }) {
            self.idle(Time(0));
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if !matches!(self.phase, Phase::Failed { .. }) {
            self.idle(Time(0));
        }
    }

    /// A connection begins. It may take over from one that still works.
    pub(crate) fn connected(&mut self) {
        let live = self.is_live();
        self.disconnected();
        self.steady = live;
    }

    /// Another user signed in: forgets the rows, and tries again if the subscription was refused.
    pub(crate) fn forget(&mut self) {
        self.known = None;
        self.cursor = None;
        self.keep_at = None;
        self.idle(Time(0));
    }

    fn idle(&mut self, not_before: Time) {
        self.phase = Phase::Idle { not_before };
        self.pos = None;
        self.feed = None;
        self.steady = false;
    }

    pub(crate) fn deadline(&self, online: bool) -> Option<Time> {
        if !online {
            return None;
        }
        match &self.phase {
            Phase::Idle { not_before } => Some(*not_before),
            Phase::Asked { until } | Phase::Snapshot { until, .. } | Phase::Catching { until } => {
                Some(*until)
            }
            Phase::Live | Phase::Failed { .. } => None,
        }
    }

    /// The next request, if one is due.
    pub(crate) fn ask(&mut self, now: Time) -> Option<TableRequest> {
        match &self.phase {
            Phase::Idle { not_before } if *not_before <= now => {}
            Phase::Asked { until } | Phase::Snapshot { until, .. } | Phase::Catching { until }
                if *until <= now => {}
            _ => return None,
        }
        let steady = self.steady;
        self.idle(now);
        self.steady = steady;
        self.phase = Phase::Asked { until: now.after(ANSWER_MS) };
        let Question { table, filter, select } = self.question.clone();
        let cursor = self.cursor.clone().filter(|_| self.known.is_some());
        Some(TableRequest::Sub(TableSub { sid: self.sid.clone(), table, filter, select, cursor }))
    }

    /// The server accepted the subscription.
    pub(crate) fn ok(&mut self, now: Time, rng: &mut Rng, ok: &TableOk) -> Outcome {
        if !matches!(self.phase, Phase::Asked { .. }) {
            return Outcome::Nothing;
        }
        self.pos = Some(ok.link.pos);
        if ok.resumed {
            if self.known.as_ref().is_none_or(|(known, _)| *known != ok.shape) {
                return self.start_over(now, rng);
            }
            self.cursor = ok.link.cursor.clone().or(self.cursor.take());
            self.phase = Phase::Catching { until: now.after(ANSWER_MS) };
            return Outcome::Nothing;
        }
        self.steady = false;
        let until = now.after(ANSWER_MS);
        let (shape, cursor) = (ok.shape.clone(), ok.link.cursor.clone());
        self.phase = Phase::Snapshot { shape, rows: Vec::new(), cursor, until };
        self.page(now, rng, &ok.page)
    }

    /// A page of the snapshot.
    pub(crate) fn page(&mut self, now: Time, rng: &mut Rng, page: &TablePage) -> Outcome {
        let Phase::Snapshot { rows, until, .. } = &mut self.phase else { return Outcome::Nothing };
        rows.extend_from_slice(&page.rows);
        *until = now.after(ANSWER_MS);
        if page.more {
            return Outcome::More;
        }
        let until = now.after(ANSWER_MS);
        let phase = std::mem::replace(&mut self.phase, Phase::Catching { until });
        let Phase::Snapshot { shape, rows, cursor, .. } = phase else { return Outcome::Nothing };
        let Ok(rows) = Rows::read(&shape, rows) else { return self.start_over(now, rng) };
        self.cursor = cursor;
        let changes = self
            .known
            .as_ref()
            .map(|(old_shape, old)| (old_shape.clone(), rows.changes_since(&shape, old, old_shape)));
        self.known = Some((shape, rows));
        match changes {
            Some((old_shape, changes)) => Outcome::Changed(old_shape, vec![Step { tx: None, changes }]),
            None => Outcome::First,
        }
    }

    /// Transactions; all of them are applied, or none.
    pub(crate) fn tx(&mut self, now: Time, rng: &mut Rng, tx: &TableTx) -> Outcome {
        match self.sequence(now, &tx.link) {
            Sequence::Next => {}
            Sequence::Duplicate => return Outcome::Nothing,
            Sequence::Gap => return Outcome::Repair,
        }
        let Some((shape, rows)) = &mut self.known else { return self.start_over(now, rng) };
        let changes = tx.txs.iter().flat_map(|tx| &tx.changes);
        let Ok(moved) = rows.apply(shape, changes) else { return self.start_over(now, rng) };
        let (shape, mut moved) = (shape.clone(), moved.into_iter());
        self.stepped(now, &tx.link);
        let steps = tx.txs.iter().map(|Transaction { tx, at, changes }| Step {
            tx: Some((tx.clone(), *at)),
            changes: moved.by_ref().take(changes.len()).collect(),
        });
        Outcome::Changed(shape, steps.collect())
    }

    /// Nothing was committed up to this position.
    pub(crate) fn mark(&mut self, now: Time, link: &TableLink) -> Outcome {
        match self.sequence(now, link) {
            Sequence::Next => self.stepped(now, link),
            Sequence::Duplicate => {}
            Sequence::Gap => return Outcome::Repair,
        }
        Outcome::Nothing
    }

    /// All committed transactions have come; later ones come in a feed.
    pub(crate) fn live(&mut self, now: Time, feed: &str, link: &TableLink) -> Outcome {
        if self.is_taking_rows() || !self.is_asked() {
            return Outcome::Nothing;
        }
        // A feed has positions of its own, so they may be below the last position here.
        if link.prev != self.pos {
            return self.repair(now);
        }
        self.stepped(now, link);
        self.feed = Some(feed.to_owned());
        self.refusals = 0;
        self.steady = false;
        self.phase = Phase::Live;
        Outcome::Live
    }

    /// The server ended the subscription. The rows stay, to be compared with the next snapshot.
    pub(crate) fn reset(&mut self, now: Time, wait_ms: u64) -> Outcome {
        if self.is_asked() {
            self.cursor = None;
            self.idle(now.after(wait_ms));
        }
        Outcome::Reset
    }

    /// The server refused it.
    pub(crate) fn refuse(
        &mut self,
        now: Time,
        problem: &Problem,
        at: Option<u64>,
        retryable: bool,
        rng: &mut Rng,
    ) -> Outcome {
        if !self.is_asked() {
            return Outcome::Nothing;
        }
        if problem.code == codes::NOT_SUBSCRIBED {
            return self.unknown(now);
        }
        if !retryable {
            return self.fail(problem.code.clone(), problem.message.clone(), at);
        }
        let delay_ms = RETRY.delay(self.refusals, problem.retry_after_ms.unwrap_or(0), rng);
        self.refusals = self.refusals.saturating_add(1);
        self.idle(now.after(delay_ms));
        Outcome::Nothing
    }

    /// The server does not know the subscription: a request crossed a reset. If the client has
    /// subscribed again since, that request will be answered.
    fn unknown(&mut self, now: Time) -> Outcome {
        if matches!(self.phase, Phase::Asked { .. }) {
            return Outcome::Nothing;
        }
        self.idle(now);
        Outcome::Reset
    }

    /// Refused for good: the rows are deleted, because this user may not read them.
    fn fail(&mut self, code: String, message: String, at: Option<u64>) -> Outcome {
        self.forget();
        self.phase = Phase::Failed { code, message, at };
        Outcome::Refused
    }

    fn is_taking_rows(&self) -> bool {
        matches!(self.phase, Phase::Asked { .. } | Phase::Snapshot { .. })
    }

    /// How a frame continues what was applied. A gap starts a repair.
    fn sequence(&mut self, now: Time, link: &TableLink) -> Sequence {
        let Some(pos) = self.pos.filter(|_| self.is_asked()) else { return Sequence::Duplicate };
        if link.pos <= pos {
            return Sequence::Duplicate;
        }
        if link.prev == Some(pos) && !self.is_taking_rows() {
            return Sequence::Next;
        }
        self.repair(now);
        Sequence::Gap
    }

    /// Something was missed: subscribes again, at first with the cursor.
    fn repair(&mut self, now: Time) -> Outcome {
        self.repairs += 1;
        if self.repairs > REPAIRS {
            self.cursor = None;
        }
        self.idle(now);
        Outcome::Repair
    }

    fn stepped(&mut self, now: Time, link: &TableLink) {
        self.pos = Some(link.pos);
        self.repairs = 0;
        if let Phase::Catching { until } = &mut self.phase {
            *until = now.after(ANSWER_MS);
        }
        if link.cursor.is_some() {
            self.cursor.clone_from(&link.cursor);
        }
    }

    /// A frame does not fit the known rows: subscribes again without the cursor.
    fn start_over(&mut self, now: Time, rng: &mut Rng) -> Outcome {
        self.cursor = None;
        self.repairs += 1;
        // A pause keeps a faulty server from causing a loop.
        let pause_ms = if self.repairs > REPAIRS { RETRY.delay(self.repairs, 0, rng) } else { 0 };
        self.idle(now.after(pause_ms));
        Outcome::Repair
    }

    /// The record for the store, with this wall time. None if there is nothing that can be resumed,
    /// or if the rows are longer than `most` bytes.
    pub(crate) fn record(&self, wall: u64, most: usize) -> Option<String> {
        let ((shape, rows), cursor) = (self.known.as_ref()?, self.cursor.as_ref()?);
        if rows.bytes() > most || matches!(self.phase, Phase::Asked { .. } | Phase::Snapshot { .. }) {
            return None;
        }
        let writer =
            Writer::object().str("question", &self.question.name()).u64("at", wall).str("cursor", cursor);
        Some(shape.write(writer).array("rows", rows.iter().map(|entry| &*entry.row)).end())
    }
}

enum Sequence {
    /// It follows the last one.
    Next,
    /// It was applied already, or belongs to an earlier subscription.
    Duplicate,
    /// Frames in between are missing.
    Gap,
}

impl Question {
    /// A text that identifies the question.
    pub(crate) fn name(&self) -> String {
        let mut name = self.table.clone();
        // The length says where the filter ends, so a line break in the filter can't be taken for a
        // separator.
        name.push('\n');
        json::push_integer(&mut name, self.filter.len() as u64);
        name.push('\n');
        name.push_str(&self.filter);
        if let Some(select) = &self.select {
            name.push('\n');
            name.push_str(&select.join(","));
        }
        name
    }
}

/// The wall time of a record, ms since the Unix epoch; 0 if it can't be read.
pub(crate) fn kept_at(record: &str) -> u64 {
    let object = json::validate(record).and_then(Object::parse);
    object.ok().and_then(|object| object.u64("at")).unwrap_or(0)
}

fn read_record(record: &str, question: &Question) -> Option<(TableShape, Rows, String)> {
    let object = Object::parse(json::validate(record).ok()?).ok()?;
    if object.str("question")? != question.name() {
        return None;
    }
    let shape = TableShape::read(&object).ok()?;
    let rows = object.array("rows")?.into_iter().map(str::to_owned).collect();
    let rows = Rows::read(&shape, rows).ok()?;
    Some((shape, rows, object.text("cursor")?))
}
