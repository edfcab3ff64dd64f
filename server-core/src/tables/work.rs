//! How much work it is to tell subscriptions of commits, and who does what is much of it.
//!
//! Whoever writes a filter decides how long it takes to judge a row. What takes little is done
//! where it comes up, under the lock that all share. What takes more is left to the driver
//! ([`Tables::catch_up`]), a slice for each owner in turn and without the lock: the subscription
//! leaves its feed and reads the log, as one does that reads slowly.

use super::Tables;
use super::catch_up::Batch;
use super::cost::work;
use super::pages::Pages;
use super::ring::Logged;
use super::shape::Shape;
use super::state::{Phase, State};
use std::sync::Arc;

/// How many times as much work as for a subscription is done at once for a commit, and for a slice:
/// some ms.
pub(super) const OF_A_COMMIT: usize = 16;
const OF_A_SLICE: usize = 16;

/// A slice of work.
struct Slice {
    sub: u64,
    shape: Arc<Shape>,
    pages: Option<Arc<Pages>>,
    logged: Vec<Arc<Logged>>,
    begin: Batch,
    most: usize,
    epoch: Option<String>,
    /// There is more of the log behind it.
    more: bool,
}

impl State {
    /// A subscription that reads the log goes on in its turn.
    pub(super) fn lag(&mut self, sub: u64) {
        if let Some(owner) = self.subs.get(&sub).map(|sub| sub.owner.clone()) {
            self.lagging.push(&owner, sub);
        }
    }

    /// A group's subscriptions leave the feed, with all up to `before`.
    pub(super) fn lag_group(&mut self, group: u64, before: u64) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        let last = group.last;
        let subs: Vec<u64> =
            std::mem::take(&mut group.live).into_values().flat_map(|audience| audience.subs).collect();
        for id in subs {
            if let Some(sub) = self.subs.get_mut(&id) {
                (sub.phase, sub.last, sub.applied) = (Phase::Behind(None), last, before);
            }
            self.lag(id);
        }
    }

    fn next_slice(&mut self) -> Option<Slice> {
        loop {
            let id = self.lagging.pop()?;
            let Some(sub) = self.subs.get(&id) else { continue };
            let Phase::Behind(pages) = &sub.phase else { continue };
            let Some(group) = self.groups.get(&sub.group) else { continue };
            if sub.applied < self.ring.floor() {
                // Which resets it.
                self.serve(id);
                continue;
            }
            let (mut logged, mut sum, mut more) = (Vec::new(), 0, false);
            for one in self.ring.logged_after(sub.applied) {
                if sum > OF_A_SLICE * self.limits.at_once {
                    more = true;
                    break;
                }
                sum += work(&group.shape, one);
                logged.push(one.clone());
            }
            return Some(Slice {
                sub: id,
                shape: group.shape.clone(),
                pages: pages.clone(),
                logged,
                begin: Batch::after(sub),
                most: self.limits.frame_bytes,
                epoch: self.epoch.clone(),
                more,
            });
        }
    }

    /// What the slice found goes to the subscription, if that is where it was.
    fn take_slice(&mut self, slice: &Slice, batch: Batch) {
        let Some(sub) = self.subs.get(&slice.sub) else { return };
        let as_it_was = matches!(sub.phase, Phase::Behind(_))
            && (sub.last, sub.applied) == (slice.begin.last, slice.begin.applied)
            && self.epoch == slice.epoch;
        if !as_it_was {
            return self.serve(slice.sub);
        }
        let more = batch.more || slice.more;
        if self.send_batch(slice.sub, batch) {
            match more {
                true => self.lag(slice.sub),
                false => self.serve(slice.sub),
            }
        }
    }
}

impl Tables {
    /// Does some ms of the work that is not done at once; whether there is more. The driver calls
    /// it when it is woken, on a thread that may take its time, until it says no.
    pub fn catch_up(&self) -> bool {
        let Some(slice) = self.state.lock().next_slice() else { return false };
        let logged = slice.logged.iter().map(AsRef::as_ref);
        let epoch = slice.epoch.as_deref();
        let batch = slice.begin.clone().read(&slice.shape, slice.pages.as_deref(), logged, slice.most, epoch);
        let mut state = self.state.lock();
        state.take_slice(&slice, batch);
        !state.lagging.is_empty()
    }

    /// Wakes the driver if there is such work.
    pub(super) fn wake_if_lagging(&self, state: &State) {
        if !state.lagging.is_empty() {
            (self.wake)();
        }
    }
}
