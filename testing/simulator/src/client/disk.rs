//! A client's disk: changes wait in a queue until they are synced, and a crash loses the queue.

use std::collections::{BTreeMap, VecDeque};
use tidewire_core::{Restored, RestoredChannel, StoreChange, StoreId};

/// The state that survives a crash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    profile: Option<String>,
    ops: BTreeMap<String, String>,
    channels: BTreeMap<String, Kept>,
    tables: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    epoch: String,
    cursor: u64,
    events: BTreeMap<u64, String>,
    runs: String,
}

/// Changes on their way to the disk.
pub(crate) type Unsynced = VecDeque<(StoreId, StoreChange)>;

impl Disk {
    pub(crate) fn apply(&mut self, change: &StoreChange) {
        match change {
            StoreChange::PutOp { id, record } => {
                self.ops.insert(id.to_string(), record.0.clone());
            }
            StoreChange::DeleteOp { id } => drop(self.ops.remove(id.as_str())),
            StoreChange::PutEvents { channel, epoch, cursor, events, runs, trim_below } => {
                let kept = self.channels.entry(channel.to_string()).or_default();
                kept.epoch = epoch.to_string();
                kept.cursor = cursor.0;
                kept.runs.clone_from(&runs.0);
                kept.events.extend(events.iter().map(|(offset, text)| (offset.0, text.0.clone())));
                kept.events = kept.events.split_off(&trim_below.0);
            }
            StoreChange::ClearChannel { channel } => drop(self.channels.remove(channel.as_str())),
            StoreChange::PutTable { name, record } => {
                self.tables.insert(name.clone(), record.0.clone());
            }
            StoreChange::ClearTable { name } => drop(self.tables.remove(name)),
            StoreChange::PutProfile { record } => self.profile = Some(record.0.clone()),
        }
    }

    pub(crate) fn has_op(&self, id: &str) -> bool {
        self.ops.contains_key(id)
    }

    /// Whether the op is stored as failed.
    pub(crate) fn has_failed(&self, id: &str) -> bool {
        self.ops.get(id).is_some_and(|record| record.contains(",\"failed\":\""))
    }

    /// The cursor that a restart begins with: an epoch and an offset.
    pub(crate) fn cursor(&self, channel: &str) -> Option<(&str, u64)> {
        self.channels.get(channel).map(|kept| (kept.epoch.as_str(), kept.cursor))
    }

    pub(crate) fn restored(&self) -> Restored {
        let channel = |(name, kept): (&String, &Kept)| RestoredChannel {
            channel: name.clone(),
            epoch: kept.epoch.clone(),
            cursor: kept.cursor,
            events: kept.events.values().cloned().collect(),
            runs: kept.runs.clone(),
        };
        Restored {
            profile: self.profile.clone(),
            ops: self.ops.values().cloned().collect(),
            channels: self.channels.iter().map(channel).collect(),
            tables: self.tables.clone().into_iter().collect(),
        }
    }
}
