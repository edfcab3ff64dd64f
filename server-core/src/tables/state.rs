//! Subscriptions and their groups, under one lock.

use super::lagging::{Lagging, Owner};
use super::limits::TableLimits;
use super::pages::Pages;
use super::question::{Asked, Pending};
use super::refusal::{Refusal, too_many_unindexed};
use super::registry::Table;
use super::ring::Ring;
use super::shape::Shape;
use crate::outgoing::Outgoing;
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tidewire_core::Time;
use tidewire_core::wire::{TableAddress, TableFrame};

/// Everything that changes.
pub(super) struct State {
    pub(super) limits: TableLimits,
    /// Names this life of the source; none before it has told.
    pub(super) epoch: Option<String>,
    pub(super) now: Time,
    /// Numbers commits and marks. Of number n a feed's frame has the place 2n, and a subscription's
    /// own the one before, so that the places of both ascend together whichever way a frame comes.
    pub(super) number: u64,
    /// Up to where the source has told.
    pub(super) head: u64,
    pub(super) ring: Ring,
    pub(super) tables: Vec<Table>,
    /// Every commit looks some up. Who goes through them does so in the order of [`State::groups_where`].
    pub(super) groups: HashMap<u64, Group>,
    pub(super) by_name: BTreeMap<String, u64>,
    pub(super) subs: BTreeMap<u64, Sub>,
    /// Subscriptions by connection and by the client's name for them.
    pub(super) connections: BTreeMap<u64, BTreeMap<String, u64>>,
    /// Those that have all that was told, and wait until their snapshot no longer matters.
    pub(super) early: BTreeSet<u64>,
    /// Those that wait for a transaction.
    pub(super) waiting: BTreeSet<u64>,
    next_id: u64,
    pub(super) lagging: Lagging,
    pub(super) asked: VecDeque<Asked>,
    pub(super) pending: BTreeMap<u64, Pending>,
    pub(super) held: Arc<AtomicUsize>,
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
    pub(super) told: (u64, Time),
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
    pub(super) fn new(limits: TableLimits, tables: Vec<Table>) -> State {
        State {
            ring: Ring::new(limits.log_commits, limits.log_bytes, limits.log_ms),
            limits,
            epoch: None,
            now: Time::default(),
            number: 1,
            head: 0,
            tables,
            groups: HashMap::new(),
            by_name: BTreeMap::new(),
            subs: BTreeMap::new(),
            connections: BTreeMap::new(),
            early: BTreeSet::new(),
            waiting: BTreeSet::new(),
            next_id: 0,
            lagging: Lagging::default(),
            asked: VecDeque::new(),
            pending: BTreeMap::new(),
            held: Arc::default(),
        }
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
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
        if shape.judge.indexable().is_none() && !self.has_room(shape.table, owner) {
            return None;
        }
        let table = self.tables.get_mut(shape.table)?;
        table.index.add(id, &shape.judge);
        self.by_name.insert(shape.name.clone(), id);
        let group = Group {
            shape: Arc::new(shape),
            owner: owner.clone(),
            members: BTreeSet::new(),
            live: BTreeMap::new(),
            last: 0,
            told: (self.head, self.now),
            snapshot: None,
        };
        self.groups.insert(id, group);
        Some(id)
    }

    /// Whether one more group of a table may be asked about every change. Nobody may have more than
    /// a share of them, and when all are taken whoever has most gives one to who has fewer.
    fn has_room(&mut self, table: usize, owner: &Owner) -> bool {
        let Some(unindexed) = self.tables.get(table).map(|table| table.index.unindexed()) else {
            return false;
        };
        let mut shares: BTreeMap<Owner, Vec<u64>> = BTreeMap::new();
        for group in unindexed {
            if let Some(of) = self.groups.get(group).map(|group| group.owner.clone()) {
                shares.entry(of).or_default().push(*group);
            }
        }
        let mine = shares.get(owner).map_or(0, Vec::len);
        if mine >= self.limits.unindexed_each {
            return false;
        }
        if unindexed.len() < self.limits.unindexed {
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
        if let Some(sids) = self.connections.get_mut(&conn) {
            if sids.get(&sub.sid) == Some(&id) {
                sids.remove(&sub.sid);
            }
            if sids.is_empty() {
                self.connections.remove(&conn);
            }
        }
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
        if let Some(table) = self.tables.get_mut(group.shape.table) {
            table.index.remove(id, &group.shape.judge);
        }
        if let Some(snapshot) = group.snapshot {
            self.pending.remove(&snapshot);
        }
    }

    /// Ends a connection's subscriptions.
    pub(super) fn leave(&mut self, conn: u64) {
        let sids = self.connections.remove(&conn).unwrap_or_default();
        for id in sids.into_values() {
            self.remove(id);
        }
    }

    /// Ends a subscription that can't go on.
    pub(super) fn reset(&mut self, id: u64, reason: &str, spread_ms: u64) {
        if let Some(sub) = self.remove(id) {
            let to = TableAddress::Sid(sub.sid);
            let frame = TableFrame::Reset { to, reason: reason.to_owned(), spread_ms };
            sub.outgoing.push(frame.encode().into());
        }
    }

    /// Ends all subscriptions of a group that are in its feed, or all of them.
    pub(super) fn reset_group(&mut self, id: u64, reason: &str, all: bool) {
        let spread_ms = self.limits.spread_ms;
        let Some(group) = self.groups.get_mut(&id) else { return };
        let to = TableAddress::Feed(feed(id));
        let frame = Text::from(TableFrame::Reset { to, reason: reason.to_owned(), spread_ms }.encode());
        let live = std::mem::take(&mut group.live);
        let others: Vec<u64> = if all { group.members.iter().copied().collect() } else { Vec::new() };
        for audience in live.into_values() {
            audience.outgoing.push(frame.clone());
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
            sub.outgoing.push(refusal.frame(sub.sid));
        }
    }
}

/// The name of a group's feed.
pub(super) fn feed(group: u64) -> String {
    format!("f{group}")
}
