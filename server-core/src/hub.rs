//! The channels in use. Whoever needs one that is not in memory has its row read by the driver and adds it.

use crate::channel::{Channel, Extent};
use crate::identity::Identity;
use crate::log::{ChannelRow, StoreError};
use crate::revocations::Revocations;
use crate::sync::lock;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tidewire_core::wire::{DIALOG_PREFIX, Problem, ServerFrame, UserKind, codes};

/// With more channels than this in memory, those that nobody uses are dropped.
const SWEEP_AT: usize = 1_000;

/// All channels in use.
pub struct Hub {
    /// Names of the channels that the configuration opens.
    open: HashSet<String>,
    channels: Mutex<Channels>,
}

struct Channels {
    by_name: HashMap<Arc<str>, Arc<Channel>>,
    sweep_at: usize,
}

/// Why somebody does not get a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It is somebody else's, or there is none: nobody may find out which.
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

    /// Tells that a subscription is refused, or over.
    pub(crate) fn sub_err(self, ch: String) -> ServerFrame {
        let problem = Problem { code: self.code().to_owned(), message: self.message(), retry_after_ms: None };
        ServerFrame::SubErr { ch, problem, retryable: self.is_retryable() }
    }
}

impl Hub {
    /// No channels yet; those with these names are open for everybody.
    pub fn new(open: HashSet<String>) -> Hub {
        Hub { open, channels: Mutex::new(Channels { by_name: HashMap::new(), sweep_at: SWEEP_AT }) }
    }

    /// The channel, if somebody uses it.
    pub fn loaded(&self, name: &str) -> Option<Arc<Channel>> {
        lock(&self.channels).by_name.get(name).cloned()
    }

    /// One user's dialogs are another's now. Call it after the commit, while no channel is being loaded.
    pub fn hand_over(&self, from: &str, to: &str) {
        lock(&self.channels).by_name.values().for_each(|channel| channel.hand_over(from, to));
    }

    /// The dialog with this row is gone.
    pub(crate) fn forget(&self, name: &str, row: i64) {
        let mut channels = lock(&self.channels);
        if channels.by_name.get(name).is_some_and(|channel| channel.id == row)
            && let Some(channel) = channels.by_name.remove(name)
        {
            channel.dissolve();
        }
    }

    /// The channel with this row, unless it is here already. The driver reads and adds one row at a time, or the row could be
    /// older than what was published and forgotten meanwhile.
    pub fn add(&self, name: &str, row: ChannelRow) -> Arc<Channel> {
        let mut channels = lock(&self.channels);
        if let Some(channel) = channels.by_name.get(name) {
            return channel.clone();
        }
        let name: Arc<str> = Arc::from(name);
        let extent = Extent { head: row.head, floor: row.floor };
        let open = self.open.contains(name.as_ref());
        let channel = Arc::new(Channel::new(row.id, name.clone(), row.owner, open, extent));
        if channels.by_name.len() >= channels.sweep_at {
            // Subscribers, writes under way and answers each hold a reference.
            channels.by_name.retain(|_, channel| Arc::strong_count(channel) > 1);
            channels.sweep_at = SWEEP_AT.max(channels.by_name.len() * 2);
        }
        channels.by_name.insert(name, channel.clone());
        channel
    }
}

/// The channel that was found, if this user may see it.
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
            .strip_prefix(DIALOG_PREFIX)
            .is_some_and(|id| identity.dialogs.contains(id) && !revocations.refuses_dialog(identity, id))
}
