//! The identity that a token stands for, and what it allows (protocol section 7). Drivers verify
//! tokens.

use crate::store::{Account, key_of};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tidewire_core::Now;
use tidewire_core::wire::{User, codes};

/// Tolerated difference between clocks, in seconds.
pub const LEEWAY_S: u64 = 30;

/// The user that a valid token stands for, and what it allows.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user as others see them.
    pub user: User,
    /// The account that the token names; the server's own if a user's or guest's token names none.
    /// An operator or service whose token names none has none, and sees nothing.
    pub account: Option<Account>,
    /// What a service may do ([`Scope`]); empty for everybody else.
    pub scopes: BTreeSet<Scope>,
    /// The roles that the token gives.
    pub roles: BTreeSet<String>,
    /// The values of claims that permissions of tables ([`crate::tables::Tables::claims`]) and rules
    /// of channels ([`crate::rules::Rules::claims`]) name. Numbers and booleans are given as text.
    pub claims: BTreeMap<String, Vec<String>>,
    /// When the token was issued, seconds since the Unix epoch; `None` if the token does not say.
    pub issued_s: Option<u64>,
    /// When the token ends, seconds since the Unix epoch.
    pub expires_s: u64,
}

/// Something that the application's backend may do, everywhere in its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `read`: read every channel.
    Read,
    /// `publish`: write in every channel, and send signals.
    Publish,
    /// `dialogs`: create dialogs for others, and delete them.
    Dialogs,
    /// `members`: say who the members of channels are.
    Members,
    /// `revoke`: take access back.
    Revoke,
    /// `connections`: list and close connections.
    Connections,
    /// `metrics`: read the server's metrics, which are about all accounts; only in the server's own
    /// account.
    Metrics,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 7] = [
        Scope::Read,
        Scope::Publish,
        Scope::Dialogs,
        Scope::Members,
        Scope::Revoke,
        Scope::Connections,
        Scope::Metrics,
    ];

    /// The word in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Publish => "publish",
            Scope::Dialogs => "dialogs",
            Scope::Members => "members",
            Scope::Revoke => "revoke",
            Scope::Connections => "connections",
            Scope::Metrics => "metrics",
        }
    }

    /// Parses the word.
    pub fn parse(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

impl Identity {
    /// A name that is unique over kinds: a guest and a user with the same id have different keys.
    pub fn key(&self) -> String {
        key_of(self.user.kind, &self.user.id)
    }

    /// Whether a claim of the token is a list with this value.
    pub(crate) fn lists(&self, claim: &str, value: &str) -> bool {
        self.claims.get(claim).is_some_and(|values| values.iter().any(|other| other == value))
    }

    /// The time until the token expires, in ms.
    pub fn ttl_ms(&self, now: Now) -> u64 {
        self.expires_s.saturating_mul(1000).saturating_sub(now.wall)
    }

    /// Whether the token was issued at or before this time, ms since the Unix epoch. True also
    /// within the same second, and for a token that does not say when it was issued.
    pub(crate) fn is_issued_by(&self, at_ms: u64) -> bool {
        self.issued_s.is_none_or(|issued| issued.saturating_mul(1000) <= at_ms)
    }

    /// The time until the token is no longer accepted, with leeway, in ms.
    pub(crate) fn good_ms(&self, now: Now) -> u64 {
        let end_ms = self.expires_s.saturating_add(LEEWAY_S).saturating_mul(1000);
        end_ms.saturating_sub(now.wall)
    }
}

/// Verifies tokens. The driver has the keys.
pub trait Verify: Send + Sync {
    /// The identity that a token stands for at this time.
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError>;
}

/// Why a token is refused. The messages never contain it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The token has expired; everything else about it is right.
    #[error("the token expired at {at}; fetch a new one")]
    Expired {
        /// Seconds since the Unix epoch.
        at: u64,
    },
    /// Another check failed.
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
