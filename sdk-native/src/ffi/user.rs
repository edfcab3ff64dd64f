//! Participants.

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
}

impl From<tidewire_core::wire::User> for User {
    fn from(user: tidewire_core::wire::User) -> User {
        User { id: user.id, name: user.name, kind: user.kind.into() }
    }
}
