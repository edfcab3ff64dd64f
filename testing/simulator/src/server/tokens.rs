//! Tokens, and the rules of the application's backend for them.

use crate::script::WALL_MS;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::{User, UserKind};
use tidewire_server_core::store::Account;
use tidewire_server_core::{AuthError, Identity, Verify};

/// The backend's rules for one device's tokens. Times are ms since the beginning of the run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// Tokens issued earlier have expired.
    pub(crate) expired_before: u64,
    /// Tokens issued earlier are refused permanently.
    pub(crate) refused_before: u64,
    /// When access was last granted again; the application keeps no older token.
    pub(crate) granted: u64,
    /// No access to the second channel.
    pub(crate) revoked: bool,
    /// The server knows of the revocation, so it must accept no op of the device there.
    pub(crate) barred: bool,
}

/// The rules of all devices.
pub(super) type AllRules = Arc<Mutex<Vec<Rules>>>;

/// Verifies tokens, which are `device.issued.expires`, in ms and s.
pub(super) struct Tokens {
    pub(super) rules: AllRules,
    /// What the user of each device is.
    pub(super) kinds: Vec<UserKind>,
}

impl Verify for Tokens {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let mut parts = token.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        let (device, issued, expires_s) = (next(), next(), next());
        let rules = self.rules.lock()[device as usize];
        if issued < rules.refused_before {
            return Err(AuthError::Refused("no key vouches for it".to_owned()));
        }
        if issued < rules.expired_before || expires_s * 1000 <= now.wall {
            return Err(AuthError::Expired { at: expires_s });
        }
        let issued_s = Some((WALL_MS + issued) / 1000);
        let id = format!("u{device}");
        let mut dialogs = vec!["a".to_owned()];
        if !rules.revoked {
            dialogs.push("b".to_owned());
        }
        Ok(Identity {
            user: User { name: id.clone(), id, kind: self.kinds[device as usize], profile: None },
            account: Some(Account::Own),
            scopes: Default::default(),
            roles: Default::default(),
            claims: BTreeMap::from([("dialogs".to_owned(), dialogs)]),
            issued_s,
            expires_s,
            session: None,
            site: None,
        })
    }
}
