//! The identity that a token stands for, and what it allows (protocol section 7). Drivers verify
//! tokens.

use super::held::Held;
use super::page::Page;
use crate::store::{Account, SessionRow, key_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::Now;
use tidewire_core::wire::User;
use tidewire_core::wire::codes::{self, close};

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
    /// When the token ends, seconds since the Unix epoch. See [`Identity::ends_s`].
    pub expires_s: u64,
    /// The session in the store that says more about the user, as it is now.
    pub session: Option<Arc<Held>>,
    /// The site whose guest it is.
    pub site: Option<SiteGuest>,
}

/// A guest of a site.
#[derive(Debug, Clone)]
pub struct SiteGuest {
    /// The site's key.
    pub site: String,
    /// The page of the connection, once that is known.
    pub page: Option<Page>,
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
    /// `sessions`: write the sessions of users.
    Sessions,
    /// `sites`: say which pages elsewhere may have guests.
    Sites,
    /// `connections`: list and close connections.
    Connections,
    /// `metrics`: read the server's metrics, which are about all accounts; only in the server's own
    /// account.
    Metrics,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 9] = [
        Scope::Read,
        Scope::Publish,
        Scope::Dialogs,
        Scope::Members,
        Scope::Revoke,
        Scope::Sessions,
        Scope::Sites,
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
            Scope::Sessions => "sessions",
            Scope::Sites => "sites",
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

    /// The user as others see them now: the session's name and profile count before the token's.
    pub(crate) fn shown(&self) -> User {
        let mut user = self.user.clone();
        if let Some(row) = self.row() {
            user.name = row.name.clone().unwrap_or(user.name);
            user.profile = row.profile.clone().or(user.profile);
        }
        user
    }

    /// Whether the user has this role now.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role) || self.session_lists("roles", role)
    }

    /// Whether a claim of the token, or of the session as it is now, is a list with this value.
    pub(crate) fn lists(&self, claim: &str, value: &str) -> bool {
        self.claims.get(claim).is_some_and(|values| values.iter().any(|other| other == value))
            || self.session_lists(claim, value)
    }

    /// All values that a claim has now; `None` if there is no such claim.
    pub(crate) fn values(&self, claim: &str) -> Option<Vec<String>> {
        let row = self.row();
        let of_session = row.as_ref().and_then(|row| row.claims.get(claim));
        let of_token = self.claims.get(claim);
        if of_session.is_none() && of_token.is_none() {
            return None;
        }
        let mut values = of_token.cloned().unwrap_or_default();
        let more =
            of_session.into_iter().flatten().filter(|value| !of_token.is_some_and(|of| of.contains(value)));
        values.extend(more.cloned());
        Some(values)
    }

    fn session_lists(&self, claim: &str, value: &str) -> bool {
        self.row().is_some_and(|row| row.claims.get(claim).is_some_and(|values| values.contains(value)))
    }

    fn row(&self) -> Option<Arc<SessionRow>> {
        self.session.as_ref()?.row()
    }

    /// When the token or the session ends, whichever is first, seconds since the Unix epoch.
    pub fn ends_s(&self) -> u64 {
        self.expires_s.min(self.row().map_or(u64::MAX, |row| row.ends_ms / 1000))
    }

    /// The time until the token expires or the session ends, in ms.
    pub fn ttl_ms(&self, now: Now) -> u64 {
        self.expires_s.saturating_mul(1000).min(self.session_ends_ms()).saturating_sub(now.wall)
    }

    /// A session ends by this server's clock, so there is no leeway.
    fn session_ends_ms(&self) -> u64 {
        self.row().map_or(u64::MAX, |row| row.ends_ms)
    }

    /// Whether the token was issued at or before this time, ms since the Unix epoch. True also
    /// within the same second, and for a token that does not say when it was issued.
    pub(crate) fn is_issued_by(&self, at_ms: u64) -> bool {
        self.issued_s.is_none_or(|issued| issued.saturating_mul(1000) <= at_ms)
    }

    /// The time until the token is no longer accepted, with leeway, or the session ends, in ms.
    pub(crate) fn good_ms(&self, now: Now) -> u64 {
        let end_ms = self.expires_s.saturating_add(LEEWAY_S).saturating_mul(1000);
        end_ms.min(self.session_ends_ms()).saturating_sub(now.wall)
    }
}

/// Verifies tokens. The driver has the keys.
pub trait Verify: Send + Sync {
    /// The identity that a token stands for at this time.
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError>;

    /// What a credential says by itself: [`Verify::verify`] and, if the driver knows sessions,
    /// whether one has to be read.
    fn check(&self, credential: &str, now: Now) -> Result<Verified, AuthError> {
        self.verify(credential, now).map(|identity| Verified { token: Some(identity), session: None })
    }
}

/// What a credential says by itself.
pub struct Verified {
    /// What the token says; `None` for a credential that is only the name of a session.
    pub token: Option<Identity>,
    /// The id of the session that says more, or everything.
    pub session: Option<String>,
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
    /// A cookie came from a page that may not use it. Other sites can make a browser send it.
    #[error(
        "a cookie counts only from this server's own pages and those of an origin that is listed by name"
    )]
    ForeignCookie,
    /// A guest of a site came from a page that is not the site's, or somebody else from one that is
    /// only the site's.
    #[error("pages of this origin are for the guests of a site alone, and this is not one of that site")]
    ForeignPage,
}

impl AuthError {
    pub(crate) fn revoked() -> AuthError {
        AuthError::Refused("revoked: it was issued before the user's access was taken back".to_owned())
    }

    pub(crate) fn session_over() -> AuthError {
        AuthError::Refused("session: there is no such session, or it was ended".to_owned())
    }

    pub(crate) fn used() -> AuthError {
        AuthError::Refused("ticket: it was used, or its time is over; ask for another".to_owned())
    }

    pub(crate) fn no_site() -> AuthError {
        AuthError::Refused("site: there is no such site".to_owned())
    }

    /// No credential came, neither in the frame nor with the connection.
    pub(crate) fn none() -> AuthError {
        AuthError::Refused("missing: there is no token in the frame, and no cookie came with it".to_owned())
    }

    /// The close code of the protocol, section 8.
    pub(crate) fn close(&self) -> u16 {
        match self {
            AuthError::Expired { .. } => close::TOKEN_EXPIRED,
            AuthError::Refused(_) => close::UNAUTHORIZED,
            AuthError::ForeignCookie | AuthError::ForeignPage => close::FORBIDDEN,
        }
    }

    /// The stable code of the protocol, section 9.
    pub fn code(&self) -> &'static str {
        match self {
            AuthError::Expired { .. } => codes::TOKEN_EXPIRED,
            AuthError::Refused(_) => codes::UNAUTHORIZED,
            AuthError::ForeignCookie | AuthError::ForeignPage => codes::ORIGIN_NOT_ALLOWED,
        }
    }
}
