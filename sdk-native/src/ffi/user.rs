//! Participants.

use std::collections::HashMap;
use tidewire_core::wire::UserKind as CoreUserKind;

use super::words::words;

words! {
    /// Kinds of participants.
    UserKind = CoreUserKind {
        /// A guest.
        Guest,
        /// A user.
        User,
        /// An operator.
        Operator,
        /// The application's backend.
        Service,
        /// The model.
        Ai,
        /// The system.
        System,
    }
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct User {
    /// Stable id.
    pub id: String,
    /// The name that others see.
    pub name: String,
    /// The kind.
    pub kind: UserKind,
    /// What else is shown of them: `role`, `color` (`#rrggbb`), `picture` (an https address), and
    /// attributes of the application's own. Empty if there is nothing.
    pub profile: HashMap<String, String>,
}

impl From<tidewire_core::wire::User> for User {
    fn from(user: tidewire_core::wire::User) -> User {
        let profile = user.profile.map(|profile| profile.attributes()).unwrap_or_default();
        User { id: user.id, name: user.name, kind: user.kind.into(), profile: profile.into_iter().collect() }
    }
}
