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
    /// What else is shown of them.
    pub profile: Option<Profile>,
}

impl User {
    /// Writes an object of `id`, `name`, `kind`, and `profile` if there is one.
    pub fn write(&self, writer: Writer) -> Writer {
        let writer =
            writer.begin().str("id", &self.id).str("name", &self.name).str("kind", self.kind.as_str());
        match &self.profile {
            Some(profile) => writer.raw("profile", profile.as_json()),
            None => writer,
        }
        .close()
    }

    /// Reads an object of `id`, `name`, `kind`, and `profile` if there is one.
    pub fn read(object: &Object<'_>) -> Result<User, DecodeError> {
        Ok(User {
            id: object.need_text("id")?,
            name: object.need_text("name")?,
            kind: UserKind::parse(&object.need_str("kind")?),
            profile: match object.opt("profile") {
                Some(raw) => Some(Profile::from_json(raw).ok_or(DecodeError::Member("profile"))?),
                None => None,
            },
        })
    }
}

/// What is shown of a user besides the name: `role`, `color` (`#rrggbb`), `picture` (an https
/// address), and attributes of the application's own. All of them are texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(String);

impl Profile {
    /// A profile from the JSON text of an object; `None` if it is something else. Members that are
    /// no strings count as absent.
    pub fn from_json(text: &str) -> Option<Profile> {
        text.starts_with('{').then(|| Profile(text.to_owned()))
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// An attribute.
    pub fn get(&self, name: &str) -> Option<String> {
        Object::parse(&self.0).ok()?.text(name)
    }

    /// All attributes, in the order of the text.
    pub fn attributes(&self) -> Vec<(String, String)> {
        let Ok(object) = Object::parse(&self.0) else { return Vec::new() };
        object.names().filter_map(|name| Some((name.to_owned(), object.text(name)?))).collect()
    }
}
