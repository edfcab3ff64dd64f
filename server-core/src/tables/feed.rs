//! Commits and the passing of time, as a table's feeds are told of them.
//!
//! A commit takes three steps. Under the table's lock the index says which groups it may concern
//! ([`State::begin`]). Without the lock rows are judged and frames encoded ([`Plan::work_out`]).
//! Under it again the frames go to whoever is in the feeds then ([`State::hand_out`]), and the
//! table's head moves ([`State::finish_flight`]).
//!
//! Nobody misses a commit by that, or gets one twice:
//!
//! - One commit of a table is in flight at a time, the one behind its head, so frames go out in the
//!   order of the log. Until it has landed the head stays before it: whoever reads the log ends
//!   there, and has yet to be told of it.
//! - Whoever joins a feed has all up to the head. If the commit in flight is worked out for that
//!   feed, they are in it when it is handed out, and get it once, by the feed. If it is not,
//!   because the group is newer, or nobody was in its feed, or it was handed out already, they do
//!   not join yet ([`super::state::Flight::covers`]): after the landing they read it from the log.
//! - Whoever leaves a feed is not in it when the frames are handed out. Those who leave because
//!   they have no room have all up to the head, and read the commit from the log.
//! - What ends all subscriptions while a commit is in flight starts another life of the table
//!   ([`State::generation`]), and what was worked out in the one before is dropped.

use super::cost::{MATCHING, encoding, work};
use super::history::Entry;
use super::index::Member;
use super::limits::ENVELOPE;
use super::log::Standing;
use super::matching::{Membership, RowChange};
use super::pending::Pending;
use super::place;
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

/// A feed that was told nothing for so long is told how far it is, in ms. Ticks are a second apart
/// at most, so it is less than ten.
const MARK_MS: u64 = 8_000;
/// So many changes are looked up, and so many feeds marked, before others get the lock.
const AT_A_TIME: usize = 512;

/// A group that a change may concern.
struct Concern {
    group: u64,
    /// None if it has to be judged.
    belongs: Membership,
}

/// How far the telling of a commit is.
enum Step<'a> {
    /// Not all of its changes have been looked up.
    Looking(Plan<'a>),
    /// What these feeds are told has to be worked out; it is about so much work.
    Working(Plan<'a>, Vec<Feed>, usize),
    /// All were told.
    Finished,
    /// The driver has to do it.
    Left,
    /// Somebody else is at it, or it is no longer to be done.
    Over,
}

/// What a table's driver finds.
enum Found {
    Commit(Arc<Logged>, u64),
    Nothing,
    /// Somebody else is at it.
    Busy,
}

impl Tables {
    /// Tells a table of a commit that was just published, if it is next and little work.
    pub(super) fn publish_now(&self, at: usize, logged: &Arc<Logged>, floor: u64) {
        let most = Some(self.shared.limits.at_once);
        match self.try_with(at, |state| state.begin(logged, floor, most)) {
            Some((step, ready)) => {
                self.serve(at, ready);
                self.fly(at, step, floor, most);
            }
            // Other tables must not wait for whoever has it.
            None => self.wake(super::Woken::Work(at)),
        }
    }

    /// Tells a table of what is next for it, some ms of work; whether there may be more.
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

    /// Goes on until the commit has landed; about how much work that was.
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

    /// Tells quiet feeds how far they are, unless a commit is in flight: then it is done when that
    /// has landed.
    pub(super) fn mark_quiet(&self, at: usize) {
        let quiet = self.with(at, State::quiet).unwrap_or_default();
        for some in quiet.chunks(AT_A_TIME) {
            self.with(at, |state| state.mark(some));
        }
    }
}

impl State {
    /// What is next for the table.
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

    /// Begins to tell of a commit. With `most` no more work is done than that.
    fn begin<'a>(&mut self, logged: &'a Arc<Logged>, floor: u64, most: Option<usize>) -> Step<'a> {
        if self.flight.is_some() {
            // Whoever is at it looks for what comes after.
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

    /// Looks up whom some of the changes concern.
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

    /// Leaves the commit in flight to the driver, which looks it up again.
    fn leave<'a>(&mut self) -> Step<'a> {
        self.flight = None;
        self.after.work = true;
        Step::Left
    }

    /// The feeds to tell, and about how much work that is; none if it is more than `most`. Those
    /// for which it is much work to judge read it from the log, in their turn.
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
            // Most of those that have to be judged turn out not to be concerned.
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

    /// The groups that a change may concern, ascending, and its row if it is about one.
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

    /// How many groups a change reaches: those that had its row, and those that have it after.
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

    /// Hands out what was worked out. After the last of it the commit lands at once.
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
                    self.send(id, &frame, place::feed(plan.number), (self.head, plan.commit().position));
                }
            }
        }
    }

    /// All feeds were told of the commit.
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
        // Somebody may have left the next one to us.
        self.after.work |= self.shared.log.lock().standing().end > self.next;
    }

    /// The table has been told of a commit.
    fn move_head(&mut self, logged: &Logged, floor: u64) {
        let commit = &logged.commit;
        (self.head, self.next) = (commit.position, logged.seq + 1);
        self.history.trim(floor);
        for id in self.waiting.clone() {
            self.found(id, &commit.tx, commit.position);
        }
        self.head_moved();
    }

    /// Sends a frame to all in a feed. Who has no room falls out of it, with all up to `before`,
    /// and comes back by way of the log.
    fn send(&mut self, id: u64, frame: &Text, place: u64, (before, head): (u64, u64)) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let last = std::mem::replace(&mut group.last, place);
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

    /// Up to where the source has told there is nothing, if the table was told all before it.
    pub(super) fn advance(&mut self, standing: Standing) {
        if self.flight.is_none() && self.next == standing.end && standing.head > self.head {
            self.head = standing.head;
            self.head_moved();
        }
    }

    /// The head moved: who waited for that goes on.
    fn head_moved(&mut self) {
        self.after.ready.extend(&self.early);
        for id in self.waiting.clone() {
            self.answer_waits(id);
        }
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        let (next, standing) = self.shared.log.lock().next(self.next);
        if let Next::Gone(first) = next {
            self.overrun(standing.floor, first);
        }
        self.history.trim(standing.floor.min(self.head));
    }

    /// Ends what has taken too long.
    pub(super) fn expire(&mut self, now: Time) {
        self.reset_slow();
        let late =
            |sub: &u64| self.subs.get(sub).is_some_and(|sub| sub.waits.iter().any(|wait| wait.until <= now));
        let late: Vec<u64> = self.waiting.iter().copied().filter(late).collect();
        for id in late {
            self.time_out(id, now);
        }
    }

    /// The feeds that are to be told how far they are.
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

    /// Tells some quiet feeds how far they are.
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
            let place = place::feed(self.take_number());
            let link = TableLink { prev: Some(last), pos: place, cursor: self.cursor(hash, self.head) };
            let frame = TableFrame::Mark { to: TableAddress::Feed(feed(*id)), link };
            self.send(*id, &frame.encode().into(), place, (self.head, self.head));
        }
    }

    /// Whoever reads a snapshot so slowly that the log went past it has to begin anew; until then
    /// its pages take memory.
    pub(super) fn reset_slow(&mut self) {
        let floor = self.history.floor();
        let reading =
            |sub: &Sub| matches!(sub.phase, Phase::Reading { .. } | Phase::Behind(_)) && sub.applied < floor;
        let slow: Vec<u64> = self.subs.iter().filter(|(_, sub)| reading(sub)).map(|(id, _)| *id).collect();
        for id in slow {
            self.reset(id, "trimmed", 0);
        }
    }

    /// A transaction that a subscription may wait for is at this position.
    pub(super) fn found(&mut self, id: u64, tx: &str, position: u64) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        for wait in sub.waits.iter_mut().filter(|wait| wait.tx == tx && wait.position.is_none()) {
            wait.position = Some(position);
        }
        self.answer_waits(id);
    }

    /// Tells a subscription of the transactions that it has waited for and that it has all of.
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

    /// Ends the wait for a transaction.
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
