//! Participants, protocol section 4.

use super::DecodeError;
use super::json::{Object, Writer};

/// The kind of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKind {
    /// A visitor with a guest session.
    Guest,
    /// A user of the application.
    User,
    /// A person who answers on behalf of the application's owner.
    Operator,
    /// The application's backend.
    Service,
    /// The model.
    Ai,
    /// The server itself.
    System,
}

impl UserKind {
    /// The name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            UserKind::Guest => "guest",
            UserKind::User => "user",
            UserKind::Operator => "operator",
            UserKind::Service => "service",
            UserKind::Ai => "ai",
            UserKind::System => "system",
        }
    }

    /// Parses the name; an unknown one counts as a user.
    pub fn parse(word: &str) -> UserKind {
        match word {
            "guest" => UserKind::Guest,
            "operator" => UserKind::Operator,
            "service" => UserKind::Service,
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
    /// The name that others see.
    pub name: String,
    /// The kind.
    pub kind: UserKind,
}

impl User {
    /// Writes an object of `id`, `name`, `kind`.
    pub fn write(&self, writer: Writer) -> Writer {
        writer.begin().str("id", &self.id).str("name", &self.name).str("kind", self.kind.as_str()).close()
    }

    /// Reads an object of `id`, `name`, `kind`.
    pub fn read(object: &Object<'_>) -> Result<User, DecodeError> {
        Ok(User {
            id: object.need_text("id")?,
            name: object.need_text("name")?,
            kind: UserKind::parse(&object.need_str("kind")?),
        })
    }
}
