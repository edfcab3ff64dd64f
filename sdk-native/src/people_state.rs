//! Who is in a channel and what they do there, as a screen shows it.

use std::sync::Arc;

use tidewire_core::PeopleStatus;
use tidewire_core::wire::{self, HERE, TYPING, User};

/// Who is in a dialog or a channel. Cheap to clone; people who did not change are shared with the
/// state before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeopleState {
    /// How far the list can be relied on.
    pub status: PeopleStatus,
    /// How many users are there; in a crowd there is only this.
    pub count: u64,
    /// The people, in the order in which they came.
    pub people: Arc<[Arc<Person>]>,
}

/// A user in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user: User,
    /// Whether this is the client's own user.
    pub own: bool,
    /// Whether the user is there; otherwise there is only what they hold.
    pub here: bool,
    /// The beginning of their oldest lease, ms since the Unix epoch by the server's clock.
    pub since: u64,
    /// What the user does there, sorted by kind: `typing`, and kinds of the application's own.
    pub leases: Vec<PersonLease>,
}

/// What a user does in a channel at the moment. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonLease {
    /// The kind: `typing`, or one of the application's own.
    pub kind: String,
    /// The JSON text of an object.
    pub body: String,
    /// Since when, ms since the Unix epoch by the server's clock.
    pub since: u64,
    /// Whether it ends by itself, unless it is renewed.
    pub brief: bool,
}

impl std::fmt::Debug for PersonLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonLease")
            .field("kind", &self.kind)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl PeopleState {
    /// The users who are writing, without this client's own.
    pub fn typing(&self) -> Vec<&User> {
        let others = self.people.iter().filter(|person| !person.own && person.lease(TYPING).is_some());
        others.map(|person| &person.user).collect()
    }
}

impl Default for PeopleState {
    fn default() -> PeopleState {
        PeopleState { status: PeopleStatus::Syncing, count: 0, people: Arc::from([]) }
    }
}

impl Person {
    /// What they do of this kind.
    pub fn lease(&self, kind: &str) -> Option<&PersonLease> {
        self.leases.iter().find(|lease| lease.kind == kind)
    }

    /// A person as `me` sees them.
    pub(crate) fn seen_by(me: Option<&User>, person: wire::Person) -> Person {
        let own = me.is_some_and(|me| me.kind == person.user.kind && me.id == person.user.id);
        let here = person.lease(HERE).is_some();
        let since = person.leases.iter().map(|lease| lease.since).min().unwrap_or_default();
        let leases = person.leases.into_iter().filter(|lease| lease.kind != HERE);
        Person { user: person.user, own, here, since, leases: leases.map(PersonLease::from).collect() }
    }
}

impl From<wire::Lease> for PersonLease {
    fn from(lease: wire::Lease) -> PersonLease {
        PersonLease { kind: lease.kind, body: lease.body, since: lease.since, brief: lease.brief }
    }
}
