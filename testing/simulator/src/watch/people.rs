//! Checks who is said to be in the first channel: nobody who is there is said to be gone, nobody who
//! is gone is said to be there, and nobody writes for ever.

use crate::client::LinkId;
use crate::script::CHANNELS;
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::{
    ClientFrame, HERE, People, ServerFrame, TYPING, decode_client_message, decode_server_message,
};

/// How long a user stays after the last connection was lost, in ms.
pub(crate) const GRACE_MS: u64 = 15_000;
/// How long somebody writes without saying so again, in ms.
const TYPING_MS: u64 = 6_000;
/// Changes are told this much later, in ms.
const TELL_MS: u64 = 250;

/// What the server's process knows, as far as its messages show it.
#[derive(Default)]
pub(crate) struct PeopleWatch {
    /// When the server's process started.
    pub(crate) started: u64,
    /// By the device's number.
    there: BTreeMap<usize, There>,
    /// Until when each device's user writes at most, as each connection said last, unless they say so
    /// again.
    writes: BTreeMap<usize, BTreeMap<LinkId, u64>>,
    /// Whom each connection was told to be writing.
    told: BTreeMap<LinkId, BTreeSet<usize>>,
    /// Connections that don't take what is queued for them at once.
    stalled: BTreeSet<LinkId>,
    /// When the process started that each connection belongs to.
    since: BTreeMap<LinkId, u64>,
}

/// A user in the first channel.
#[derive(Default)]
struct There {
    links: BTreeSet<LinkId>,
    /// When the last one was lost, and whether the user left by it.
    ended: u64,
    left: bool,
    /// When any connection of the user was lost, subscribed or not.
    lost: u64,
}

impl There {
    /// Whether the server must count the user as there.
    fn must_be(&self, now: u64) -> bool {
        !self.links.is_empty() || (!self.left && now < self.ended + GRACE_MS)
    }

    /// Whether the server must count the user as gone.
    fn must_not_be(&self, now: u64) -> bool {
        let grace_ms = if self.left && self.lost <= self.ended { 0 } else { GRACE_MS };
        self.links.is_empty() && now > self.ended.max(self.lost) + TELL_MS + grace_ms
    }

    fn end(&mut self, link: LinkId, now: u64, left: bool) {
        if self.links.remove(&link) && self.links.is_empty() {
            (self.ended, self.left) = (now, left);
        } else if left && self.links.is_empty() {
            // It may be subscribed although nobody saw the answer, and an earlier one may be in its
            // grace.
            (self.left, self.lost) = (true, self.lost.max(now));
        }
    }
}

/// The device of a user's id.
pub(crate) fn device_of(id: &str) -> usize {
    id.trim_start_matches('u').parse().unwrap_or(usize::MAX)
}

impl Watch {
    /// A process of the server starts: it knows nobody.
    pub(crate) fn server_starts(&mut self, now: u64) {
        let since = std::mem::take(&mut self.people.since);
        self.people = PeopleWatch { started: now, since, ..PeopleWatch::default() };
    }

    /// A client's message reaches the server.
    pub(crate) fn server_hears(&mut self, now: u64, link: LinkId, device: usize, text: &str) {
        if !["\"hello\"", "\"bye\"", "\"unsub\"", "\"lease\""].iter().any(|word| text.contains(word)) {
            return;
        }
        self.people.since.entry(link).or_insert(self.people.started);
        for frame in decode_client_message(text).unwrap_or_default() {
            let there = self.people.there.entry(device).or_default();
            match frame {
                // It takes the place of older connections of the same process.
                ClientFrame::Hello { .. } => {
                    let older: Vec<LinkId> = there
                        .links
                        .iter()
                        .filter(|older| older.0 == link.0 && **older != link)
                        .copied()
                        .collect();
                    older.into_iter().for_each(|older| there.end(older, now, false));
                    self.people.told.retain(|older, _| older.0 != link.0 || *older == link);
                }
                ClientFrame::Bye => {
                    there.end(link, now, true);
                    self.people.told.remove(&link);
                }
                ClientFrame::Unsub { ch } if ch == CHANNELS[0] => {
                    there.end(link, now, true);
                    self.people.told.remove(&link);
                }
                ClientFrame::Lease(lease) if lease.kind == TYPING => {
                    // A session whose queue is full may handle what it hears later.
                    let writes = self.people.writes.entry(device).or_default();
                    if lease.body.is_some() {
                        writes.insert(link, now + TYPING_MS);
                    } else if !self.people.stalled.contains(&link) {
                        writes.insert(link, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// The server's end of a connection is gone.
    pub(crate) fn server_loses(&mut self, now: u64, link: LinkId, device: usize) {
        let there = self.people.there.entry(device).or_default();
        there.end(link, now, false);
        there.lost = now;
        self.people.told.remove(&link);
        self.people.stalled.remove(&link);
        self.forgets_handlers(link);
    }

    /// A connection takes what is queued for it at once, or does not.
    pub(crate) fn server_stalls(&mut self, link: LinkId, stalls: bool) {
        if stalls {
            self.people.stalled.insert(link);
            self.people.told.remove(&link);
        } else {
            self.people.stalled.remove(&link);
        }
    }

    /// The server sends a message. `connected` says whether it has any connection of a device.
    pub(crate) fn server_says(
        &mut self,
        now: u64,
        link: LinkId,
        device: usize,
        text: &str,
        connected: impl Fn(usize) -> bool,
    ) {
        self.model_is_silent(link, text);
        if !["\"sub_ok\"", "\"sub_err\"", "\"people\"", "\"event\""].iter().any(|word| text.contains(word)) {
            return;
        }
        for frame in decode_server_message(text).unwrap_or_default() {
            match frame {
                ServerFrame::SubOk(sub) if sub.page.ch == CHANNELS[0] => {
                    let there = self.people.there.entry(device).or_default();
                    there.links.insert(link);
                    there.left = false;
                }
                ServerFrame::SubErr { ch, .. } if ch == CHANNELS[0] => {
                    self.people.there.entry(device).or_default().end(link, now, false);
                    self.people.told.remove(&link);
                }
                // It is sent as soon as it is committed, unless the queue waits.
                ServerFrame::Event(event)
                    if event.kind == "message"
                        && event.ch == CHANNELS[0]
                        && !self.people.stalled.contains(&link) =>
                {
                    let writes = self.people.writes.entry(device_of(&event.by.id)).or_default();
                    writes.values_mut().for_each(|until| *until = now.min(*until));
                }
                // A message that waited says what was so when it was queued.
                ServerFrame::People(people) if !self.people.stalled.contains(&link) => {
                    self.tells(now, link, &people, &connected);
                }
                _ => {}
            }
        }
    }

    fn tells(&mut self, now: u64, link: LinkId, frame: &People, connected: &impl Fn(usize) -> bool) {
        for (_, id) in &frame.gone {
            self.mark("people:gone");
            if self.people.there.get(&device_of(id)).is_some_and(|there| there.must_be(now)) {
                self.broken("P2", format!("{id} is said to be gone and is not"));
            }
            self.people.told.entry(link).or_default().remove(&device_of(id));
        }
        for person in &frame.people {
            let device = device_of(&person.user.id);
            let gone = self.people.there.get(&device).is_none_or(|there| there.must_not_be(now));
            if person.lease(HERE).is_some() && gone && !connected(device) {
                self.broken("P1", format!("u{device} is said to be there and is gone"));
            }
            let told = self.people.told.entry(link).or_default();
            if person.lease(TYPING).is_some() {
                told.insert(device);
                self.mark("people:typing");
            } else {
                told.remove(&device);
            }
        }
        if !frame.full {
            return;
        }
        let here = frame.people.iter().filter(|person| person.lease(HERE).is_some()).count() as u64;
        if !frame.more && !frame.crowded && frame.refused.is_none() && here != frame.count {
            self.broken("P1", format!("a list has {here} users and counts {}", frame.count));
        }
        if frame.settle_ms.is_some() && now > self.people.started + GRACE_MS {
            let how =
                format!("a list is not settled {} ms after the server started", now - self.people.started);
            self.broken("P1", how);
        }
        self.mark(if frame.settle_ms.is_some() { "people:settles" } else { "people:list" });
        let listed: BTreeSet<usize> = frame.people.iter().map(|person| device_of(&person.user.id)).collect();
        self.people.told.entry(link).or_default().retain(|device| listed.contains(device));
        let missing = self.people.there.iter().find(|(device, there)| {
            let is_listed = listed.contains(device) || frame.settle_ms.is_some();
            !is_listed && there.must_be(now)
        });
        if let Some((device, _)) = missing {
            let how = format!("a list is without u{device}, who is there");
            self.broken("P2", how);
        }
    }

    /// Nobody is told for long that somebody writes who has stopped.
    pub(crate) fn nobody_writes_for_ever(&mut self, now: u64) {
        let people = &self.people;
        let until = |device: &usize| people.writes.get(device).and_then(|writes| writes.values().max());
        let late = |device: &&usize| until(device).is_some_and(|until| now > until + 2 * TELL_MS);
        let found = people.told.iter().find_map(|(link, told)| {
            let device = told.iter().find(late)?;
            Some((*link, *device))
        });
        if let Some((link, device)) = found {
            self.broken("P3", format!("{link:?} is told that u{device} writes, who has stopped"));
        }
    }

    /// An application is told that somebody is gone, and not because the server said so: the server
    /// had no time to know better.
    pub(crate) fn drops(&mut self, now: u64, link: LinkId, id: &str) {
        let started = self.people.since.get(&link).copied().unwrap_or_default();
        self.mark("people:dropped");
        if now < started + GRACE_MS {
            let how = format!("{id} is shown as gone {} ms after the server started", now - started);
            self.broken("P2", how);
        }
    }
}
