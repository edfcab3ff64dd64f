//! The work of a table that is not done where it comes up.
//!
//! Whoever writes a filter decides how long it takes to judge a row, and whoever subscribes how
//! many frames a commit makes. What takes little is done by whoever publishes. What takes more is
//! left to the driver ([`Tables::work`]), which has a thread for each table. A subscription whose
//! rows take much to judge leaves its feed and reads the log, as one does that reads slowly, in
//! slices for each owner in turn.

use super::Tables;
use super::catch_up::Slice;
use super::cost::work;
use super::state::{Phase, State};

/// How many times as much work as for a subscription is judged at once for a commit, and for a
/// slice: some ms.
pub(super) const OF_A_COMMIT: usize = 16;
pub(super) const OF_A_SLICE: usize = 16;

impl State {
    /// A subscription that reads the log goes on in its turn.
    pub(super) fn lag(&mut self, sub: u64) {
        if let Some(owner) = self.subs.get(&sub).map(|sub| sub.owner.clone()) {
            self.lagging.push(&owner, sub);
            self.after.work = true;
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

    /// Some of the log for whoever is next.
    pub(super) fn next_slice(&mut self) -> Option<Slice> {
        let most = OF_A_SLICE * self.shared.limits.at_once;
        loop {
            let id = self.lagging.pop()?;
            let Some(sub) = self.subs.get(&id) else { continue };
            let Some(group) = self.groups.get(&sub.group) else { continue };
            let (mut entries, mut sum, mut upto) = (Vec::new(), 0, Some(self.head));
            for entry in self.history.after(sub.applied) {
                if sum > most {
                    upto = None;
                    break;
                }
                sum += work(&group.shape, &entry.logged);
                entries.push(entry.clone());
            }
            if entries.is_empty() || sub.applied < self.history.floor() {
                // Which makes it live, or resets it.
                self.after.ready.push(id);
                continue;
            }
            if let Some(slice) = self.slice(id, entries, upto, true) {
                return Some(slice);
            }
        }
    }
}

impl Tables {
    /// Does some ms of a table's work that is not done at once; whether there is more. The driver
    /// calls it when it is woken for it, on a thread that may take its time, until it says no. Of
    /// two threads that do it for one table the second has nothing to do.
    pub fn work(&self, table: usize) -> bool {
        let published = self.publish_some(table);
        self.serve_slice(table) || published
    }

    /// Does some ms of the work of each table, for a driver with one thread; whether there is more.
    pub fn catch_up(&self) -> bool {
        let busy = (0..self.count()).filter(|table| self.work(*table));
        busy.count() > 0
    }
}
