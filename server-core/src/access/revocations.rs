//! Access that was revoked before its tokens expire (protocol section 7).

use super::identity::{Identity, LEEWAY_S};
use crate::lock::Mutex;
use crate::store::{Account, Revocation};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// All revocations in force.
#[derive(Default)]
pub struct Revocations {
    /// By account and user.
    by_user: Mutex<BTreeMap<(Account, String), Revoked>>,
    /// How far the clocks of token issuers are known to be ahead of this server's, in ms. A token's
    /// time of issue is by such a clock, so a revocation's must be too.
    ahead_ms: AtomicU64,
}

/// Up to when a user's tokens are refused: all of them, and for single dialogs.
#[derive(Default)]
struct Revoked {
    all: Option<u64>,
    dialogs: BTreeMap<String, u64>,
}

impl Revocations {
    /// The revocations that [`crate::store::Read::Revocations`] returns.
    pub fn new(rows: Vec<Revocation>) -> Revocations {
        let revocations = Revocations::default();
        rows.iter().for_each(|row| revocations.add(row));
        revocations
    }

    /// Notes that a token was valid at this time, ms since the Unix epoch. If it was issued later,
    /// its issuer's clock is ahead.
    pub(crate) fn learn(&self, identity: &Identity, now_ms: u64) {
        let issued_ms = identity.issued_s.unwrap_or_default().saturating_mul(1000);
        let ahead_ms = issued_ms.saturating_sub(now_ms).min(LEEWAY_S * 1000);
        self.ahead_ms.fetch_max(ahead_ms, Ordering::Relaxed);
    }

    /// The latest time of issue that a token issued by now may have, ms since the Unix epoch.
    pub(crate) fn by_their_clocks(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Drops revocations whose tokens have all expired.
    pub fn forget(&self, before_ms: u64) {
        self.by_user.lock().retain(|_, revoked| {
            revoked.all = revoked.all.filter(|since| *since >= before_ms);
            revoked.dialogs.retain(|_, since| *since >= before_ms);
            revoked.all.is_some() || !revoked.dialogs.is_empty()
        });
    }

    pub(crate) fn add(&self, revocation: &Revocation) {
        let mut by_user = self.by_user.lock();
        let revoked = by_user.entry((revocation.account.clone(), revocation.user.clone())).or_default();
        let since = revocation.since_ms;
        match &revocation.dialog {
            None => revoked.all = revoked.all.max(Some(since)),
            Some(dialog) => {
                let before = revoked.dialogs.entry(dialog.clone()).or_insert(since);
                *before = since.max(*before);
            }
        }
    }

    /// Whether the token was revoked as a whole.
    pub(crate) fn refuses(&self, identity: &Identity) -> bool {
        let by_user = self.by_user.lock();
        let revoked = keys(identity).and_then(|keys| by_user.get(&keys));
        revoked.and_then(|revoked| revoked.all).is_some_and(|since| identity.is_issued_by(since))
    }

    /// Whether the token no longer gives access to the dialog.
    pub(crate) fn refuses_dialog(&self, identity: &Identity, dialog: &str) -> bool {
        let by_user = self.by_user.lock();
        let revoked = keys(identity).and_then(|keys| by_user.get(&keys));
        revoked
            .and_then(|revoked| revoked.dialogs.get(dialog))
            .is_some_and(|since| identity.is_issued_by(*since))
    }
}

/// Under what an identity's revocations are kept.
fn keys(identity: &Identity) -> Option<(Account, String)> {
    Some((identity.account.clone()?, identity.key()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::wire::{User, UserKind};

    fn issued(issued_s: Option<u64>) -> Identity {
        let user = User { id: "ada".to_owned(), name: "Ada".to_owned(), kind: UserKind::User, profile: None };
        Identity {
            user,
            account: Some(Account::Own),
            scopes: Default::default(),
            roles: Default::default(),
            claims: Default::default(),
            issued_s,
            expires_s: 9_999,
            session: None,
            site: None,
        }
    }

    fn all(since_ms: u64) -> Revocation {
        Revocation { user: "user:ada".to_owned(), dialog: None, account: Account::Own, since_ms }
    }

    #[test]
    fn tokens_issued_up_to_then_are_refused_and_later_ones_are_not() {
        let revocations = Revocations::new(vec![all(5_400), all(3_000)]);
        for (issued_s, refused) in [(Some(4), true), (Some(5), true), (Some(6), false), (None, true)] {
            assert_eq!(revocations.refuses(&issued(issued_s)), refused, "{issued_s:?}");
        }
        let mut guest = issued(Some(1));
        guest.user.kind = UserKind::Guest;
        assert!(!revocations.refuses(&guest), "another user with the same id");
        let other = Some(Account::Named("other".to_owned()));
        let elsewhere = Identity { account: other, ..issued(Some(1)) };
        assert!(!revocations.refuses(&elsewhere), "a user of another account");
    }

    #[test]
    fn a_dialog_is_another_matter_than_the_token() {
        let one = Revocation { dialog: Some("a".to_owned()), ..all(5_000) };
        let revocations = Revocations::new(vec![one]);
        let identity = issued(Some(4));
        assert!(revocations.refuses_dialog(&identity, "a"));
        assert!(!revocations.refuses_dialog(&identity, "b") && !revocations.refuses(&identity));
        assert!(!revocations.refuses_dialog(&issued(Some(6)), "a"));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let one = Revocation { dialog: Some("a".to_owned()), ..all(5_000) };
        let revocations = Revocations::new(vec![all(2_000), one]);
        revocations.forget(5_000);
        assert!(!revocations.refuses(&issued(Some(1))));
        assert!(revocations.refuses_dialog(&issued(Some(1)), "a"));
        revocations.forget(5_001);
        assert!(revocations.by_user.lock().is_empty());
    }
}
