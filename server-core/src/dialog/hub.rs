//! The channels in memory. For one that is not, the driver reads its row and adds it.

use super::channel::Channel;
use super::custody::Custody;
use super::progress::Effects;
use crate::lock::Mutex;
use crate::people::{Agenda, ReadPositions};
use crate::rules::Rules;
use crate::store::{Account, ChannelRow};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidewire_core::wire::ChannelName;

/// With more channels than this in memory, those that are not in use are dropped.
const SWEEP_AT: usize = 1_000;

/// The channels of one rule in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelFigures {
    /// Channels in memory.
    pub channels: u64,
    /// Subscriptions to them.
    pub subscriptions: u64,
    /// Answers under way.
    pub runs: u64,
    /// Connections that are told who is there, once for each channel.
    pub watchers: u64,
}

/// All channels in memory, and the rules in force.
pub struct Hub {
    agenda: Arc<Agenda>,
    positions: ReadPositions,
    custody: Custody,
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
        let rules = Mutex::new(Arc::new(rules));
        Hub {
            agenda: Arc::default(),
            positions: ReadPositions::default(),
            custody: Custody::default(),
            rules,
            channels: Mutex::new(channels),
        }
    }

    /// Where the people of channels wait for the time to tell of them.
    pub(crate) fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// Where read positions wait for the time to store them.
    pub(crate) fn positions(&self) -> &ReadPositions {
        &self.positions
    }

    /// Looks after dialogs whose operators are gone.
    pub(crate) fn custody(&self) -> &Custody {
        &self.custody
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.lock().clone()
    }

    /// Puts other rules in force, for the channels in memory too. It does not end what they no longer
    /// allow: [`crate::Engine::set_rules`] does. False if a channel has people from now on, so that it
    /// is not known who is there.
    pub(crate) fn set_rules(&self, rules: Rules) -> bool {
        let channels = self.channels.lock();
        let rules = Arc::new(rules);
        *self.rules.lock() = rules.clone();
        let all = channels.by_name.iter();
        all.fold(true, |known, (name, channel)| channel.set_rule(rules.of(name)) && known)
    }

    /// The channel, if it is in memory.
    pub fn loaded(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.lock().by_name.get(name).cloned()
    }

    /// The channels in memory in numbers, for each rule that has some, in the order of the rules'
    /// patterns.
    pub fn figures(&self) -> Vec<(String, ChannelFigures)> {
        let channels: Vec<Arc<Channel>> = self.channels.lock().by_name.values().cloned().collect();
        let mut by_rule: BTreeMap<String, ChannelFigures> = BTreeMap::new();
        for channel in channels {
            let pattern = channel.rule().map_or_else(String::new, |matched| matched.rule.pattern.to_string());
            let figures = by_rule.entry(pattern).or_default();
            figures.channels += 1;
            figures.subscriptions += channel.subscribers() as u64;
            figures.runs += u64::from(channel.run().is_some());
            figures.watchers += channel.people.watchers() as u64;
        }
        by_rule.into_iter().collect()
    }

    /// The channels of an account with the most subscribed connections, and how many these are, the
    /// most first; at most so many channels.
    pub fn busiest(&self, account: &Account, most: usize) -> Vec<(ChannelName, usize)> {
        let of_account = |channel: &&Arc<Channel>| channel.account == *account;
        let channels: Vec<Arc<Channel>> =
            self.channels.lock().by_name.values().filter(of_account).cloned().collect();
        let numbers = channels.iter().map(|channel| (channel.name.clone(), channel.subscribers()));
        let mut busiest: Vec<(ChannelName, usize)> = numbers.filter(|(_, number)| *number > 0).collect();
        busiest.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.as_str().cmp(b.as_str())));
        busiest.truncate(most);
        busiest
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
        let channel = Arc::new(Channel::new(name.clone(), row, rule, &self.agenda));
        if channels.by_name.len() >= channels.sweep_at {
            // Subscribers, writes under way and answers each hold a reference.
            channels.by_name.retain(|_, channel| Arc::strong_count(channel) > 1);
            channels.sweep_at = SWEEP_AT.max(channels.by_name.len() * 2);
        }
        channels.by_name.insert(name.clone(), channel.clone());
        channel
    }
}
