//! What changes of one table, under a lock of its own: its subscriptions and their groups.

use super::fair_queue::{FairQueue, Owner};
use super::history::History;
use super::index::Index;
use super::log::Standing;
use super::pages::Pages;
use super::pending::{Pending, Queued};
use super::place;
use super::refusal::{Refusal, too_many_unindexed};
use super::registry::Rights;
use super::shape::Shape;
use super::shared::Shared;
use crate::outgoing::{Due, Outgoing};
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{TableAddress, TableFrame};

/// Everything of a table that changes.
pub(super) struct State {
    /// The table's place in the registry.
    pub(super) at: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) rights: Rights,
    /// The source's epoch, as far as this table was told.
    pub(super) epoch: Option<Arc<str>>,
    pub(super) now: Time,
    /// What is under way without the lock is of another life once this has changed.
    pub(super) generation: u64,
    /// Numbers commits and marks, see [`place`].
    pub(super) number: u64,
    /// Up to where its feeds were told. The log may be ahead of it.
    pub(super) head: u64,
    /// The number of the commit that they are told next.
    pub(super) next: u64,
    /// The commit that is being worked out, if one is.
    pub(super) flight: Option<Flight>,
    /// Quiet feeds are to be told how far they are, once no commit is in flight.
    pub(super) marks_due: bool,
    pub(super) history: History,
    /// Where the table was last cut: no subscription goes on from before.
    pub(super) cut: u64,
    pub(super) index: Index,
    /// Every commit looks some up. Who goes through them does so in the order of [`State::groups_where`].
    pub(super) groups: HashMap<u64, Group>,
    pub(super) by_name: BTreeMap<String, u64>,
    pub(super) subs: BTreeMap<u64, Sub>,
    /// Those that have all that was told, and wait until they may join their feed.
    pub(super) early: BTreeSet<u64>,
    /// Those that wait for a transaction.
    pub(super) waiting: BTreeSet<u64>,
    pub(super) lagging: FairQueue,
    pub(super) queued: VecDeque<Queued>,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// What is left to do once the lock is given back.
    pub(super) after: After,
}

/// What is left to do once a table's lock is given back.
#[derive(Default)]
#[must_use]
pub(super) struct After {
    /// Writers to wake.
    pub(super) due: Due,
    /// There are new questions.
    pub(super) requests: bool,
    /// There is work for the driver.
    pub(super) work: bool,
    /// Subscriptions that may have something to be sent.
    pub(super) ready: Vec<u64>,
}

/// A commit that is worked out without the lock.
pub(super) struct Flight {
    pub(super) number: u64,
    /// Groups with a greater id are newer than it.
    newest: u64,
    /// Groups that it is not worked out for, or that have been told of it.
    pub(super) closed: BTreeSet<u64>,
}

impl Flight {
    /// Whether who joins a group's feed now is told of the commit by the feed.
    pub(super) fn covers(&self, group: u64) -> bool {
        group <= self.newest && !self.closed.contains(&group)
    }
}

/// Subscriptions that are sent the same.
pub(super) struct Group {
    pub(super) shape: Arc<Shape>,
    /// Who asked first.
    pub(super) owner: Owner,
    pub(super) members: BTreeSet<u64>,
    /// Those of them in the feed, by connection: it is sent each frame once.
    pub(super) live: BTreeMap<u64, Audience>,
    /// The place of the feed's last frame.
    pub(super) last: u64,
    /// Up to where the feed was told, and when.
    pub(super) notified: (u64, Time),
    /// The snapshot that was asked for.
    pub(super) snapshot: Option<u64>,
}

/// A connection in a feed.
pub(super) struct Audience {
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) subs: Vec<u64>,
}

/// A subscription.
pub(super) struct Sub {
    pub(super) owner: Owner,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) sid: String,
    pub(super) group: u64,
    pub(super) phase: Phase,
    /// The place of its last frame; not kept while it is in the feed.
    pub(super) last: u64,
    /// The commits up to here were sent, or are in its snapshot; not kept while it is in the feed.
    pub(super) applied: u64,
    pub(super) waits: Vec<Wait>,
}

/// How far a subscription is.
pub(super) enum Phase {
    /// It needs a snapshot, because its cursor could not be honoured for this reason.
    Waiting(Option<&'static str>),
    /// It goes on from its cursor, and is to be told so.
    Resuming,
    /// It reads a snapshot.
    Reading {
        pages: Arc<Pages>,
        next: usize,
        /// The client asked for the next page.
        asked: bool,
        reason: Option<&'static str>,
    },
    /// It is sent commits from the log; of a snapshot those that it does not contain.
    Behind(Option<Arc<Pages>>),
    /// It is in the feed.
    Live,
}

/// A transaction that a client waits for.
pub(super) struct Wait {
    pub(super) tx: String,
    /// Where it is, once that is known.
    pub(super) position: Option<u64>,
    pub(super) until: Time,
}

impl State {
    pub(super) fn new(at: usize, shared: Arc<Shared>, rights: Rights) -> State {
        State {
            at,
            shared,
            rights,
            epoch: None,
            now: Time::default(),
            generation: 0,
            number: 1,
            head: 0,
            next: 0,
            flight: None,
            marks_due: false,
            history: History::default(),
            cut: 0,
            index: Index::default(),
            groups: HashMap::new(),
            by_name: BTreeMap::new(),
            subs: BTreeMap::new(),
            early: BTreeSet::new(),
            waiting: BTreeSet::new(),
            lagging: FairQueue::default(),
            queued: VecDeque::new(),
            pending: BTreeMap::new(),
            after: After::default(),
        }
    }

    /// Ends all subscriptions, and goes on from where the log stands.
    pub(super) fn restart(&mut self, reason: &str, standing: Standing) {
        for group in self.groups_where(|_| true) {
            self.reset_group(group, reason, true);
        }
        self.skip_to(standing.head, standing.end);
    }

    /// Goes on from a position; what is under way without the lock counts no more.
    fn skip_to(&mut self, position: u64, next: u64) {
        self.generation += 1;
        (self.flight, self.head, self.next) = (None, position, next);
        self.history.restart(position);
    }

    /// The log has forgotten what the feeds were not told of yet: who has all that they were told
    /// has to begin anew, and the others if it was forgotten before they read it.
    pub(super) fn overrun(&mut self, floor: u64, next: u64) {
        self.skip_to(floor, next);
        for group in self.groups_where(|group| !group.live.is_empty()) {
            self.reset_group(group, "trimmed", false);
        }
        self.reset_slow();
    }

    /// Begins to work a commit out; the number that it gets.
    pub(super) fn begin_flight(&mut self) -> u64 {
        let (number, newest) = (self.take_number(), self.shared.newest_id());
        self.flight = Some(Flight { number, newest, closed: BTreeSet::new() });
        number
    }

    /// A number after all before it.
    pub(super) fn take_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A place after all that was told, and before all that is yet to be.
    pub(super) fn place_between(&mut self) -> u64 {
        place::before(match &self.flight {
            Some(flight) => flight.number,
            None => self.take_number(),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.shared.id()
    }

    /// The groups of which this is true, ascending.
    pub(super) fn groups_where(&self, is: impl Fn(&Group) -> bool) -> Vec<u64> {
        let mut found: Vec<u64> =
            self.groups.iter().filter(|(_, group)| is(group)).map(|(id, _)| *id).collect();
        found.sort_unstable();
        found
    }

    /// The group of a shape, made if there is none; none of a new one if there are too many that no
    /// index finds.
    pub(super) fn group(&mut self, shape: Shape, owner: &Owner) -> Option<u64> {
        if let Some(group) = self.by_name.get(&shape.name) {
            return Some(*group);
        }
        let id = self.id();
        if shape.matcher.indexable().is_none() && !self.has_room(owner) {
            return None;
        }
        self.index.add(id, &shape.matcher);
        self.by_name.insert(shape.name.clone(), id);
        let group = Group {
            shape: Arc::new(shape),
            owner: owner.clone(),
            members: BTreeSet::new(),
            live: BTreeMap::new(),
            last: 0,
            notified: (self.head, self.now),
            snapshot: None,
        };
        self.groups.insert(id, group);
        Some(id)
    }

    /// Whether one more group may be asked about every change. Nobody may have more than a share of
    /// them, and when all are taken whoever has most gives one to who has fewer.
    fn has_room(&mut self, owner: &Owner) -> bool {
        let unindexed = self.index.unindexed();
        let mut shares: BTreeMap<Owner, Vec<u64>> = BTreeMap::new();
        for group in unindexed {
            if let Some(of) = self.groups.get(group).map(|group| group.owner.clone()) {
                shares.entry(of).or_default().push(*group);
            }
        }
        let mine = shares.get(owner).map_or(0, Vec::len);
        if mine >= self.shared.limits.unindexed_each {
            return false;
        }
        if unindexed.len() < self.shared.limits.unindexed {
            return true;
        }
        let most = shares.into_values().max_by_key(Vec::len).unwrap_or_default();
        let Some(newest) = most.last().filter(|_| most.len() > mine + 1) else { return false };
        let members = self.groups.get(newest).map(|group| group.members.clone()).unwrap_or_default();
        for sub in members {
            self.fail(sub, &too_many_unindexed());
        }
        true
    }

    /// Ends a subscription and frees what only it needed.
    pub(super) fn remove(&mut self, id: u64) -> Option<Sub> {
        let sub = self.subs.remove(&id)?;
        let conn = sub.outgoing.id();
        self.shared.directory.lock().remove((conn, &sub.sid), id);
        self.early.remove(&id);
        if self.waiting.remove(&id) {
            self.pending.retain(|_, pending| !matches!(pending, Pending::Locate { sub, .. } if *sub == id));
        }
        if let Some(group) = self.groups.get_mut(&sub.group) {
            group.members.remove(&id);
            if let Some(audience) = group.live.get_mut(&conn) {
                audience.subs.retain(|other| *other != id);
                if audience.subs.is_empty() {
                    group.live.remove(&conn);
                }
            }
            if group.members.is_empty() {
                self.drop_group(sub.group);
            }
        }
        Some(sub)
    }

    fn drop_group(&mut self, id: u64) {
        let Some(group) = self.groups.remove(&id) else { return };
        self.by_name.remove(&group.shape.name);
        self.index.remove(id, &group.shape.matcher);
        if let Some(snapshot) = group.snapshot
            && self.pending.remove(&snapshot).is_some()
        {
            self.shared.log.lock().snapshot_finished();
        }
    }

    /// Ends a subscription that can't go on.
    pub(super) fn reset(&mut self, id: u64, reason: &str, spread_ms: u64) {
        if let Some(sub) = self.remove(id) {
            let to = TableAddress::Sid(sub.sid);
            let frame = TableFrame::Reset { to, reason: reason.to_owned(), spread_ms };
            sub.outgoing.put(frame.encode().into(), &mut self.after.due);
        }
    }

    /// Ends all subscriptions of a group that are in its feed, or all of them.
    pub(super) fn reset_group(&mut self, id: u64, reason: &str, all: bool) {
        let spread_ms = self.shared.limits.spread_ms;
        let Some(group) = self.groups.get_mut(&id) else { return };
        let to = TableAddress::Feed(feed(id));
        let frame = Text::from(TableFrame::Reset { to, reason: reason.to_owned(), spread_ms }.encode());
        let live = std::mem::take(&mut group.live);
        let others: Vec<u64> = if all { group.members.iter().copied().collect() } else { Vec::new() };
        for audience in live.into_values() {
            audience.outgoing.put(frame.clone(), &mut self.after.due);
            for sub in audience.subs {
                self.remove(sub);
            }
        }
        for sub in others {
            self.reset(sub, reason, spread_ms);
        }
    }

    /// Ends a subscription with an error.
    pub(super) fn fail(&mut self, id: u64, refusal: &Refusal) {
        if let Some(sub) = self.remove(id) {
            sub.outgoing.put(refusal.frame(sub.sid), &mut self.after.due);
        }
    }
}

/// The name of a group's feed.
pub(super) fn feed(group: u64) -> String {
    format!("f{group}")
}
