//! What a handle of a channel says about its own user.

use std::sync::Arc;

use tidewire_core::Offset;

use crate::error::{SendError, SubscribeError};
use crate::follower::{Followed, Follower};
use crate::shared::Shared;

/// What one handle of a channel says about its user there. Dropping it gives up the leases that no
/// other handle holds.
pub(crate) struct Presence {
    shared: Arc<Shared>,
    channel: String,
    /// The handle's number, by which the hub knows what it holds.
    id: u64,
}

impl Presence {
    pub(crate) fn new(shared: &Arc<Shared>, channel: String, id: u64) -> Presence {
        Presence { shared: Arc::clone(shared), channel, id }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn follow<V: Followed>(&self) -> Result<Follower<V>, SubscribeError> {
        Follower::new(&self.shared, &self.channel)
    }

    pub(crate) fn typing(&self, on: bool) -> Result<(), SendError> {
        Ok(self.shared.command(|core, _, now| core.typing(now, &self.channel, on))??)
    }

    pub(crate) fn mark_read(&self, offset: Option<Offset>) -> Result<(), SendError> {
        Ok(self.shared.command(|core, _, now| core.mark_read(now, &self.channel, offset))??)
    }

    pub(crate) fn hold(&self, kind: &str, body: &str) -> Result<(), SendError> {
        self.shared.command(|core, hub, now| {
            core.set_lease(now, &self.channel, kind, Some(body))?;
            hub.add_lease(&self.channel, kind, self.id);
            Ok(())
        })?
    }

    pub(crate) fn release(&self, kind: &str) -> Result<(), SendError> {
        self.shared.command(|core, hub, now| {
            if hub.remove_lease(&self.channel, kind, self.id) {
                core.set_lease(now, &self.channel, kind, None)?;
            }
            Ok(())
        })?
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // A closed client holds nothing.
        let _ = self.shared.command(|core, hub, now| {
            for kind in hub.remove_leases(&self.channel, self.id) {
                // A channel that is no longer open took its leases along.
                let _ = core.set_lease(now, &self.channel, &kind, None);
            }
        });
    }
}
