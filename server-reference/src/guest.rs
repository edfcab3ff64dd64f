//! Guests: users without an account, whose tokens the server signs itself.

use crate::clock;
use crate::names;
use tidewire_core::wire::{self, User, UserKind};

/// The `iss` of guests' tokens.
pub(crate) const ISSUER: &str = "tidewire-guest";
/// The `kid` of the key that signs them.
pub(crate) const KEY_ID: &str = "tidewire-guest";
/// How long a guest's token can be renewed after it has expired, in seconds.
pub(crate) const RENEWABLE_S: u64 = 30 * 24 * 3600;
/// The prefix of the ids of this server's guests.
pub(crate) const ID_PREFIX: &str = "guest:";

/// The nickname without surrounding white space; `None` if it may not be shown.
pub(crate) fn nickname(text: &str) -> Option<String> {
    let text = wire::nickname(text)?;
    (!text.chars().any(names::is_hidden)).then(|| text.to_owned())
}

/// A guest with a new id.
pub(crate) fn new_guest(nickname: String) -> User {
    User {
        id: format!("{ID_PREFIX}{}", clock::random_id()),
        name: nickname,
        kind: UserKind::Guest,
        profile: None,
    }
}

#[cfg(test)]
mod tests {
    use super::nickname;

    #[test]
    fn nicknames_are_trimmed_and_bounded() {
        assert_eq!(nickname("  Ada  ").as_deref(), Some("Ada"));
        assert_eq!(nickname(&"ü".repeat(40)).map(|name| name.chars().count()), Some(40));
        assert_eq!(nickname(&"ü".repeat(41)), None);
        assert_eq!(nickname(" \n "), None);
        assert_eq!(nickname("a\u{7}b"), None);
        assert_eq!(nickname("\u{202e}nimda"), None);
        assert_eq!(nickname("\u{3164}"), None);
        assert!(nickname("\u{1f468}\u{200d}\u{1f4bb}").is_some(), "a joined emoji");
    }
}
