//! Ends the subscriptions and connections of users whose access was revoked.

use super::{Connections, SignedIn};
use crate::access::{Access, AuthError, Denied};
use tidewire_core::wire::codes;

impl Connections {
    /// Ends every subscription to the channel with this row id.
    pub(crate) fn expel(&self, row: i64) {
        for (subscriptions, outgoing) in self.all() {
            for (ch, channel) in subscriptions.retain(|channel| channel.id != row) {
                outgoing.forget(channel);
                outgoing.send(&Denied::Forbidden.sub_err(ch));
            }
        }
    }

    /// Applies the revocations to the user's live connections: closes those whose token was
    /// revoked, and ends subscriptions to channels that the user may no longer see.
    pub(crate) fn enforce(&self, user: &str, access: &Access) {
        self.enforce_on(self.of_user(user), access);
    }

    /// As [`Connections::enforce`], for the connections of all users.
    pub(crate) fn enforce_all(&self, access: &Access) {
        self.enforce_on(self.of_all_users(), access);
    }

    fn enforce_on(&self, members: Vec<SignedIn>, access: &Access) {
        for (identity, subscriptions, outgoing) in members {
            if access.revocations.refuses(&identity) {
                subscriptions.leave_all();
                let message = AuthError::revoked().to_string();
                outgoing.cut(codes::close::UNAUTHORIZED, codes::UNAUTHORIZED, &message);
                continue;
            }
            for (ch, channel) in subscriptions.retain(|channel| access.may_read(&identity, channel)) {
                // Frames of the channel that are already queued must not be sent either.
                outgoing.forget(channel);
                outgoing.send(&Denied::Forbidden.sub_err(ch));
            }
            subscriptions.release(outgoing.id(), |channel| access.may_signal(&identity, channel));
        }
    }
}
