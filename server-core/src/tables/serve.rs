//! How one subscription gets from its first answer to its feed: pages of a snapshot, commits from
//! the log, then `tbl.live`.
//!
//! The next frame is chosen under the table's lock ([`State::step`]), encoded without it, and
//! queued under it again if the subscription has not changed meanwhile ([`State::take`]).

use super::Tables;
use super::catch_up::{Batch, Slice};
use super::cost::work;
use super::cursor::Cursor;
use super::history::Entry;
use super::limits::ENVELOPE;
use super::pages::Pages;
use super::shape::Shape;
use super::state::{Audience, Phase, State, Sub, feed};
use crate::outgoing::Offered;
use crate::text::Text;
use std::collections::VecDeque;
use std::sync::Arc;
use tidewire_core::wire::{TableFrame, TableLink, TableOk, TablePage, TableShape};

/// Resubscribe jitter when few subscriptions are reset, in ms.
const SHORT_SPREAD_MS: u64 = 1_000;

/// The next frame of a subscription, not encoded yet.
enum Step {
    /// The answer that its cursor was resumed.
    Resumed(Answer),
    /// A page of its snapshot.
    Page { answer: Answer, pages: Arc<Pages>, at: usize, reason: Option<&'static str> },
    /// Commits from the log.
    Commits(Box<Slice>),
}

/// An answer to a subscription.
struct Answer {
    sub: u64,
    sid: String,
    shape: Arc<Shape>,
    epoch: Option<Arc<str>>,
    /// The position up to which it has everything.
    applied: u64,
}

/// The next frame, encoded.
enum Done {
    Resumed { sub: u64, applied: u64, frame: Text },
    Page { sub: u64, pages: Arc<Pages>, at: usize, more: bool, reason: Option<&'static str>, frame: Text },
    Commits(Box<Slice>, Batch),
}

impl Tables {
    /// Sends subscriptions what they need, as far as there is room in their queues. Much work is
    /// left to the driver.
    pub(super) fn serve(&self, at: usize, ready: Vec<u64>) {
        let mut left = self.shared.limits.at_once;
        let mut ready = VecDeque::from(ready);
        while let Some(sub) = ready.pop_front() {
            let Some((step, more)) = self.only_with(at, |state| state.step(sub, &mut left)) else { return };
            ready.extend(more);
            let Some(done) = step.and_then(Step::encode) else { continue };
            let Some(((), more)) = self.only_with(at, |state| state.take(done)) else { return };
            // The same subscription continues before the others.
            more.into_iter().rev().for_each(|sub| ready.push_front(sub));
        }
    }

    /// Does one slice of the work that was left to the driver, for each owner in turn; true if
    /// there is more.
    pub(super) fn serve_slice(&self, at: usize) -> bool {
        let Some(Some(slice)) = self.with(at, State::next_slice) else { return false };
        let batch = slice.read();
        self.with(at, |state| {
            state.take(Done::Commits(Box::new(slice), batch));
            !state.lagging.is_empty()
        })
        .unwrap_or_default()
    }
}

impl Step {
    /// `None` if there is no such page.
    fn encode(self) -> Option<Done> {
        match self {
            Step::Resumed(answer) => {
                let page = TablePage { rows: Vec::new(), more: false };
                let frame = answer.first(true, None, page);
                Some(Done::Resumed { sub: answer.sub, applied: answer.applied, frame })
            }
            Step::Page { answer, pages, at, reason } => {
                let page = pages.page(at)?;
                let (sub, more) = (answer.sub, page.more);
                let frame = match at {
                    0 => answer.first(false, reason, page),
                    _ => TableFrame::Page { sid: answer.sid, page }.encode().into(),
                };
                Some(Done::Page { sub, pages, at, more, reason, frame })
            }
            Step::Commits(slice) => {
                let batch = slice.read();
                Some(Done::Commits(slice, batch))
            }
        }
    }
}

impl Answer {
    /// The first frame, with this page.
    fn first(&self, resumed: bool, reason: Option<&'static str>, page: TablePage) -> Text {
        let go_on = || Some(Cursor::encode(self.epoch.as_deref()?, self.applied, self.shape.hash));
        let cursor = if resumed { go_on() } else { None };
        let frame = TableFrame::Ok(TableOk {
            sid: self.sid.clone(),
            resumed,
            reason: reason.map(str::to_owned),
            shape: TableShape { columns: self.shape.columns(), key: self.shape.key() },
            // Before the `pos` of all other frames.
            link: TableLink { prev: None, pos: 0, cursor },
            page,
        });
        frame.encode().into()
    }
}

impl State {
    /// The next frame of a subscription. Takes its estimated work from `left`; if there is too
    /// little, it is left to the driver.
    fn step(&mut self, id: u64, left: &mut usize) -> Option<Step> {
        self.early.remove(&id);
        let sub = self.subs.get(&id)?;
        let shape = self.groups.get(&sub.group)?.shape.clone();
        let (sid, epoch, applied) = (sub.sid.clone(), self.epoch.clone(), sub.applied);
        let answer = Answer { sub: id, sid, shape, epoch, applied };
        match &sub.phase {
            Phase::Waiting(_) | Phase::Live | Phase::Reading { asked: false, .. } => None,
            Phase::Resuming => Some(Step::Resumed(answer)),
            Phase::Reading { pages, next, reason, .. } => {
                Some(Step::Page { answer, pages: pages.clone(), at: *next, reason: *reason })
            }
            Phase::Behind(_) => self.commits(id, left),
        }
    }

    /// The next commits for a subscription. If it has all, it joins the feed and the result is
    /// `None`.
    fn commits(&mut self, id: u64, left: &mut usize) -> Option<Step> {
        let sub = self.subs.get(&id)?;
        let shape = &self.groups.get(&sub.group)?.shape;
        if sub.applied < self.history.floor() {
            self.reset(id, "trimmed", SHORT_SPREAD_MS);
            return None;
        }
        let mut sum = 0;
        let fits = |entry: &&Entry| {
            sum += work(shape, &entry.logged);
            sum <= *left
        };
        let entries: Vec<Entry> = self.history.after(sub.applied).take_while(fits).cloned().collect();
        if sum > *left {
            self.lag(id);
            return None;
        }
        if entries.is_empty() {
            self.go_live(id);
            return None;
        }
        *left = left.saturating_sub(sum + ENVELOPE / 4);
        let slice = self.slice(id, entries, Some(self.head), false)?;
        Some(Step::Commits(Box::new(slice)))
    }

    /// A slice of the log for a subscription.
    pub(super) fn slice(
        &self,
        id: u64,
        entries: Vec<Entry>,
        upto: Option<u64>,
        in_turn: bool,
    ) -> Option<Slice> {
        let sub = self.subs.get(&id)?;
        let Phase::Behind(pages) = &sub.phase else { return None };
        Some(Slice {
            sub: id,
            sid: sub.sid.clone(),
            shape: self.groups.get(&sub.group)?.shape.clone(),
            pages: pages.clone(),
            entries,
            from: (sub.last, sub.applied),
            upto,
            most: self.shared.limits.frame_bytes,
            epoch: self.epoch.clone(),
            generation: self.generation,
            in_turn,
        })
    }

    /// Queues an encoded frame, unless the subscription has changed since. The subscription is then
    /// ready for the next one.
    fn take(&mut self, done: Done) {
        match done {
            Done::Resumed { sub: id, applied, frame } => {
                let is = |sub: &Sub| matches!(sub.phase, Phase::Resuming) && sub.applied == applied;
                if self.subs.get(&id).is_some_and(is) && self.offer(id, &frame) {
                    self.enter(id, Phase::Behind(None));
                }
            }
            Done::Page { sub: id, pages, at, more, reason, frame } => {
                let Some(sub) = self.subs.get(&id) else { return };
                let is = match &sub.phase {
                    Phase::Reading { pages: of, next, asked: true, .. } => {
                        Arc::ptr_eq(of, &pages) && *next == at
                    }
                    _ => false,
                };
                if is && self.offer(id, &frame) {
                    self.enter(
                        id,
                        match more {
                            true => Phase::Reading { pages, next: at + 1, asked: false, reason },
                            false => Phase::Behind(Some(pages)),
                        },
                    );
                }
            }
            Done::Commits(slice, batch) => self.take_slice(&slice, batch),
        }
    }

    /// Changes the phase; there may be a next frame.
    fn enter(&mut self, id: u64, phase: Phase) {
        if let Some(sub) = self.subs.get_mut(&id) {
            sub.phase = phase;
            self.after.ready.push(id);
        }
    }

    fn take_slice(&mut self, slice: &Slice, batch: Batch) {
        let Some(sub) = self.subs.get(&slice.sub) else { return };
        if !matches!(sub.phase, Phase::Behind(_)) || !slice.is_of(sub, self.generation) {
            // Another thread has sent it meanwhile.
            return self.after.ready.push(slice.sub);
        }
        if let Some(reason) = batch.reset {
            return self.reset(slice.sub, reason, SHORT_SPREAD_MS);
        }
        if batch.frame.as_ref().is_some_and(|frame| !self.offer(slice.sub, frame)) {
            return;
        }
        if let Some(sub) = self.subs.get_mut(&slice.sub) {
            (sub.last, sub.applied) = (batch.last, batch.applied);
        }
        match batch.more && slice.in_turn {
            true => self.lag(slice.sub),
            false => self.after.ready.push(slice.sub),
        }
    }

    /// Queues a frame; false if there is no room, or the connection is ending.
    fn offer(&mut self, id: u64, frame: &Text) -> bool {
        let Some(sub) = self.subs.get(&id) else { return false };
        match sub.outgoing.offer(frame, &mut self.after.due) {
            Offered::Queued => true,
            Offered::Full => false,
            Offered::Over => {
                self.remove(id);
                false
            }
        }
    }

    /// The cursor of a group at a position.
    pub(super) fn cursor(&self, hash: u64, position: u64) -> Option<String> {
        Some(Cursor::encode(self.epoch.as_deref()?, position, hash))
    }

    /// Lets a subscription that has everything join its feed. It has to wait if its snapshot is
    /// ahead of the head, or if a commit is in flight that the feed would not give it.
    fn go_live(&mut self, id: u64) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        let Phase::Behind(pages) = &sub.phase else { return };
        let ahead = pages.as_ref().map_or(0, |pages| pages.seen.end()).max(sub.applied) > self.head;
        sub.applied = sub.applied.max(self.head);
        let (group_id, last, sid) = (sub.group, sub.last, sub.sid.clone());
        if ahead || self.flight.as_ref().is_some_and(|flight| !flight.covers(group_id)) {
            self.early.insert(id);
            return;
        }
        if self.groups.get(&group_id).is_some_and(|group| group.live.is_empty()) {
            // The feed is empty, so nobody notices that numbers are skipped.
            let (pos, told) = (self.pos_between(), (self.head, self.now));
            if let Some(group) = self.groups.get_mut(&group_id) {
                (group.last, group.notified) = (pos, told);
            }
        }
        let Some(group) = self.groups.get(&group_id) else { return };
        let (pos, hash) = (group.last, group.shape.hash);
        let link = TableLink { prev: Some(last), pos, cursor: self.cursor(hash, self.head) };
        let frame = TableFrame::Live { sid, feed: feed(group_id), link };
        if self.offer(id, &frame.encode().into()) {
            self.join(id);
        }
        self.answer_waits(id);
    }

    fn join(&mut self, id: u64) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        sub.phase = Phase::Live;
        let Some(group) = self.groups.get_mut(&sub.group) else { return };
        let outgoing: &Arc<_> = &sub.outgoing;
        let audience = group
            .live
            .entry(outgoing.id())
            .or_insert_with(|| Audience { outgoing: outgoing.clone(), subs: Vec::new() });
        audience.subs.push(id);
    }
}
