//! Guests: visitors that the server itself vouches for.

use crate::auth::Auth;
use crate::clock;
use tidewire_core::wire::{User, UserKind};
use tidewire_server_core::AuthError;

/// The `iss` of guests' tokens.
pub(crate) const ISSUER: &str = "tidewire-guest";
/// The `kid` of the key that signs them.
pub(crate) const KEY_ID: &str = "tidewire-guest";
/// How long after its end a guest's token can still be renewed, in seconds.
const RENEWABLE_S: u64 = 30 * 24 * 3600;
/// Longest nickname, in characters.
const MAX_NICKNAME: usize = 40;

/// A nickname without the white space around it, when it may be shown.
pub(crate) fn nickname(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=MAX_NICKNAME).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// A guest nobody has seen before.
pub(crate) fn new_guest(nickname: String) -> User {
    User { id: format!("guest:{}", clock::random_id()), name: nickname, kind: UserKind::Guest }
}

/// The guest of an earlier token, which may have ended, with a new nickname if one is given.
pub(crate) fn renewed(auth: &Auth, token: &str, nickname: Option<String>) -> Result<User, AuthError> {
    let mut user = auth.verify_guest(token, RENEWABLE_S)?.user;
    if let Some(nickname) = nickname {
        user.name = nickname;
    }
    Ok(user)
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
    }
}
