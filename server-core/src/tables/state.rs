//! The state of one table, under a lock of its own: its subscriptions and their groups.

use super::fair_queue::{FairQueue, Owner};
use super::frame_pos;
use super::history::History;
use super::index::Index;
use super::log::Standing;
use super::pages::Pages;
use super::pending::{Pending, Queued};
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

/// Everything about a table that changes.
pub(super) struct State {
    /// The table's index in the registry.
    pub(super) at: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) rights: Rights,
    /// The source's epoch, as of the last restart of this table.
    pub(super) epoch: Option<Arc<str>>,
    pub(super) now: Time,
    /// Counts the table's restarts. Work that was begun without the lock in an earlier generation
    /// is dropped.
    pub(super) generation: u64,
    /// The last number of a commit or mark, see [`frame_pos`].
    pub(super) number: u64,
    /// The position up to which its feeds have been sent everything. The log may be ahead of it.
    pub(super) head: u64,
    /// The sequence number of the commit that the feeds get next.
    pub(super) next: u64,
    /// The commit in flight, if there is one.
    pub(super) flight: Option<Flight>,
    /// Quiet feeds need marks once no commit is in flight.
    pub(super) marks_due: bool,
    pub(super) history: History,
    /// Where the table last lost its rows or changed its schema: no cursor from before can be
    /// resumed.
    pub(super) cut: u64,
    pub(super) index: Index,
    /// A hash map, because every commit looks groups up. To go through all of them, use
    /// [`State::groups_where`], whose order is fixed.
    pub(super) groups: HashMap<u64, Group>,
    pub(super) by_name: BTreeMap<String, u64>,
    pub(super) subs: BTreeMap<u64, Sub>,
    /// Subscriptions that have everything up to the head, and wait until they can join their feed.
    pub(super) early: BTreeSet<u64>,
    /// Subscriptions that wait for a transaction.
    pub(super) waiting: BTreeSet<u64>,
    pub(super) lagging: FairQueue,
    pub(super) queued: VecDeque<Queued>,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// What is left to do once the lock is released.
    pub(super) after: After,
}

/// What is left to do once a table's lock is released.
#[derive(Default)]
#[must_use]
pub(super) struct After {
    /// Writers to notify.
    pub(super) due: Due,
    /// There are new requests to the source.
    pub(super) requests: bool,
    /// There is work for the driver.
    pub(super) work: bool,
    /// Subscriptions that may have something to be sent.
    pub(super) ready: Vec<u64>,
}

/// A commit whose frames are worked out without the lock.
pub(super) struct Flight {
    pub(super) number: u64,
    /// Groups with a greater id are newer than the flight.
    newest: u64,
    /// Groups that the flight leaves out, or whose frames were queued already.
    pub(super) closed: BTreeSet<u64>,
}

impl Flight {
    /// Whether a subscriber that joins the group's feed now gets the commit from the feed.
    pub(super) fn covers(&self, group: u64) -> bool {
        group <= self.newest && !self.closed.contains(&group)
    }
}

/// Subscriptions with the same shape, which are sent the same frames.
pub(super) struct Group {
    pub(super) shape: Arc<Shape>,
    /// The owner of the first subscription.
    pub(super) owner: Owner,
    pub(super) members: BTreeSet<u64>,
    /// The subscribers of the feed, by connection: a connection is sent each frame once.
    pub(super) live: BTreeMap<u64, Audience>,
    /// The `pos` of the feed's last frame.
    pub(super) last: u64,
    /// The position of the feed's last frame, and when it was sent.
    pub(super) notified: (u64, Time),
    /// The id of the pending snapshot request.
    pub(super) snapshot: Option<u64>,
}

/// The subscriptions of one connection to a feed.
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
    /// The `pos` of its last frame. Not kept while it is in the feed.
    pub(super) last: u64,
    /// The position up to which it has everything, from frames or its snapshot. Not kept while it
    /// is in the feed.
    pub(super) applied: u64,
    pub(super) waits: Vec<Wait>,
}

/// The phase of a subscription.
pub(super) enum Phase {
    /// It needs a snapshot. The reason says why its cursor could not be resumed.
    Waiting(Option<&'static str>),
    /// Its cursor can be resumed, which it has not been told yet.
    Resuming,
    /// It is sent the pages of a snapshot.
    Reading {
        pages: Arc<Pages>,
        next: usize,
        /// The client requested the next page.
        asked: bool,
        reason: Option<&'static str>,
    },
    /// It is sent commits from the log. After a snapshot these are the commits that the snapshot
    /// does not contain.
    Behind(Option<Arc<Pages>>),
    /// It is a subscriber of the feed.
    Live,
}

/// A transaction that a client waits for.
pub(super) struct Wait {
    pub(super) tx: String,
    /// The transaction's position, once it is known.
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

    /// Resets all subscriptions, and continues from the log's present state.
    pub(super) fn restart(&mut self, reason: &str, standing: Standing) {
        for group in self.groups_where(|_| true) {
            self.reset_group(group, reason, true);
        }
        self.skip_to(standing.head, standing.end);
    }

    /// Continues from a position and begins a new generation.
    fn skip_to(&mut self, position: u64, next: u64) {
        self.generation += 1;
        (self.flight, self.head, self.next) = (None, position, next);
        self.history.restart(position);
    }

    /// The log no longer has commits that the feeds have not been sent. Subscribers of feeds are
    /// reset, and so are those that have not read far enough.
    pub(super) fn overrun(&mut self, floor: u64, next: u64) {
        self.skip_to(floor, next);
        for group in self.groups_where(|group| !group.live.is_empty()) {
            self.reset_group(group, "trimmed", false);
        }
        self.reset_slow();
    }

    /// Begins the flight of a commit, and returns its number.
    pub(super) fn begin_flight(&mut self) -> u64 {
        let (number, newest) = (self.take_number(), self.shared.newest_id());
        self.flight = Some(Flight { number, newest, closed: BTreeSet::new() });
        number
    }

    /// The next number.
    pub(super) fn take_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A `pos` after those of all frames that were sent, and before all that will be sent.
    pub(super) fn pos_between(&mut self) -> u64 {
        frame_pos::before(match &self.flight {
            Some(flight) => flight.number,
            None => self.take_number(),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.shared.id()
    }

    /// The ids of the groups for which this is true, ascending.
    pub(super) fn groups_where(&self, is: impl Fn(&Group) -> bool) -> Vec<u64> {
        let mut found: Vec<u64> =
            self.groups.iter().filter(|(_, group)| is(group)).map(|(id, _)| *id).collect();
        found.sort_unstable();
        found
    }

    /// The group of a shape; a new one if there is none. `None` if the index can't find such a
    /// group by a value and there are too many of that kind.
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

    /// Whether the owner may have one more group that must be matched with every change. An owner
    /// has a limited share of them. If the table has no room, the owner with most of them loses its
    /// newest one to an owner that has fewer.
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

    /// Ends a subscription, and frees what only it needed.
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

    /// Ends a subscription that can't continue; the client subscribes again.
    pub(super) fn reset(&mut self, id: u64, reason: &str, spread_ms: u64) {
        if let Some(sub) = self.remove(id) {
            let to = TableAddress::Sid(sub.sid);
            let frame = TableFrame::Reset { to, reason: reason.to_owned(), spread_ms };
            sub.outgoing.put(frame.encode().into(), &mut self.after.due);
        }
    }

    /// Resets all subscriptions of a group that are in its feed, or, with `all`, every one.
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
