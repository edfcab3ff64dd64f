//! Who is in a dialog or a channel, as an object.

use std::sync::Arc;

use tidewire_core::wire::TYPING;

use super::follower::Follower;
use super::numbers::large;
use super::user::User;
use crate::people_view::PeopleView;

/// Follows who is in a dialog or a channel. Closing or dropping it ends that, and so does the end
/// of the dialog or channel. It does not keep the client open.
#[derive(uniffi::Object)]
pub struct People {
    follower: Follower<PeopleView>,
}

/// Who is in a dialog or a channel. Its text form leaves out what people wrote.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct PeopleState {
    /// How far the list can be relied on.
    pub status: PeopleStatus,
    /// How many users are there; in a crowd there is only this.
    pub count: i64,
    /// The people, in the order in which they came.
    pub people: Vec<Person>,
}

/// How far the list of a channel's people, or its read positions, can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum PeopleStatus {
    /// It is as of earlier: the server has not answered yet, or there is no connection.
    Syncing,
    /// It is up to date.
    Live,
    /// There are too many people to be listed; the count is up to date. Of read positions: those of
    /// others are not told.
    Crowded,
    /// The server does not tell: `people_off` if the channel's rule does not have people, or why
    /// the channel can't be read.
    Refused { code: String },
}

/// A user in a channel. Its text form leaves out what people wrote.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct Person {
    /// The user.
    pub user: User,
    /// Whether this is the client's own user.
    pub own: bool,
    /// Whether the user is there; otherwise there is only what they hold.
    pub here: bool,
    /// The beginning of their oldest lease, ms since the Unix epoch by the server's clock.
    pub since_ms: i64,
    /// What the user does there, sorted by kind: `typing`, and kinds of the application's own.
    pub leases: Vec<PersonLease>,
}

/// What a user does in a channel at the moment. Its text form leaves the body out.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct PersonLease {
    /// The kind: `typing`, or one of the application's own.
    pub kind: String,
    /// The JSON text of an object.
    pub body: String,
    /// Since when, ms since the Unix epoch by the server's clock.
    pub since_ms: i64,
    /// Whether it ends by itself, unless it is renewed.
    pub brief: bool,
}

#[uniffi::export]
impl People {
    /// Who is there, as far as is known now; as it was then, once this is closed.
    pub fn state(&self) -> PeopleState {
        self.follower.state().into()
    }

    /// The users who are writing now, without this client's own.
    pub fn typing(&self) -> Vec<User> {
        self.follower.state().typing().into_iter().cloned().map(User::from).collect()
    }

    /// Waits for a change and returns the newest state; the first call returns the present one at
    /// once. States that came while nobody waited are left out, except for the newest. None once
    /// this, the dialog or channel, or the client is closed. One reader at a time. A cancelled call
    /// loses nothing.
    pub async fn next(&self) -> Option<PeopleState> {
        self.follower.next().await.map(PeopleState::from)
    }

    /// Ends the watching: `next` gives none from then on. Closing it again does nothing. Kotlin's
    /// name for it is `closeNow`, because `close` is `AutoCloseable`'s there.
    pub fn close(&self) {
        self.follower.close();
    }
}

#[uniffi::export]
impl PeopleState {
    /// The users who are writing, without this client's own.
    pub fn typing(&self) -> Vec<User> {
        let is_typing =
            |person: &&Person| !person.own && person.leases.iter().any(|lease| lease.kind == TYPING);
        self.people.iter().filter(is_typing).map(|person| person.user.clone()).collect()
    }
}

impl People {
    pub(super) fn new(people: crate::people::People) -> Arc<People> {
        Arc::new(People { follower: Follower::new(people.into_follower()) })
    }
}

impl From<crate::PeopleState> for PeopleState {
    fn from(state: crate::PeopleState) -> PeopleState {
        PeopleState {
            status: state.status.into(),
            count: large(state.count),
            people: state.people.iter().map(|person| Person::from(&**person)).collect(),
        }
    }
}

impl From<crate::PeopleStatus> for PeopleStatus {
    fn from(status: crate::PeopleStatus) -> PeopleStatus {
        match status {
            crate::PeopleStatus::Syncing => PeopleStatus::Syncing,
            crate::PeopleStatus::Live => PeopleStatus::Live,
            crate::PeopleStatus::Crowded => PeopleStatus::Crowded,
            crate::PeopleStatus::Refused { code } => PeopleStatus::Refused { code },
        }
    }
}

impl From<&crate::Person> for Person {
    fn from(person: &crate::Person) -> Person {
        Person {
            user: person.user.clone().into(),
            own: person.own,
            here: person.here,
            since_ms: large(person.since),
            leases: person.leases.iter().map(PersonLease::from).collect(),
        }
    }
}

impl From<&crate::PersonLease> for PersonLease {
    fn from(lease: &crate::PersonLease) -> PersonLease {
        PersonLease {
            kind: lease.kind.clone(),
            body: lease.body.clone(),
            since_ms: large(lease.since),
            brief: lease.brief,
        }
    }
}
