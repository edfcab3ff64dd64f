//! The ids of sessions, and credentials that are nothing but the secret of a session.

use crate::names;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tidewire_core::wire::Profile;
use tidewire_server_core::access::profile;

/// The prefix of the id of a session with a secret; the secret's SHA-256 in base64url follows.
const OF_SECRET: &str = "sha256:";
/// Length of such an id.
const OF_SECRET_LENGTH: usize = OF_SECRET.len() + 43;
/// Shortest secret, in characters: 128 random bits have 32 as hexadecimal digits.
const MIN_SECRET: usize = 32;
const MAX_SECRET: usize = 128;

/// Whether a session can have this id.
pub(crate) fn is_name(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// Whether this is the id of a session with a secret.
pub(crate) fn is_of_secret(id: &str) -> bool {
    id.starts_with(OF_SECRET)
}

/// Whether an id that begins like that of a session with a secret has its whole form.
pub(crate) fn is_digest(id: &str) -> bool {
    let digest = id.strip_prefix(OF_SECRET).unwrap_or_default();
    id.len() == OF_SECRET_LENGTH && URL_SAFE_NO_PAD.decode(digest).is_ok_and(|bytes| bytes.len() == 32)
}

/// The id of the session that a credential is the secret of; `None` if it is too short, or has the
/// dots of a token.
pub(crate) fn of_secret(credential: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_secret = (MIN_SECRET..=MAX_SECRET).contains(&credential.len()) && credential.bytes().all(is_plain);
    is_secret.then(|| format!("{OF_SECRET}{}", URL_SAFE_NO_PAD.encode(Sha256::digest(credential))))
}

/// The profile of these members, each of which must be a string; null ones are left out.
pub(crate) fn shown(attributes: &Map<String, Value>) -> Result<Option<Profile>, String> {
    let mut texts = Vec::new();
    for (name, value) in attributes.iter().filter(|(_, value)| !value.is_null()) {
        texts.push((name.as_str(), value.as_str().ok_or("attributes must be strings")?));
    }
    profile(texts.into_iter(), names::is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_names_its_session_by_its_digest() {
        let secret = "0123456789abcdef0123456789abcdef";
        let id = of_secret(secret).unwrap();
        assert_eq!(id, "sha256:PrG9Q5lH63YpmOVmzMLgmceREYsvQFecxPfaK1Bht_k");
        assert!(is_digest(&id) && is_name(&id) && is_of_secret(&id));
        assert_eq!(id, of_secret(secret).unwrap());
        for bad in [
            "",
            "short",
            &secret[1..],
            "a.b.c",
            &"x".repeat(129),
            &format!("{secret} "),
            &format!("{secret}."),
        ] {
            assert!(of_secret(bad).is_none(), "{bad}");
        }
        for bad in ["sha256:", "sha256:abc", &id[..49], &format!("{id}A"), "s"] {
            assert!(!is_digest(bad), "{bad}");
        }
    }
}
