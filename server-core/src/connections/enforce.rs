//! Ends the subscriptions and connections of users whose access was revoked.

use super::{Connections, SignedIn};
use crate::access::{Access, Denied};

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
            if let Err(error) = access.check(&identity) {
                subscriptions.leave_all();
                outgoing.cut(error.close(), error.code(), &error.to_string());
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
