//! Ends what live connections are no longer allowed.

use super::Connections;
use crate::access::{self, AuthError, Denied, Revocations};
use tidewire_core::wire::codes;

impl Connections {
    /// Ends all subscriptions to the channel with this row.
    pub(crate) fn expel(&self, row: i64) {
        for (subscriptions, outgoing) in self.all() {
            for (ch, channel) in subscriptions.retain(|channel| channel.id != row) {
                outgoing.forget(channel);
                outgoing.send(&Denied::Forbidden.sub_err(ch));
            }
        }
    }

    /// Ends what the user's live connections are no longer allowed.
    pub(crate) fn enforce(&self, user: &str, revocations: &Revocations) {
        for (identity, subscriptions, outgoing) in self.of_user(user) {
            if revocations.refuses(&identity) {
                subscriptions.close();
                let message = AuthError::revoked().to_string();
                outgoing.cut(codes::close::UNAUTHORIZED, codes::UNAUTHORIZED, &message);
                continue;
            }
            for (ch, channel) in
                subscriptions.retain(|channel| access::may_see(&identity, channel, revocations))
            {
                // What is waiting must not be sent any more either.
                outgoing.forget(channel);
                outgoing.send(&Denied::Forbidden.sub_err(ch));
            }
        }
    }
}
