//! A queue of subscriptions that is fair between their owners.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Whose share of the server's time a subscription uses: a user, or the address of a guest.
pub(crate) type Owner = Arc<str>;

/// Lagging subscriptions, by owner. Each owner has one turn after the other.
#[derive(Default)]
pub(super) struct FairQueue {
    by_owner: BTreeMap<Owner, VecDeque<u64>>,
    /// The owner that had the last turn.
    last: Option<Owner>,
}

impl FairQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.by_owner.is_empty()
    }

    pub(super) fn push(&mut self, owner: &Owner, sub: u64) {
        let subs = self.by_owner.entry(owner.clone()).or_default();
        if !subs.contains(&sub) {
            subs.push_back(sub);
        }
    }

    /// Takes a subscription of the next owner.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let after = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.by_owner.range::<Owner, _>((after, Bound::Unbounded));
        let next = later.next().or_else(|| self.by_owner.iter().next());
        let owner = next.map(|(owner, _)| owner.clone())?;
        let subs = self.by_owner.get_mut(&owner)?;
        let sub = subs.pop_front();
        if subs.is_empty() {
            self.by_owner.remove(&owner);
        }
        self.last = Some(owner);
        sub
    }
}
