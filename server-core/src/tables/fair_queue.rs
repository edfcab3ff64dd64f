//! Subscriptions that wait for their turn.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Who answers for the work that a subscription is: a user, or the address of a guest.
pub(crate) type Owner = Arc<str>;

/// Subscriptions whose next work is not done at once, by who answers for it.
#[derive(Default)]
pub(super) struct FairQueue {
    by_owner: BTreeMap<Owner, VecDeque<u64>>,
    /// Whose turn was last.
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

    /// The next one of the next owner.
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
