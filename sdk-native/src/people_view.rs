//! The hub's side of a channel's people: who is there, and who holds which lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidewire_core::wire::{self, User};
use tidewire_core::{Change, PeopleStatus};

use crate::core::Core;
use crate::people_state::{PeopleState, Person};
use crate::view::View;

/// The people of one channel, for their watchers.
pub(crate) struct PeopleView {
    people: Vec<Arc<Person>>,
    /// Changes of the list since the last state.
    changes: Vec<Change<wire::Person>>,
    /// The status and the count after them.
    shown: (PeopleStatus, u64),
}

impl View for PeopleView {
    type State = PeopleState;
    /// The changes of the list, the status and the count.
    type News = (Vec<Change<wire::Person>>, PeopleStatus, u64);

    fn new(channel: &str, core: &Core) -> PeopleView {
        let (people, status, count) = core.people(channel).unwrap_or_default();
        PeopleView { people: Vec::new(), changes: vec![Change::Reset(people)], shown: (status, count) }
    }

    fn take(&mut self, (changes, status, count): Self::News) {
        self.changes.extend(changes);
        self.shown = (status, count);
    }

    fn state(&mut self, me: Option<&User>) -> PeopleState {
        for change in self.changes.drain(..) {
            let change = change.map(|person| Arc::new(Person::seen_by(me, person)));
            let fits = change.apply(&mut self.people, |_, _| {});
            debug_assert!(fits, "a change beyond the people");
        }
        let (status, count) = self.shown.clone();
        PeopleState { status, count, people: self.people.clone().into() }
    }
}

/// The handles that hold a channel's leases, by kind.
#[derive(Default)]
pub(crate) struct LeaseHolders(BTreeMap<String, BTreeSet<u64>>);

impl LeaseHolders {
    pub(crate) fn add(&mut self, kind: &str, handle: u64) {
        self.0.entry(kind.to_owned()).or_default().insert(handle);
    }

    /// True if no handle holds the lease any more, or none did.
    pub(crate) fn remove(&mut self, kind: &str, handle: u64) -> bool {
        let Some(handles) = self.0.get_mut(kind) else { return true };
        handles.remove(&handle);
        let is_free = handles.is_empty();
        if is_free {
            self.0.remove(kind);
        }
        is_free
    }

    /// Removes a handle; returns the kinds that only it held.
    pub(crate) fn remove_all(&mut self, handle: u64) -> Vec<String> {
        let mut free = Vec::new();
        self.0.retain(|kind, handles| {
            let is_free = handles.remove(&handle) && handles.is_empty();
            if is_free {
                free.push(kind.clone());
            }
            !is_free
        });
        free
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_free_once_its_last_handle_lets_go() {
        let mut holders = LeaseHolders::default();
        for (kind, handle) in [("status", 1), ("status", 2), ("viewing", 1), ("status", 1)] {
            holders.add(kind, handle);
        }
        assert!(!holders.remove("status", 1), "the second one holds it");
        assert!(!holders.remove("status", 1), "still");
        assert_eq!(holders.remove_all(1), ["viewing"]);
        assert_eq!(holders.remove_all(2), ["status"]);
        assert!(holders.is_empty() && holders.remove("status", 2), "nobody holds it");
    }
}
