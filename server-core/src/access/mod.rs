//! Access control: identities, revocations, and the one place that decides who may see a channel
//! (protocol section 7).

mod identity;
mod revocations;

pub use identity::{AuthError, Identity, LEEWAY_S, Verify};
pub use revocations::Revocations;

use crate::dialog::Channel;
use crate::store::StoreError;
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, Problem, ServerFrame, UserKind, codes};

/// Why a user does not get a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The channel belongs to somebody else or does not exist. The answer is the same, so that
    /// nobody can find out which.
    Forbidden,
    /// The database can't be read.
    Store(StoreError),
}

impl Denied {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Denied::Forbidden => codes::FORBIDDEN,
            Denied::Store(error) => error.code(),
        }
    }

    pub(crate) fn message(self) -> String {
        match self {
            Denied::Forbidden => "there is no such dialog, or not for this user".to_owned(),
            Denied::Store(error) => error.to_string(),
        }
    }

    pub(crate) fn is_retryable(self) -> bool {
        matches!(self, Denied::Store(_))
    }

    /// The frame that refuses or ends a subscription.
    pub(crate) fn sub_err(self, ch: ChannelName) -> ServerFrame {
        let problem = Problem { code: self.code().to_owned(), message: self.message(), retry_after_ms: None };
        ServerFrame::SubErr { ch, problem, retryable: self.is_retryable() }
    }
}

/// The loaded channel, if this user may see it.
pub(crate) fn visible(
    found: Result<Option<Arc<Channel>>, StoreError>,
    identity: &Identity,
    revocations: &Revocations,
) -> Result<Arc<Channel>, Denied> {
    match found {
        Err(error) => Err(Denied::Store(error)),
        Ok(Some(channel)) if may_see(identity, &channel, revocations) => Ok(channel),
        Ok(_) => Err(Denied::Forbidden),
    }
}

/// Whether this user may see the channel now (protocol section 7).
pub(crate) fn may_see(identity: &Identity, channel: &Channel, revocations: &Revocations) -> bool {
    identity.user.kind == UserKind::Operator
        || channel.open
        || channel.is_owned_by(&identity.key())
        || channel
            .name
            .dialog()
            .is_some_and(|id| identity.dialogs.contains(id) && !revocations.refuses_dialog(identity, id))
}
