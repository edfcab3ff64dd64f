//! The channels in use, loaded from the database when somebody asks for one.

use crate::auth::Identity;
use crate::channel::{Channel, Extent};
use crate::store::{Store, StoreError};
use crate::sync::lock;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tidewire_core::wire::{DIALOG_PREFIX, UserKind, codes};

/// With more channels than this in memory, those that nobody uses are dropped.
const SWEEP_AT: usize = 1_000;

/// All channels in use.
pub(crate) struct Hub {
    store: Arc<Store>,
    /// Names of the channels that the configuration opens.
    open: HashSet<String>,
    channels: Mutex<Channels>,
    /// One load at a time, so that no channel is ever in memory twice.
    loading: tokio::sync::Mutex<()>,
}

struct Channels {
    by_name: HashMap<Arc<str>, Arc<Channel>>,
    sweep_at: usize,
}

/// Why somebody does not get a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is none.
    Unknown,
    /// It is somebody else's.
    Forbidden,
    /// The database can't be read.
    Store(StoreError),
}

impl Denied {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Denied::Unknown => codes::UNKNOWN_CHANNEL,
            Denied::Forbidden => codes::FORBIDDEN,
            Denied::Store(error) => error.code(),
        }
    }

    pub(crate) fn message(self) -> String {
        match self {
            Denied::Unknown => "there is no such dialog".to_owned(),
            Denied::Forbidden => "this dialog is somebody else's".to_owned(),
            Denied::Store(error) => error.to_string(),
        }
    }

    pub(crate) fn is_retryable(self) -> bool {
        matches!(self, Denied::Store(_))
    }
}

impl Hub {
    pub(crate) fn new(store: Arc<Store>, open: HashSet<String>) -> Hub {
        Hub {
            store,
            open,
            channels: Mutex::new(Channels { by_name: HashMap::new(), sweep_at: SWEEP_AT }),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// The channel, if there is one.
    pub(crate) async fn channel(&self, name: &str) -> Result<Option<Arc<Channel>>, StoreError> {
        if let Some(channel) = self.loaded(name) {
            return Ok(Some(channel));
        }
        let _one = self.loading.lock().await;
        if let Some(channel) = self.loaded(name) {
            return Ok(Some(channel));
        }
        let Some(row) = self.store.readers().channel(name).await? else { return Ok(None) };
        let name: Arc<str> = Arc::from(name);
        let extent = Extent { head: row.head, floor: row.floor };
        let open = self.open.contains(name.as_ref());
        let channel = Arc::new(Channel::new(row.id, name.clone(), row.owner, open, extent));
        let mut channels = lock(&self.channels);
        if channels.by_name.len() >= channels.sweep_at {
            // Subscribers, writes under way and answers each hold a reference.
            channels.by_name.retain(|_, channel| Arc::strong_count(channel) > 1);
            channels.sweep_at = SWEEP_AT.max(channels.by_name.len() * 2);
        }
        channels.by_name.insert(name, channel.clone());
        Ok(Some(channel))
    }

    /// The channel, if somebody uses it.
    pub(crate) fn loaded(&self, name: &str) -> Option<Arc<Channel>> {
        lock(&self.channels).by_name.get(name).cloned()
    }

    /// As [`Hub::loaded`], after whoever is just loading one. Blocks.
    pub(crate) fn loaded_or_loading(&self, name: &str) -> Option<Arc<Channel>> {
        let _one = self.loading.blocking_lock();
        self.loaded(name)
    }

    /// The channel, if this user may see it.
    pub(crate) async fn visible(&self, name: &str, identity: &Identity) -> Result<Arc<Channel>, Denied> {
        match self.channel(name).await {
            Err(error) => Err(Denied::Store(error)),
            Ok(None) => Err(Denied::Unknown),
            Ok(Some(channel)) if may_see(identity, &channel) => Ok(channel),
            Ok(Some(_)) => Err(Denied::Forbidden),
        }
    }
}

/// Whether this user may see the channel now (protocol section 7).
pub(crate) fn may_see(identity: &Identity, channel: &Channel) -> bool {
    identity.user.kind == UserKind::Operator
        || channel.open
        || channel.owner.as_deref() == Some(identity.key().as_str())
        || channel.name.strip_prefix(DIALOG_PREFIX).is_some_and(|id| identity.dialogs.contains(id))
}
