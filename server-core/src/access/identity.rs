//! Whom a token names, and what it allows (protocol section 7). Checking one is the driver's.

use std::collections::{BTreeMap, HashSet};
use thiserror::Error;
use tidewire_core::Now;
use tidewire_core::wire::{User, UserKind, codes};

/// How far clocks may differ, in seconds.
pub const LEEWAY_S: u64 = 30;

/// Whom a valid token names, and what it allows.
#[derive(Debug, Clone)]
pub struct Identity {
    /// As others see them.
    pub user: User,
    /// Ids of dialogs the token gives access to.
    pub dialogs: HashSet<String>,
    /// Other claims that permissions of tables name ([`crate::tables::Tables::claims`]), each with
    /// its values: texts, and numbers and booleans as text.
    pub claims: BTreeMap<String, Vec<String>>,
    /// When the token was issued, seconds since the Unix epoch; none when it does not say.
    pub issued_s: Option<u64>,
    /// When the token ends, seconds since the Unix epoch.
    pub expires_s: u64,
}

impl Identity {
    /// One name for kind and id: a guest and a user with the same id are two.
    pub fn key(&self) -> String {
        Identity::key_of(self.user.kind, &self.user.id)
    }

    /// The same name from its parts.
    pub fn key_of(kind: UserKind, id: &str) -> String {
        format!("{}:{id}", kind.as_str())
    }

    /// How long the token still lasts, in ms.
    pub fn ttl_ms(&self, now: Now) -> u64 {
        self.expires_s.saturating_mul(1000).saturating_sub(now.wall)
    }

    /// Whether the token was issued by then, ms since the Unix epoch. One of the very second
    /// counts, and one that does not say.
    pub(crate) fn is_issued_by(&self, at_ms: u64) -> bool {
        self.issued_s.is_none_or(|issued| issued.saturating_mul(1000) <= at_ms)
    }

    /// How long the token is still good, leeway included, in ms.
    pub(crate) fn good_ms(&self, now: Now) -> u64 {
        let end_ms = self.expires_s.saturating_add(LEEWAY_S).saturating_mul(1000);
        end_ms.saturating_sub(now.wall)
    }
}

/// Checks tokens: the driver knows the keys.
pub trait Verify: Send + Sync {
    /// Whom a token names at this time.
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError>;
}

/// Why a token is refused. The messages never contain it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Everything else about it was right.
    #[error("the token expired at {at}; fetch a new one")]
    Expired {
        /// Seconds since the Unix epoch.
        at: u64,
    },
    /// A check failed.
    #[error("the token was refused: {0}")]
    Refused(String),
}

impl AuthError {
    pub(crate) fn revoked() -> AuthError {
        AuthError::Refused("revoked: it was issued before the user's access was taken back".to_owned())
    }

    /// The stable code of the protocol, section 9.
    pub fn code(&self) -> &'static str {
        match self {
            AuthError::Expired { .. } => codes::TOKEN_EXPIRED,
            AuthError::Refused(_) => codes::UNAUTHORIZED,
        }
    }
}
