//! Access control: identities, revocations, and the one place that decides
//! who may do what in which channel (protocol section 7).

mod held;
mod identity;
mod memberships;
mod page;
mod profile;
mod revocations;
mod sessions;
mod sites;
mod tickets;

pub use held::Held;
pub use identity::{AuthError, Identity, LEEWAY_S, Scope, SiteGuest, Verified, Verify};
pub use memberships::Memberships;
pub use page::Page;
pub use profile::{MAX_ATTRIBUTES, MAX_PROFILE, profile};
pub use revocations::Revocations;
pub use sessions::{Pending, Sessions};
pub use sites::Sites;
pub use tickets::{Tickets, is_ticket};

use crate::dialog::Channel;
use crate::rules::{Matched, Rule, Who};
use crate::store::StoreError;
use std::collections::BTreeSet;
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
            Denied::Forbidden => "there is no such channel, or not for this user".to_owned(),
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

/// Decides who may do what, by the rules of channels, and by the access that was revoked.
#[derive(Default)]
pub struct Access {
    /// Access that was revoked before its tokens expire.
    pub revocations: Revocations,
    /// In which channels users are members.
    pub memberships: Memberships,
    /// The sessions of the store that are in use.
    pub sessions: Sessions,
    /// Tickets that were not used yet.
    pub tickets: Tickets,
    /// Pages elsewhere whose guests may come.
    pub sites: Sites,
}

impl Access {
    /// An error if the user's access was taken back, or their session is over.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), AuthError> {
        match &identity.session {
            _ if self.revocations.refuses(identity) => Err(AuthError::revoked()),
            Some(session) if session.row().is_none() => Err(AuthError::session_over()),
            _ => match &identity.site {
                Some(SiteGuest { site, page: Some(page) }) => self.sites.admits(Some(site), page),
                _ => Ok(()),
            },
        }
    }

    /// The loaded channel, if this user may read it.
    pub(crate) fn visible(
        &self,
        found: Result<Option<Arc<Channel>>, StoreError>,
        identity: &Identity,
    ) -> Result<Arc<Channel>, Denied> {
        match found {
            Err(error) => Err(Denied::Store(error)),
            Ok(Some(channel)) if self.may_read(identity, &channel) => Ok(channel),
            Ok(_) => Err(Denied::Forbidden),
        }
    }

    /// Whether this user may read the channel now.
    pub(crate) fn may_read(&self, identity: &Identity, channel: &Channel) -> bool {
        self.allows(identity, channel, Scope::Read, |rule| &rule.read)
    }

    /// The loaded channel, if this user may know that it exists, to write in it.
    pub(crate) fn writable(
        &self,
        found: Result<Option<Arc<Channel>>, StoreError>,
        identity: &Identity,
    ) -> Result<Arc<Channel>, Denied> {
        match found {
            // A service may write what it may not read.
            Ok(Some(channel)) if self.allows(identity, &channel, Scope::Publish, |_| &[]) => Ok(channel),
            found => self.visible(found, identity),
        }
    }

    /// Whether this user, who may read the channel, may write ops of this kind now.
    pub(crate) fn may_write(&self, identity: &Identity, channel: &Channel, kind: &str) -> bool {
        self.allows(identity, channel, Scope::Publish, |rule| rule.writers(kind))
    }

    /// Whether this user, who may read the channel, may send signals now.
    pub(crate) fn may_signal(&self, identity: &Identity, channel: &Channel) -> bool {
        self.allows(identity, channel, Scope::Publish, |rule| &rule.write)
    }

    /// Whether a channel by this rule, which does not exist, comes into being because this user
    /// asks for it.
    pub(crate) fn opens(&self, identity: &Identity, name: &ChannelName, matched: &Matched) -> bool {
        // The channel will belong to this user's account.
        matched.rule.open
            && identity.account.is_some()
            && match identity.user.kind {
                UserKind::Service => {
                    !identity.scopes.is_disjoint(&BTreeSet::from([Scope::Read, Scope::Publish]))
                }
                _ => self.selects(identity, name, matched, false, &matched.rule.read),
            }
    }

    /// Whether the channel's rule lets this user do something; a service needs the scope instead.
    /// Operators and services are in channels of their account only.
    fn allows(
        &self,
        identity: &Identity,
        channel: &Channel,
        scope: Scope,
        who: impl FnOnce(&Rule) -> &[Who],
    ) -> bool {
        let Some(matched) = channel.rule() else { return false };
        let is_inside = identity.account.as_ref() == Some(&channel.account);
        match identity.user.kind {
            UserKind::Service => is_inside && identity.scopes.contains(&scope),
            UserKind::Operator if !is_inside => false,
            _ => {
                let is_owner = channel.is_owned_by(&identity.key());
                self.selects(identity, &channel.name, &matched, is_owner, who(&matched.rule))
            }
        }
    }

    /// Whether one of these words of a channel's rule selects this user. `is_owner` says whether the
    /// user is the channel's owner.
    fn selects(
        &self,
        identity: &Identity,
        name: &ChannelName,
        matched: &Matched,
        is_owner: bool,
        who: &[Who],
    ) -> bool {
        who.iter().any(|who| match who {
            Who::Everyone => true,
            Who::Kind(kind) => identity.user.kind == *kind,
            Who::Role(role) => identity.has_role(role),
            Who::Members => self.memberships.has(&identity.key(), name),
            Who::Owner => is_owner,
            Who::Itself => identity.user.kind == UserKind::User && identity.user.id == matched.part,
            Who::Claim(claim) => {
                let revoked = |id| self.revocations.refuses_dialog(identity, id);
                identity.lists(claim, &matched.part) && !name.dialog().is_some_and(revoked)
            }
        })
    }
}
