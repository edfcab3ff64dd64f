//! Commits and the passing of time, as the feeds are told of them.

use super::cost::work;
use super::index::Member;
use super::judge::{Belongs, Pair};
use super::limits::ENVELOPE;
use super::question::Pending;
use super::shape::Told;
use super::state::{Phase, State, feed};
use super::work::OF_A_COMMIT;
use super::{Change, Commit};
use crate::outgoing::Offered;
use crate::text::Text;
use std::collections::BTreeMap;
use tidewire_core::Time;
use tidewire_core::wire::{TableAddress, TableFrame, TableLink, TableTx, Transaction, codes};

/// A feed that was told nothing for so long is told how far it is, in ms. Ticks are a second apart
/// at most, so it is less than ten.
const MARK_MS: u64 = 8_000;

/// A group that a change may concern.
struct Concern {
    group: u64,
    /// None if it has to be judged.
    belongs: Belongs,
}

impl State {
    /// A commit goes to the log and to the feeds that it concerns.
    pub(super) fn publish(&mut self, commit: Commit) {
        if commit.position <= self.head {
            // The source said it again, as after a new connection to its database.
            return;
        }
        self.number += 1;
        let (number, before) = (self.number, self.head);
        let logged = self.ring.push(commit, number, before, self.now);
        let commit = &logged.commit;
        self.head = commit.position;
        let mut pairs = BTreeMap::new();
        let mut concerned: BTreeMap<u64, Vec<(usize, Belongs)>> = BTreeMap::new();
        for (at, change) in commit.changes.iter().enumerate() {
            let (groups, pair) = self.concerned(change);
            if let Some(pair) = pair.filter(|_| !groups.is_empty()) {
                pairs.insert(at, Box::new(pair));
            }
            for Concern { group, belongs } in groups {
                concerned.entry(group).or_default().push((at, belongs));
            }
            if let Change::Lost { table, .. } = change
                && let Some(table) = self.tables.get_mut(*table)
            {
                table.floor = commit.places.get(at).copied().unwrap_or(commit.position);
            }
        }
        let mut sum = 0;
        for (group, places) in concerned {
            let judged = places.iter().any(|(_, belongs)| belongs.is_none());
            let much = match self.groups.get(&group).filter(|group| judged && !group.live.is_empty()) {
                Some(group) => work(&group.shape, &logged),
                None => 0,
            };
            sum += much;
            let at_once = self.limits.at_once;
            if much > at_once || sum > OF_A_COMMIT * at_once {
                self.lag_group(group, before);
            } else {
                self.tell_feed(group, commit, number, before, &places, &mut pairs);
            }
        }
        for id in self.waiting.clone() {
            self.found(id, &commit.tx, commit.position);
        }
        self.went_on();
    }

    /// The groups that a change may concern, ascending, and its row if it is about one.
    fn concerned<'a>(&self, change: &'a Change) -> (Vec<Concern>, Option<Pair<'a>>) {
        let Some(table) = self.tables.get(change.table()) else { return (Vec::new(), None) };
        let Some(mut pair) = Pair::of(&table.schema, change) else {
            let groups = self.groups_where(|group| group.shape.table == change.table()).into_iter();
            return (groups.map(|group| Concern { group, belongs: None }).collect(), None);
        };
        let mut found: Vec<Concern> = Vec::new();
        let rows = [(&mut pair.old, (true, false)), (&mut pair.new, (false, true))];
        for (row, belongs) in rows {
            let Some(row) = row else { continue };
            table.index.find(row, |Member { group, sure }| {
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
            let judge = |pair: &mut Pair<'_>| match self.groups.get(&concern.group) {
                Some(group) => pair.judge(&group.shape.judge),
                None => Some((false, false)),
            };
            concern.belongs.or_else(|| pair.as_mut().and_then(judge)) != Some((false, false))
        });
        concerned.len()
    }

    fn tell_feed<'a>(
        &mut self,
        id: u64,
        commit: &'a Commit,
        number: u64,
        before: u64,
        places: &[(usize, Belongs)],
        pairs: &mut BTreeMap<usize, Box<Pair<'a>>>,
    ) {
        let Some(group) = self.groups.get(&id).filter(|group| !group.live.is_empty()) else { return };
        let most = self.limits.frame_bytes.saturating_sub(ENVELOPE);
        let changes = match group.shape.tell_of(commit, pairs, places.iter().copied(), 0, most) {
            Told::Nothing => return,
            Told::Reset(reason) => return self.reset_group(id, reason, false),
            Told::Changes(changes) => changes,
        };
        let cursor = self.cursor(group.shape.hash, commit.position);
        let link = TableLink { prev: Some(group.last), pos: number * 2, cursor };
        let to = TableAddress::Feed(feed(id));
        let tx = Transaction::encode_with(&commit.tx, commit.at, &changes);
        let frame = TableTx::encode_with(&to, &link, std::iter::once(tx.as_str()));
        self.send(id, &frame.into(), number * 2, before);
    }

    /// Sends a frame to all in a feed. Who has no room falls out of it, with all up to `before`,
    /// and comes back by way of the log.
    fn send(&mut self, id: u64, frame: &Text, place: u64, before: u64) {
        let (head, now) = (self.head, self.now);
        let Some(group) = self.groups.get_mut(&id) else { return };
        let last = std::mem::replace(&mut group.last, place);
        group.told = (head, now);
        let (mut slow, mut over) = (Vec::new(), Vec::new());
        for (conn, audience) in &group.live {
            match audience.outgoing.offer_live(frame) {
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

    /// The source has told all up to a position.
    pub(super) fn advance(&mut self, position: u64) {
        if position > self.head {
            self.head = position;
            self.went_on();
        }
    }

    /// The head moved: who waited for that goes on.
    fn went_on(&mut self) {
        for id in self.early.clone() {
            self.serve(id);
        }
        for id in self.waiting.clone() {
            self.settle(id);
        }
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        self.ring.trim(now);
        let head = self.head;
        let quiet = self.groups_where(|group| {
            let (told, at) = group.told;
            !group.live.is_empty() && told < head && now.since(at) >= MARK_MS
        });
        for id in quiet {
            self.mark(id);
        }
        self.forget_the_slow();
        let late =
            |sub: &u64| self.subs.get(sub).is_some_and(|sub| sub.waits.iter().any(|wait| wait.until <= now));
        let late: Vec<u64> = self.waiting.iter().copied().filter(late).collect();
        for id in late {
            self.time_out(id, now);
        }
    }

    fn mark(&mut self, id: u64) {
        self.number += 1;
        let place = self.number * 2;
        let Some(group) = self.groups.get(&id) else { return };
        let cursor = self.cursor(group.shape.hash, self.head);
        let link = TableLink { prev: Some(group.last), pos: place, cursor };
        let frame = TableFrame::Mark { to: TableAddress::Feed(feed(id)), link };
        self.send(id, &frame.encode().into(), place, self.head);
    }

    /// Whoever reads a snapshot so slowly that the log went past it has to begin anew; until then
    /// its pages take memory.
    fn forget_the_slow(&mut self) {
        let floor = self.ring.floor();
        let reading = |sub: &super::state::Sub| {
            matches!(sub.phase, Phase::Reading { .. } | Phase::Behind(_)) && sub.applied < floor
        };
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
        self.settle(id);
    }

    /// Tells a subscription of the transactions that it has waited for and that it has all of.
    pub(super) fn settle(&mut self, id: u64) {
        let Some(sub) = self.subs.get(&id) else { return };
        let done = match &sub.phase {
            Phase::Live => self.head,
            Phase::Behind(_) => sub.applied,
            _ => return,
        };
        let over = sub.waits.iter().filter(|wait| wait.position.is_some_and(|position| position <= done));
        let over: Vec<String> = over.map(|wait| wait.tx.clone()).collect();
        for tx in over {
            self.seen(id, &tx, None);
        }
    }

    fn time_out(&mut self, id: u64, now: Time) {
        let Some(sub) = self.subs.get(&id) else { return };
        let late: Vec<String> =
            sub.waits.iter().filter(|wait| wait.until <= now).map(|wait| wait.tx.clone()).collect();
        for tx in late {
            self.seen(id, &tx, Some(codes::TIMEOUT));
        }
    }

    /// Ends the wait for a transaction.
    pub(super) fn seen(&mut self, id: u64, tx: &str, code: Option<&str>) {
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
        sub.outgoing.push(frame.encode().into());
        if sub.waits.is_empty() {
            self.waiting.remove(&id);
        }
    }
}
