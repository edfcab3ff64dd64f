//! The channels in memory. For one that is not, the driver reads its row and adds it.

use super::channel::{Channel, Extent};
use super::progress::Effects;
use crate::lock::Mutex;
use crate::rules::Rules;
use crate::store::ChannelRow;
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::wire::ChannelName;

/// With more channels than this in memory, those that are not in use are dropped.
const SWEEP_AT: usize = 1_000;

/// All channels in memory, and the rules in force.
pub struct Hub {
    rules: Mutex<Arc<Rules>>,
    channels: Mutex<Channels>,
}

struct Channels {
    by_name: HashMap<ChannelName, Arc<Channel>>,
    sweep_at: usize,
}

impl Hub {
    /// No channels yet; these rules hold for them.
    pub fn new(rules: Rules) -> Hub {
        let channels = Channels { by_name: HashMap::new(), sweep_at: SWEEP_AT };
        Hub { rules: Mutex::new(Arc::new(rules)), channels: Mutex::new(channels) }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.lock().clone()
    }

    /// Puts other rules in force, for the channels in memory too. It does not end what they no longer
    /// allow: [`crate::Engine::set_rules`] does.
    pub(crate) fn set_rules(&self, rules: Rules) {
        let channels = self.channels.lock();
        let rules = Arc::new(rules);
        *self.rules.lock() = rules.clone();
        for (name, channel) in &channels.by_name {
            channel.set_rule(rules.of(name));
        }
    }

    /// The channel, if it is in memory.
    pub fn loaded(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.lock().by_name.get(name).cloned()
    }

    /// Makes `to` the owner of all dialogs of `from`. Call it after the commit, while no channel is
    /// being loaded.
    pub fn hand_over(&self, from: &str, to: &str) {
        self.channels.lock().by_name.values().for_each(|channel| channel.hand_over(from, to));
    }

    /// Removes the dialog with this row, because it was deleted. Returns it, if it was in memory,
    /// with the effects that are left to carry out.
    pub(crate) fn forget(&self, name: &str, row: i64) -> Option<(Arc<Channel>, Effects)> {
        let mut channels = self.channels.lock();
        channels.by_name.get(name).filter(|channel| channel.id == row)?;
        let channel = channels.by_name.remove(name)?;
        let effects = channel.dissolve();
        Some((channel, effects))
    }

    /// Adds the channel with this row, or returns the one that is in memory already. The driver
    /// must read and add one row at a time: otherwise a row could be older than events that were
    /// published meanwhile.
    pub fn add(&self, name: &ChannelName, row: ChannelRow) -> Arc<Channel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.by_name.get(name) {
            return channel.clone();
        }
        let rule = self.rules().of(name);
        let extent = Extent { head: row.head, floor: row.floor };
        let channel = Arc::new(Channel::new(row.id, name.clone(), row.owner, row.account, extent, rule));
        if channels.by_name.len() >= channels.sweep_at {
            // Subscribers, writes under way and answers each hold a reference.
            channels.by_name.retain(|_, channel| Arc::strong_count(channel) > 1);
            channels.sweep_at = SWEEP_AT.max(channels.by_name.len() * 2);
        }
        channels.by_name.insert(name.clone(), channel.clone());
        channel
    }
}
