//! Who takes part, protocol section 4.

use super::DecodeError;
use super::json::{Object, Writer};

/// What kind of participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKind {
    /// A visitor with a session of the server's.
    Guest,
    /// A user of the application.
    User,
    /// Somebody who answers for the application's owner.
    Operator,
    /// The model.
    Ai,
    /// The server itself.
    System,
}

impl UserKind {
    /// The protocol's word.
    pub fn as_str(self) -> &'static str {
        match self {
            UserKind::Guest => "guest",
            UserKind::User => "user",
            UserKind::Operator => "operator",
            UserKind::Ai => "ai",
            UserKind::System => "system",
        }
    }

    /// Reads the protocol's word; an unknown one counts as a user.
    pub fn parse(word: &str) -> UserKind {
        match word {
            "guest" => UserKind::Guest,
            "operator" => UserKind::Operator,
            "ai" => UserKind::Ai,
            "system" => UserKind::System,
            _ => UserKind::User,
        }
    }
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Stable id.
    pub id: String,
    /// What others see.
    pub name: String,
    /// What kind.
    pub kind: UserKind,
}

impl User {
    /// The JSON text.
    pub fn encode(&self) -> String {
        Writer::object().str("id", &self.id).str("name", &self.name).str("kind", self.kind.as_str()).end()
    }

    /// Reads an object of `id`, `name`, `kind`.
    pub fn read(object: &Object<'_>) -> Result<User, DecodeError> {
        Ok(User {
            id: object.need_str("id")?.into_owned(),
            name: object.need_str("name")?.into_owned(),
            kind: UserKind::parse(&object.need_str("kind")?),
        })
    }
}
