//! Who a rule is about.

use thiserror::Error;
use tidewire_core::wire::UserKind;

/// Some of the users, as a rule names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// `everyone`: whoever has a valid token.
    Everyone,
    /// `guests`, `users` or `operators`: the users of a kind.
    Kind(UserKind),
    /// `role:NAME`: whose token has the role in its claim `roles`.
    Role(String),
    /// `members`: users who were made members of the channel.
    Members,
    /// `owner`: who created the dialog.
    Owner,
    /// `self`: the user whose id the pattern's placeholder stands for. Guests are others.
    Itself,
    /// `claim:NAME`: in whose token this claim is a list with what the pattern's placeholder stands
    /// for.
    Claim(String),
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` names nobody; it must be everyone, guests, users, operators, members, owner, self, role:NAME or claim:NAME"
)]
pub struct WhoError(pub String);

impl Who {
    /// Parses a word of a rule.
    pub fn parse(text: &str) -> Result<Who, WhoError> {
        Ok(match text {
            "everyone" => Who::Everyone,
            "guests" => Who::Kind(UserKind::Guest),
            "users" => Who::Kind(UserKind::User),
            "operators" => Who::Kind(UserKind::Operator),
            "members" => Who::Members,
            "owner" => Who::Owner,
            "self" => Who::Itself,
            _ => match text.split_once(':') {
                Some(("role", name)) if !name.is_empty() => Who::Role(name.to_owned()),
                Some(("claim", name)) if !name.is_empty() => Who::Claim(name.to_owned()),
                _ => return Err(WhoError(text.to_owned())),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_nobody_is_refused_with_the_words_there_are() {
        for text in ["", "everybody", "role", "role:", "claim:", "Owner", "operator", " users", "member:x"] {
            let error = Who::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}` names nobody")), "{error}");
        }
        assert_eq!(Who::parse("role:a:b"), Ok(Who::Role("a:b".to_owned())));
    }
}
