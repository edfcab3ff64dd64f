//! Who is in one channel, and what its watchers were told.

use super::leases::{GRACE_MS, Present, Said};
use super::{Leaving, NOBODY};
use crate::outgoing::{Due, Outgoing};
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::wire::{
    ChannelName, HERE, LeaseRequest, MAX_LEASE_MS, People as Frame, TYPING, User, UserKind, codes, json,
};
use tidewire_core::{Now, Time};

/// Changes are told at most this often, in ms.
const TELL_MS: u64 = 100;
/// With more people than this they are counted, and not listed.
const CROWD: usize = 200;
/// With fewer than this they are listed again.
const NO_CROWD: usize = 180;
/// The count of a crowd is told at most this often, in ms; a watcher whose queue was full gets the
/// list after this time.
const COUNT_MS: u64 = 1_000;
/// People are told in frames of about this size, in bytes.
const FRAME_BYTES: usize = 64 * 1024;
/// Shortest time that a lease may be asked for, in ms.
const LEAST_MS: u64 = 1_000;

/// Why a lease is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The channel's rule does not have people.
    Off,
    /// The user has all the leases that a user may have.
    TooMany,
}

impl Refusal {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refusal::Off => codes::PEOPLE_OFF,
            Refusal::TooMany => codes::TOO_MANY_LEASES,
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Refusal::Off => "the rule for this channel does not have `people = true`",
            Refusal::TooMany => "a user may hold at most 8 leases in a channel",
        }
    }
}

pub(super) struct Roster {
    channel: i64,
    name: ChannelName,
    on: bool,
    /// By [`crate::Identity::key`].
    users: BTreeMap<String, Box<Present>>,
    /// Which user's a connection is.
    conns: BTreeMap<u64, String>,
    /// The users of whom a lease may end by time.
    timed: BTreeSet<String>,
    /// The users that may be different from what was told.
    changed: BTreeSet<String>,
    watchers: BTreeMap<u64, Watcher>,
    arrivals: u64,
    /// The number of the last frame with changes.
    frame: u64,
    /// How many are here.
    here: usize,
    crowded: bool,
    /// How many a crowd was told to be, and when; none if not all watchers were told the same.
    told_count: Option<usize>,
    counted_at: Option<Time>,
    /// When something was told.
    told_at: Option<Time>,
    /// Whether a watcher may want the list.
    wanted: bool,
}

struct Watcher {
    outgoing: Arc<Outgoing>,
    /// Whether it has the list, or needs it at this time.
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Told,
    Wants(Time),
}

impl Roster {
    pub(super) fn new(channel: i64, name: ChannelName, on: bool) -> Roster {
        Roster {
            channel,
            name,
            on,
            users: BTreeMap::new(),
            conns: BTreeMap::new(),
            timed: BTreeSet::new(),
            changed: BTreeSet::new(),
            watchers: BTreeMap::new(),
            arrivals: 0,
            frame: 0,
            here: 0,
            crowded: false,
            told_count: None,
            counted_at: None,
            told_at: None,
            wanted: false,
        }
    }

    pub(super) fn enter(&mut self, conn: u64, key: &str, user: &User, now: Now) {
        if self.on {
            let said = Said { body: "{}".to_owned(), at: now.mono, until: None };
            self.holds(conn, key, user, HERE, said, now);
        }
    }

    pub(super) fn hold(
        &mut self,
        conn: u64,
        key: &str,
        user: &User,
        request: LeaseRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.on {
            return Err(Refusal::Off);
        }
        let Some(body) = request.body else {
            self.with(key, |present| present.give_up(conn, &request.kind));
            return Ok(());
        };
        let until = request.for_ms.map(|for_ms| now.mono.after(for_ms.clamp(LEAST_MS, MAX_LEASE_MS)));
        let at = Time(now.mono.0.saturating_sub(request.age_ms.unwrap_or_default()));
        let said = Said { body: json::on_one_line(&body).into_owned(), at, until };
        let held = self.holds(conn, key, user, &request.kind, said, now);
        if held { Ok(()) } else { Err(Refusal::TooMany) }
    }

    fn holds(&mut self, conn: u64, key: &str, user: &User, kind: &str, said: Said, now: Now) -> bool {
        let place = self.arrivals;
        let present =
            self.users.entry(key.to_owned()).or_insert_with(|| Box::new(Present::new(user.clone(), place)));
        self.arrivals += u64::from(present.place == place);
        let was_here = present.is_here();
        present.user.clone_from(user);
        let held = present.hold(conn, kind, said, now.wall);
        self.here += usize::from(!was_here && present.is_here());
        if conn != NOBODY {
            self.conns.insert(conn, key.to_owned());
        }
        self.note(key);
        held
    }

    pub(super) fn leave(&mut self, conn: u64, leaving: Leaving) {
        self.watchers.remove(&conn);
        if let Some(key) = self.conns.remove(&conn) {
            self.with(&key, |present| present.release(conn, leaving == Leaving::Left, |_| true));
        }
    }

    pub(super) fn release(&mut self, conn: u64) {
        if let Some(key) = self.conns.get(&conn).cloned() {
            self.with(&key, |present| present.release(conn, true, |kind| kind != HERE));
        }
    }

    pub(super) fn has_said(&mut self, key: &str) {
        self.with(key, |present| present.end(TYPING));
    }

    pub(super) fn show_as(&mut self, key: &str, user: &User) {
        self.with(key, |present| present.user.clone_from(user));
    }

    pub(super) fn watch(&mut self, outgoing: &Arc<Outgoing>) {
        let stage = Stage::Wants(Time::default());
        self.watchers.insert(outgoing.id(), Watcher { outgoing: outgoing.clone(), stage });
        self.wanted = true;
    }

    pub(super) fn unwatch(&mut self, conn: u64) {
        self.watchers.remove(&conn);
    }

    pub(super) fn has_leases(&self, conn: u64) -> bool {
        let user = self.conns.get(&conn).and_then(|key| self.users.get(key));
        user.is_some_and(|present| present.has_leases(conn))
    }

    pub(super) fn watchers(&self) -> usize {
        self.watchers.len()
    }

    pub(super) fn set_on(&mut self, on: bool) -> bool {
        if self.on == on {
            return false;
        }
        self.on = on;
        self.users.clear();
        self.conns.clear();
        self.timed.clear();
        self.changed.clear();
        (self.here, self.crowded, self.told_count) = (0, false, None);
        self.all_want();
        on
    }

    /// Whether [`Roster::tick`] has something to do at once.
    pub(super) fn has_news(&self) -> bool {
        !self.changed.is_empty() || self.wanted
    }

    fn with(&mut self, key: &str, change: impl FnOnce(&mut Present)) {
        if let Some(present) = self.users.get_mut(key) {
            let was_here = present.is_here();
            change(present);
            self.here -= usize::from(was_here && !present.is_here());
            self.note(key);
        }
    }

    fn note(&mut self, key: &str) {
        self.changed.insert(key.to_owned());
        if self.users.get(key).is_some_and(|present| present.is_timed()) {
            self.timed.insert(key.to_owned());
        }
    }

    fn all_want(&mut self) {
        for watcher in self.watchers.values_mut() {
            watcher.stage = Stage::Wants(Time::default());
        }
        self.wanted = true;
    }

    /// Ends what has to end and tells the watchers; returns when there is more to do.
    pub(super) fn tick(&mut self, now: Time, started: Time, due: &mut Due) -> Option<Time> {
        let mut next = self.end(now);
        match self.told_at.map(|told| told.after(TELL_MS)).filter(|at| *at > now) {
            Some(at) if self.has_news() => next.push(at),
            Some(_) => {}
            None => {
                self.told_at = Some(now).filter(|_| self.has_news());
                next.extend(self.tell(now, due));
                next.extend(self.tell_list(now, started, due));
            }
        }
        next.into_iter().min()
    }

    /// Ends the leases whose time is over; returns when others may.
    fn end(&mut self, now: Time) -> Vec<Time> {
        let mut next = Vec::new();
        for key in std::mem::take(&mut self.timed) {
            let mut end = None;
            if self.users.contains_key(&key) {
                self.with(&key, |present| end = present.tick(now));
            }
            next.extend(end);
        }
        next
    }

    /// Tells those who have the list what changed; returns when there is more to tell.
    fn tell(&mut self, now: Time, due: &mut Due) -> Option<Time> {
        let gone = |key: &&String| self.users.get(*key).is_some_and(|present| present.is_gone());
        let listed = self.users.len() - self.changed.iter().filter(gone).count();
        let crowded = if self.crowded { listed >= NO_CROWD } else { listed > CROWD };
        if crowded != self.crowded {
            self.crowded = crowded;
            self.all_want();
        }
        if self.crowded || self.watchers.is_empty() {
            self.tell_nobody();
        } else {
            self.tell_changes(now, due);
        }
        if self.crowded { self.tell_count(now, due) } else { None }
    }

    /// Notes that nobody was told of the changes.
    fn tell_nobody(&mut self) {
        for key in std::mem::take(&mut self.changed) {
            match self.users.get_mut(&key) {
                Some(present) if !present.is_gone() => present.told = None,
                _ => drop(self.users.remove(&key)),
            }
        }
    }

    /// Tells the count of a crowd, not too often.
    fn tell_count(&mut self, now: Time, due: &mut Due) -> Option<Time> {
        if self.told_count == Some(self.here) {
            return None;
        }
        let at = self.counted_at.map_or(now, |counted| counted.after(COUNT_MS));
        if at > now {
            return Some(at);
        }
        (self.told_count, self.counted_at) = (Some(self.here), Some(now));
        self.frame += 1;
        let frame = Frame { crowded: true, ..self.frame() };
        self.send(&[frame.encode_with(std::iter::empty()).into()], now, due);
        None
    }

    /// Tells who came, changed and went, to those who have the list.
    fn tell_changes(&mut self, now: Time, due: &mut Due) {
        let (mut people, mut gone) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.changed) {
            let Some(present) = self.users.get_mut(&key) else { continue };
            if present.is_gone() {
                if present.told.is_some() {
                    gone.push((present.user.kind, present.user.id.clone()));
                }
                self.users.remove(&key);
                continue;
            }
            let text = present.person().encode();
            if present.told.as_ref() != Some(&text) {
                present.told = Some(text.clone());
                people.push((present.place, text));
            }
        }
        if people.is_empty() && gone.is_empty() {
            return;
        }
        let frames = self.frames(people, gone, false, |_| ());
        self.send(&frames, now, due);
    }

    /// Sends the list to those who want it; returns when others want it.
    fn tell_list(&mut self, now: Time, started: Time, due: &mut Due) -> Option<Time> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let frames = self.list(now, started);
        let mut later: Option<Time> = None;
        for watcher in self.watchers.values_mut() {
            let Stage::Wants(at) = watcher.stage else { continue };
            let told = at <= now
                && frames.iter().all(|frame| watcher.outgoing.put_if_light(self.channel, frame, due));
            if told {
                watcher.stage = Stage::Told;
                continue;
            }
            let at = if at <= now { now.after(COUNT_MS) } else { at };
            watcher.stage = Stage::Wants(at);
            later = Some(later.map_or(at, |later| later.min(at)));
        }
        self.wanted = later.is_some();
        later
    }

    /// The frames with which the list begins.
    fn list(&mut self, now: Time, started: Time) -> Vec<Text> {
        let base = Frame { full: true, ..self.frame() };
        if !self.on {
            let frame = Frame { refused: Some(codes::PEOPLE_OFF.to_owned()), ..base };
            return vec![frame.encode_with(std::iter::empty()).into()];
        }
        if self.crowded {
            // Those who came earlier may have been told another count.
            self.told_count = self.told_count.filter(|told| *told == self.here);
            let frame = Frame { crowded: true, ..base };
            return vec![frame.encode_with(std::iter::empty()).into()];
        }
        let mut people = Vec::new();
        for present in self.users.values_mut() {
            let text = present.told.take().unwrap_or_else(|| present.person().encode());
            present.told = Some(text.clone());
            people.push((present.place, text));
        }
        let settles = started.after(GRACE_MS).since(now);
        self.frames(people, Vec::new(), true, |frame| {
            frame.full = true;
            frame.settle_ms = Some(settles).filter(|ms| *ms > 0);
        })
    }

    fn frame(&self) -> Frame {
        Frame::new(self.name.clone(), self.frame, self.here as u64)
    }

    /// Frames of a bounded size with these people, in the order of their numbers: those of a list, or
    /// with changes. `first` completes the first one.
    fn frames(
        &mut self,
        mut people: Vec<(u64, String)>,
        gone: Vec<(UserKind, String)>,
        is_list: bool,
        first: impl FnOnce(&mut Frame),
    ) -> Vec<Text> {
        let mut frames = Vec::new();
        self.frame += u64::from(!is_list);
        let mut frame = Frame { gone, ..self.frame() };
        first(&mut frame);
        people.sort();
        let mut rest = people.as_slice();
        loop {
            let mut bytes = 0;
            let fits = |(_, text): &&(u64, String)| {
                bytes += text.len();
                bytes <= FRAME_BYTES
            };
            let count = rest.iter().take_while(fits).count().max(usize::from(!rest.is_empty()));
            let (now, later) = rest.split_at(count);
            frame.more = !later.is_empty();
            frames.push(frame.encode_with(now.iter().map(|(_, text)| text.as_str())).into());
            if later.is_empty() {
                return frames;
            }
            // What the list's first frame says of its end, the last one says again.
            self.frame += u64::from(!is_list);
            frame = Frame { settle_ms: frame.settle_ms, ..self.frame() };
            rest = later;
        }
    }

    /// Sends frames to those who have the list. Whoever has no room for them gets the list later.
    fn send(&mut self, frames: &[Text], now: Time, due: &mut Due) {
        for watcher in self.watchers.values_mut().filter(|watcher| watcher.stage == Stage::Told) {
            if !frames.iter().all(|frame| watcher.outgoing.put_if_light(self.channel, frame, due)) {
                watcher.stage = Stage::Wants(now.after(COUNT_MS));
                self.wanted = true;
            }
        }
    }
}
