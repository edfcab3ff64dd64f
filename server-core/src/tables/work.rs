//! Work that is not done by the thread on which it arises.
//!
//! A filter decides how long matching a row takes, and the number of subscriptions how many frames
//! a commit makes. Little work is done at once by the thread that publishes. More is left to the
//! driver, which has a thread for each table ([`Tables::work`]). A subscription whose rows take
//! much work to match leaves its feed and reads the log in slices, for each owner in turn, as a
//! slow consumer does.

use super::Tables;
use super::catch_up::Slice;
use super::cost::work;
use super::state::{Phase, State};

/// Limits of the matching for one commit, and for one slice, as multiples of the limit for one
/// subscription: some ms.
pub(super) const OF_A_COMMIT: usize = 16;
pub(super) const OF_A_SLICE: usize = 16;

impl State {
    /// Puts a subscription that reads the log into the fair queue.
    pub(super) fn lag(&mut self, sub: u64) {
        if let Some(owner) = self.subs.get(&sub).map(|sub| sub.owner.clone()) {
            self.lagging.push(&owner, sub);
            self.after.work = true;
        }
    }

    /// Lets a group's subscriptions leave the feed, with everything up to `before`.
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

    /// The next slice of the log, for the subscription whose turn it is.
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
                // It joins the feed, or is reset.
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
    /// Does some ms of a table's work; true if there is more. The driver calls this when it is
    /// woken for the table, until it returns false, on a thread that may take long. If two threads
    /// do this for one table, the second finds nothing to do.
    pub fn work(&self, table: usize) -> bool {
        let published = self.publish_some(table);
        self.serve_slice(table) || published
    }

    /// Does some ms of work for each table, for a driver with one thread; true if there is more.
    pub fn catch_up(&self) -> bool {
        let busy = (0..self.count()).filter(|table| self.work(*table));
        busy.count() > 0
    }
}
