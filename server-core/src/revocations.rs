//! Access that was taken back before its tokens ended (protocol section 7).

use crate::connections::Connections;
use crate::engine::Engine;
use crate::hub::{self, Denied};
use crate::identity::{AuthError, Identity};
use crate::log::{Done, Write};
use crate::sync::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tidewire_core::Now;
use tidewire_core::wire::{DIALOG_PREFIX, codes};

/// What a user's tokens no longer allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whose ([`Identity::key`]).
    pub user: String,
    /// The dialog that tokens no longer give access to; none when they are worth nothing at all.
    pub dialog: Option<String>,
    /// Tokens issued up to here are meant, ms since the Unix epoch.
    pub since_ms: u64,
}

/// All revocations in force.
#[derive(Default)]
pub struct Revocations {
    by_user: Mutex<BTreeMap<String, Revoked>>,
}

/// Up to when one user's tokens are refused, and up to when for which dialogs.
#[derive(Default)]
struct Revoked {
    all: Option<u64>,
    dialogs: BTreeMap<String, u64>,
}

impl Revocations {
    /// Those that [`crate::log::revocations`] remembers.
    pub fn new(rows: Vec<Revocation>) -> Revocations {
        let revocations = Revocations::default();
        rows.iter().for_each(|row| revocations.add(row));
        revocations
    }

    /// Drops those whose tokens have all ended.
    pub fn forget(&self, before_ms: u64) {
        lock(&self.by_user).retain(|_, revoked| {
            revoked.all = revoked.all.filter(|since| *since >= before_ms);
            revoked.dialogs.retain(|_, since| *since >= before_ms);
            revoked.all.is_some() || !revoked.dialogs.is_empty()
        });
    }

    fn add(&self, revocation: &Revocation) {
        let mut by_user = lock(&self.by_user);
        let revoked = by_user.entry(revocation.user.clone()).or_default();
        let since = revocation.since_ms;
        match &revocation.dialog {
            None => revoked.all = revoked.all.max(Some(since)),
            Some(dialog) => {
                let before = revoked.dialogs.entry(dialog.clone()).or_insert(since);
                *before = since.max(*before);
            }
        }
    }

    /// Whether the token is worth nothing any more.
    pub(crate) fn refuses(&self, identity: &Identity) -> bool {
        let by_user = lock(&self.by_user);
        let revoked = by_user.get(&identity.key());
        revoked.and_then(|revoked| revoked.all).is_some_and(|since| identity.is_issued_by(since))
    }

    /// Whether the token no longer gives access to the dialog.
    pub(crate) fn refuses_dialog(&self, identity: &Identity, dialog: &str) -> bool {
        let by_user = lock(&self.by_user);
        let revoked = by_user.get(&identity.key());
        revoked
            .and_then(|revoked| revoked.dialogs.get(dialog))
            .is_some_and(|since| identity.is_issued_by(*since))
    }
}

impl Engine {
    /// Whom a token names, unless it was revoked.
    pub fn identify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let identity = self.auth.verify(token, now)?;
        self.not_revoked(&identity)?;
        Ok(identity)
    }

    /// An error when the token was revoked.
    pub fn not_revoked(&self, identity: &Identity) -> Result<(), AuthError> {
        if self.revocations.refuses(identity) { Err(AuthError::revoked()) } else { Ok(()) }
    }

    /// A dialog in memory is this user's no longer. Call it again once the revocation is stored, while no channel is being
    /// loaded: what was read before the commit still had the owner.
    pub fn disown(&self, dialog: &str, user: &str) {
        if let Some(channel) = self.hub.loaded(&format!("{DIALOG_PREFIX}{dialog}")) {
            channel.disown(user);
        }
    }

    /// The dialog with this row is gone. Call it after the commit, while no channel is being loaded.
    pub fn dialog_deleted(&self, name: &str, row: i64) {
        self.hub.forget(name, row);
        self.connections.expel(row);
    }

    /// Takes access back: at once for live connections, and for good once `done` says that it is stored.
    pub fn revoke(&self, revocation: Revocation, done: Done) {
        tracing::info!(user = revocation.user, dialog = revocation.dialog, "access revoked");
        // First known, then looked for: whoever is just being let in finds it, or is found.
        self.revocations.add(&revocation);
        if let Some(dialog) = &revocation.dialog {
            self.disown(dialog, &revocation.user);
        }
        self.connections.enforce(&revocation.user, &self.revocations);
        self.log.submit(Write::Revoke(revocation), done);
    }
}

impl Connections {
    /// Ends all subscriptions to the channel with this row.
    fn expel(&self, row: i64) {
        for (seats, outgoing) in self.all() {
            for (ch, channel) in seats.retain(|channel| channel.id != row) {
                outgoing.forget(channel);
                outgoing.send(&Denied::Forbidden.sub_err(ch));
            }
        }
    }

    /// Ends what the user's live connections are no longer allowed.
    fn enforce(&self, user: &str, revocations: &Revocations) {
        for (identity, seats, outgoing) in self.of_user(user) {
            if revocations.refuses(&identity) {
                seats.close();
                let message = AuthError::revoked().to_string();
                outgoing.cut(codes::close::UNAUTHORIZED, codes::UNAUTHORIZED, &message);
                continue;
            }
            for (ch, channel) in seats.retain(|channel| hub::may_see(&identity, channel, revocations)) {
                // What is waiting must not be sent any more either.
                outgoing.forget(channel);
                outgoing.send(&Denied::Forbidden.sub_err(ch));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tidewire_core::wire::{User, UserKind};

    fn issued(issued_s: Option<u64>) -> Identity {
        let user = User { id: "ada".to_owned(), name: "Ada".to_owned(), kind: UserKind::User };
        Identity { user, dialogs: HashSet::new(), claims: Default::default(), issued_s, expires_s: 9_999 }
    }

    fn all(since_ms: u64) -> Revocation {
        Revocation { user: "user:ada".to_owned(), dialog: None, since_ms }
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
        assert!(lock(&revocations.by_user).is_empty());
    }
}
