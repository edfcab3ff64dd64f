//! How a table's feeds are sent commits, and marks while nothing happens.
//!
//! A commit takes three steps. Under the table's lock the index finds the groups that it may
//! concern ([`State::begin`]). Without the lock rows are matched and frames encoded
//! ([`Plan::work_out`]). Under the lock again the frames are queued for the feeds' subscribers of
//! that time ([`State::hand_out`]), and the table's head moves ([`State::finish_flight`]).
//!
//! Every subscriber gets each commit exactly once:
//!
//! - One commit of a table is in flight at a time, the one after its head, so frames are sent in
//!   the order of the log. The head moves when the flight is finished. Until then a subscriber that
//!   reads the log ends before this commit.
//! - A subscriber that joins a feed has everything up to the head. If the flight covers the feed,
//!   the subscriber gets the commit from the feed. Otherwise it does not join yet and reads the
//!   commit from the log ([`super::state::Flight::covers`]). That is so if the group is newer than
//!   the flight, its feed was empty, or its frames were queued already.
//! - A subscriber that leaves a feed gets no frames from it. One that leaves because its queue is
//!   full has everything up to the head, and reads the commit from the log.
//! - Whatever ends all subscriptions during a flight begins a new generation of the table
//!   ([`State::generation`]). Results of an earlier generation are dropped.

use super::cost::{MATCHING, encoding, work};
use super::frame_pos;
use super::history::Entry;
use super::index::Member;
use super::limits::ENVELOPE;
use super::log::Standing;
use super::matching::{Membership, RowChange};
use super::pending::Pending;
use super::plan::{Feed, News, Plan, What};
use super::ring::{Logged, Next};
use super::state::{Phase, State, Sub, feed};
use super::work::{OF_A_COMMIT, OF_A_SLICE};
use super::{Change, Tables};
use crate::outgoing::Offered;
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{TableAddress, TableFrame, TableLink, codes};

/// A feed without a frame for this long gets a mark with its position, in ms. With a tick every
/// second, marks are less than ten seconds apart.
const MARK_MS: u64 = 8_000;
/// Most changes that are looked up, or feeds that are marked, before the lock is released for
/// others.
const AT_A_TIME: usize = 512;

/// A group that a change may concern.
struct Concern {
    group: u64,
    /// `None` if the change has to be matched.
    belongs: Membership,
}

/// The state of a commit's flight.
enum Step<'a> {
    /// Some of its changes have not been looked up.
    Looking(Plan<'a>),
    /// The frames of these feeds have to be encoded. The number is the estimated work, in bytes.
    Working(Plan<'a>, Vec<Feed>, usize),
    /// All feeds have the commit.
    Finished,
    /// The driver has to do it.
    Left,
    /// Another thread does it, or it is no longer needed.
    Over,
}

/// What the driver does next for a table.
enum Found {
    Commit(Arc<Logged>, u64),
    Nothing,
    /// Another thread has a commit in flight.
    Busy,
}

impl Tables {
    /// Sends a commit that was just published to a table's feeds, if it is the next one and little
    /// work.
    pub(super) fn publish_now(&self, at: usize, logged: &Arc<Logged>, floor: u64) {
        let most = Some(self.shared.limits.at_once);
        match self.try_with(at, |state| state.begin(logged, floor, most)) {
            Some((step, ready)) => {
                self.serve(at, ready);
                self.fly(at, step, floor, most);
            }
            // Another thread has the lock; the other tables must not wait for it.
            None => self.wake(super::Woken::Work(at)),
        }
    }

    /// Sends the next commits to a table's feeds for some ms; true if there may be more.
    pub(super) fn publish_some(&self, at: usize) -> bool {
        let mut left = OF_A_SLICE * self.shared.limits.at_once;
        loop {
            let (logged, floor) = match self.with(at, State::find) {
                Some(Found::Commit(logged, floor)) => (logged, floor),
                Some(Found::Nothing | Found::Busy) | None => return false,
            };
            let Some(step) = self.with(at, |state| state.begin(&logged, floor, None)) else { return false };
            left = left.saturating_sub(self.fly(at, step, floor, None));
            if left == 0 {
                return true;
            }
        }
    }

    /// Runs a flight to its end, and returns the estimated work.
    fn fly(&self, at: usize, mut step: Step<'_>, floor: u64, most: Option<usize>) -> usize {
        loop {
            step = match step {
                Step::Looking(plan) => match self.with(at, |state| state.look(plan, floor, most)) {
                    Some(next) => next,
                    None => return 0,
                },
                Step::Working(plan, feeds, work) => {
                    self.work_out(at, plan, feeds, floor);
                    return work;
                }
                Step::Finished | Step::Left | Step::Over => return 0,
            }
        }
    }

    fn work_out(&self, at: usize, mut plan: Plan<'_>, feeds: Vec<Feed>, floor: u64) {
        let mut feeds = feeds.into_iter();
        loop {
            let (news, last) = (plan.work_out(&mut feeds), feeds.len() == 0);
            let marks_due = self.with(at, |state| {
                if plan.generation != state.generation {
                    return None;
                }
                state.hand_out(&plan, news, last);
                if last {
                    state.finish_flight(&plan, floor);
                }
                Some(last && std::mem::take(&mut state.marks_due))
            });
            match marks_due.flatten() {
                Some(false) if !last => {}
                Some(true) => return self.mark_quiet(at),
                Some(false) | None => return,
            }
        }
    }

    /// Sends marks to quiet feeds. If a commit is in flight, this is done when it is finished.
    pub(super) fn mark_quiet(&self, at: usize) {
        let quiet = self.with(at, State::quiet).unwrap_or_default();
        for some in quiet.chunks(AT_A_TIME) {
            self.with(at, |state| state.mark(some));
        }
    }
}

impl State {
    /// Finds what comes next for the table.
    fn find(&mut self) -> Found {
        if self.flight.is_some() {
            return Found::Busy;
        }
        loop {
            let (next, standing) = self.shared.log.lock().next(self.next);
            match next {
                Next::Commit(logged) => return Found::Commit(logged, standing.floor),
                Next::Gone(first) => self.overrun(standing.floor, first),
                Next::Nothing => {
                    self.advance(standing);
                    return Found::Nothing;
                }
            }
        }
    }

    /// Begins a commit's flight. With `most`, no more work than that is done here.
    fn begin<'a>(&mut self, logged: &'a Arc<Logged>, floor: u64, most: Option<usize>) -> Step<'a> {
        if self.flight.is_some() {
            // The other thread looks for the next commit when it is done.
            return Step::Over;
        }
        let changes = logged.commit.changes.len();
        let much = most.is_some() && changes > AT_A_TIME && !self.groups.is_empty();
        if logged.seq != self.next || much {
            self.after.work |= most.is_some();
            return Step::Left;
        }
        if logged.bytes_of(self.at) == 0 {
            self.move_head(logged, floor);
            return Step::Finished;
        }
        let number = self.begin_flight();
        let most_bytes = self.shared.limits.frame_bytes.saturating_sub(ENVELOPE);
        let mut plan = Plan::new(logged, self.generation, number, self.epoch.clone(), most_bytes);
        if self.groups.is_empty() {
            plan.next = changes;
        }
        self.look(plan, floor, most)
    }

    /// Looks up the groups that some of the changes may concern.
    fn look<'a>(&mut self, mut plan: Plan<'a>, floor: u64, most: Option<usize>) -> Step<'a> {
        if plan.generation != self.generation {
            return Step::Over;
        }
        let changes = plan.commit().changes.iter().enumerate().skip(plan.next);
        for (at, change) in changes.take(AT_A_TIME).filter(|(_, change)| change.table() == self.at) {
            let (groups, pair) = self.concerned(change);
            plan.found += groups.len();
            if most.is_some_and(|most| plan.found * MATCHING > most) {
                return self.leave();
            }
            if let Some(pair) = pair.filter(|_| !groups.is_empty()) {
                plan.pairs.insert(at, Box::new(pair));
            }
            for Concern { group, belongs } in groups {
                plan.concerned.entry(group).or_default().push((at, belongs));
            }
        }
        plan.next += AT_A_TIME;
        if plan.next < plan.commit().changes.len() {
            return Step::Looking(plan);
        }
        let Some((feeds, work)) = self.feeds(&mut plan, most) else { return self.leave() };
        if feeds.is_empty() {
            self.finish_flight(&plan, floor);
            return Step::Finished;
        }
        Step::Working(plan, feeds, work)
    }

    /// Leaves the commit to the driver, which begins again.
    fn leave<'a>(&mut self) -> Step<'a> {
        self.flight = None;
        self.after.work = true;
        Step::Left
    }

    /// The feeds that get the commit, and the estimated work; `None` if that is more than `most`.
    /// Groups that take much work to match leave their feed and read the commit from the log in
    /// their turn.
    fn feeds(&mut self, plan: &mut Plan<'_>, most: Option<usize>) -> Option<(Vec<Feed>, usize)> {
        let at_once = self.shared.limits.at_once;
        let (mut feeds, mut much, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        let (mut judging, mut sum) = (0, 0);
        for (id, places) in std::mem::take(&mut plan.concerned) {
            let Some(group) = self.groups.get(&id) else { continue };
            if group.live.is_empty() {
                empty.push(id);
                continue;
            }
            let judged = places.iter().any(|(_, belongs)| belongs.is_none());
            let of_this = if judged { MATCHING + work(&group.shape, plan.logged) } else { 0 };
            judging += of_this;
            if of_this > at_once + MATCHING || judging > OF_A_COMMIT * at_once {
                much.push(id);
                continue;
            }
            // Most groups that have to be matched turn out not to be concerned, so encoding is not
            // counted for them.
            sum += if judged { of_this } else { encoding(&group.shape, plan.logged, places.len()) };
            feeds.push(Feed { group: id, shape: group.shape.clone(), last: group.last, places });
        }
        if most.is_some_and(|most| sum > most) {
            return None;
        }
        for id in &much {
            self.lag_group(*id, self.head);
        }
        if let Some(flight) = &mut self.flight {
            flight.closed.extend(empty.into_iter().chain(much));
        }
        Some((feeds, sum))
    }

    /// The groups that a change may concern, ascending, and the row before and after it. A change
    /// that loses the whole table has no row.
    fn concerned<'a>(&self, change: &'a Change) -> (Vec<Concern>, Option<RowChange<'a>>) {
        let Some(mut pair) = RowChange::of(&self.rights.schema, change) else {
            let groups = self.groups_where(|_| true).into_iter();
            return (groups.map(|group| Concern { group, belongs: None }).collect(), None);
        };
        let mut found: Vec<Concern> = Vec::new();
        let rows = [(&mut pair.old, (true, false)), (&mut pair.new, (false, true))];
        for (row, belongs) in rows {
            let Some(row) = row else { continue };
            self.index.find(row, |Member { group, sure }| {
                found.push(Concern { group, belongs: sure.then_some(belongs) });
            });
        }
        found.sort_unstable_by_key(|concern| concern.group);
        found.dedup_by(|next, kept| {
            let same = next.group == kept.group;
            if same {
                let both = kept.belongs.zip(next.belongs);
                kept.belongs = both.map(|(one, other)| (one.0 | other.0, one.1 | other.1));
            }
            same
        });
        (found, Some(pair))
    }

    /// How many groups a change concerns: those to which its row belonged or belongs.
    pub(super) fn reach(&self, change: &Change) -> usize {
        let (mut concerned, mut pair) = self.concerned(change);
        concerned.retain(|concern| {
            let matches = |pair: &mut RowChange<'_>| match self.groups.get(&concern.group) {
                Some(group) => pair.matches(&group.shape.matcher),
                None => Some((false, false)),
            };
            concern.belongs.or_else(|| pair.as_mut().and_then(matches)) != Some((false, false))
        });
        concerned.len()
    }

    /// Queues the encoded frames for the feeds' subscribers. With `last` set the flight is finished
    /// right after.
    fn hand_out(&mut self, plan: &Plan<'_>, news: Vec<News>, last: bool) {
        for News { group: id, what } in news {
            if let Some(flight) = self.flight.as_mut().filter(|_| !last) {
                flight.closed.insert(id);
            }
            let Some(group) = self.groups.get(&id).filter(|group| !group.live.is_empty()) else { continue };
            match what {
                What::Reset(reason) => self.reset_group(id, reason, false),
                What::Frame(frame) => {
                    let frame = frame.behind(group.last);
                    self.send(id, &frame, frame_pos::feed(plan.number), (self.head, plan.commit().position));
                }
            }
        }
    }

    /// Finishes the flight: all feeds have the commit.
    fn finish_flight(&mut self, plan: &Plan<'_>, floor: u64) {
        let (commit, logged) = (plan.commit(), plan.logged.clone());
        for (at, change) in commit.changes.iter().enumerate() {
            if let Change::Lost { table, .. } = change
                && *table == self.at
            {
                self.cut = commit.places.get(at).copied().unwrap_or(commit.position);
            }
        }
        self.flight = None;
        self.history.push(Entry { logged, number: plan.number });
        self.move_head(plan.logged, floor);
        // Another thread may have left the next commit to this one.
        self.after.work |= self.shared.log.lock().standing().end > self.next;
    }

    /// Moves the head after a commit.
    fn move_head(&mut self, logged: &Logged, floor: u64) {
        let commit = &logged.commit;
        (self.head, self.next) = (commit.position, logged.seq + 1);
        self.history.trim(floor);
        for id in self.waiting.clone() {
            self.found(id, &commit.tx, commit.position);
        }
        self.head_moved();
    }

    /// Sends a frame to all subscribers of a feed. Subscribers whose queue is full leave the feed
    /// with everything up to `before`, and catch up from the log.
    fn send(&mut self, id: u64, frame: &Text, pos: u64, (before, head): (u64, u64)) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let last = std::mem::replace(&mut group.last, pos);
        group.notified = (head, self.now);
        let (mut slow, mut over) = (Vec::new(), Vec::new());
        for (conn, audience) in &group.live {
            match audience.outgoing.offer_live(frame, &mut self.after.due) {
                Offered::Queued => {}
                Offered::Full => slow.push(*conn),
                Offered::Over => over.extend(&audience.subs),
            }
        }
        for conn in slow {
            let Some(audience) = group.live.remove(&conn) else { continue };
            for id in audience.subs {
                if let Some(sub) = self.subs.get_mut(&id) {
                    (sub.phase, sub.last, sub.applied) = (Phase::Behind(None), last, before);
                }
            }
        }
        for id in over {
            self.remove(id);
        }
    }

    /// Moves the head to the source's position if the table has all commits before it.
    pub(super) fn advance(&mut self, standing: Standing) {
        if self.flight.is_none() && self.next == standing.end && standing.head > self.head {
            self.head = standing.head;
            self.head_moved();
        }
    }

    /// Called after the head moved: serves subscribers and answers waits that needed this.
    fn head_moved(&mut self) {
        self.after.ready.extend(&self.early);
        for id in self.waiting.clone() {
            self.answer_waits(id);
        }
    }

    /// Notes the time, and trims the history.
    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        let (next, standing) = self.shared.log.lock().next(self.next);
        if let Next::Gone(first) = next {
            self.overrun(standing.floor, first);
        }
        self.history.trim(standing.floor.min(self.head));
    }

    /// Ends waits and snapshots that took too long.
    pub(super) fn expire(&mut self, now: Time) {
        self.reset_slow();
        let late =
            |sub: &u64| self.subs.get(sub).is_some_and(|sub| sub.waits.iter().any(|wait| wait.until <= now));
        let late: Vec<u64> = self.waiting.iter().copied().filter(late).collect();
        for id in late {
            self.time_out(id, now);
        }
    }

    /// The feeds that need a mark.
    fn quiet(&mut self) -> Vec<u64> {
        self.marks_due = self.flight.is_some();
        if self.marks_due {
            return Vec::new();
        }
        let (head, now) = (self.head, self.now);
        self.groups_where(|group| {
            let (told, at) = group.notified;
            !group.live.is_empty() && told < head && now.since(at) >= MARK_MS
        })
    }

    /// Sends marks to some quiet feeds.
    fn mark(&mut self, quiet: &[u64]) {
        if self.flight.is_some() {
            self.marks_due = true;
            return;
        }
        for id in quiet {
            let Some(group) = self.groups.get(id).filter(|group| group.notified.0 < self.head) else {
                continue;
            };
            let (last, hash) = (group.last, group.shape.hash);
            let pos = frame_pos::feed(self.take_number());
            let link = TableLink { prev: Some(last), pos, cursor: self.cursor(hash, self.head) };
            let frame = TableFrame::Mark { to: TableAddress::Feed(feed(*id)), link };
            self.send(*id, &frame.encode().into(), pos, (self.head, self.head));
        }
    }

    /// Resets subscriptions that read a snapshot so slowly that the log no longer reaches back to
    /// it. Otherwise its pages would stay in memory.
    pub(super) fn reset_slow(&mut self) {
        let floor = self.history.floor();
        let reading =
            |sub: &Sub| matches!(sub.phase, Phase::Reading { .. } | Phase::Behind(_)) && sub.applied < floor;
        let slow: Vec<u64> = self.subs.iter().filter(|(_, sub)| reading(sub)).map(|(id, _)| *id).collect();
        for id in slow {
            self.reset(id, "trimmed", 0);
        }
    }

    /// Notes the position of a transaction that a subscription may wait for.
    pub(super) fn found(&mut self, id: u64, tx: &str, position: u64) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        for wait in sub.waits.iter_mut().filter(|wait| wait.tx == tx && wait.position.is_none()) {
            wait.position = Some(position);
        }
        self.answer_waits(id);
    }

    /// Answers a subscription's waits for transactions that it has been sent in full.
    pub(super) fn answer_waits(&mut self, id: u64) {
        let Some(sub) = self.subs.get(&id) else { return };
        let done = match &sub.phase {
            Phase::Live => self.head,
            Phase::Behind(_) => sub.applied,
            _ => return,
        };
        let over = sub.waits.iter().filter(|wait| wait.position.is_some_and(|position| position <= done));
        let over: Vec<String> = over.map(|wait| wait.tx.clone()).collect();
        for tx in over {
            self.answer_wait(id, &tx, None);
        }
    }

    fn time_out(&mut self, id: u64, now: Time) {
        let Some(sub) = self.subs.get(&id) else { return };
        let late: Vec<String> =
            sub.waits.iter().filter(|wait| wait.until <= now).map(|wait| wait.tx.clone()).collect();
        for tx in late {
            self.answer_wait(id, &tx, Some(codes::TIMEOUT));
        }
    }

    /// Answers one wait for a transaction, with an error if there is a `code`.
    pub(super) fn answer_wait(&mut self, id: u64, tx: &str, code: Option<&str>) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        let waits = sub.waits.len();
        sub.waits.retain(|wait| wait.tx != tx);
        if sub.waits.len() == waits {
            return;
        }
        self.pending.retain(|_, pending| match pending {
            Pending::Locate { sub, tx: asked } => (*sub, asked.as_str()) != (id, tx),
            Pending::Snapshot { .. } => true,
        });
        let frame =
            TableFrame::Seen { sid: sub.sid.clone(), tx: tx.to_owned(), code: code.map(str::to_owned) };
        sub.outgoing.put(frame.encode().into(), &mut self.after.due);
        if sub.waits.is_empty() {
            self.waiting.remove(&id);
        }
    }
}
