//! The channels in use. Whoever needs one that is not in memory has its row read by the driver and
//! adds it.

use super::channel::{Channel, Extent};
use super::progress::Effects;
use crate::lock::Mutex;
use crate::store::ChannelRow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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

impl Hub {
    /// No channels yet; those with these names are open for everybody.
    pub fn new(open: HashSet<String>) -> Hub {
        Hub { open, channels: Mutex::new(Channels { by_name: HashMap::new(), sweep_at: SWEEP_AT }) }
    }

    /// The channel, if somebody uses it.
    pub fn loaded(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.lock().by_name.get(name).cloned()
    }

    /// One user's dialogs are another's now. Call it after the commit, while no channel is being
    /// loaded.
    pub fn hand_over(&self, from: &str, to: &str) {
        self.channels.lock().by_name.values().for_each(|channel| channel.hand_over(from, to));
    }

    /// The dialog with this row is gone; it is returned if somebody used it, with what is left to
    /// do.
    pub(crate) fn forget(&self, name: &str, row: i64) -> Option<(Arc<Channel>, Effects)> {
        let mut channels = self.channels.lock();
        channels.by_name.get(name).filter(|channel| channel.id == row)?;
        let channel = channels.by_name.remove(name)?;
        let effects = channel.dissolve();
        Some((channel, effects))
    }

    /// The channel with this row, unless it is here already. The driver reads and adds one row at a
    /// time, or the row could be older than what was published and forgotten meanwhile.
    pub fn add(&self, name: &str, row: ChannelRow) -> Arc<Channel> {
        let mut channels = self.channels.lock();
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
