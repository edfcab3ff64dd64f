//! What of a channel is on its way into the store.
//!
//! One change at a time: were a second one under way when the first fails, the store would hold a hole below its cursor.

use crate::io::{Message, StoreChange, StoreId};
use crate::wire::Cursor;

#[derive(Default)]
pub(crate) struct Keeping {
    /// The change that the store has not reported yet, and whether it clears.
    waits: Option<(StoreId, bool)>,
    /// Applied events that the store does not have.
    pending: Vec<(u64, Message)>,
    /// The cursor moved since the last change.
    stale: bool,
    /// What the store has does not join on what comes: it must go first.
    broken: bool,
}

impl Keeping {
    /// Events were applied, the cursor stands behind the last.
    pub(crate) fn add(&mut self, events: Vec<(u64, Message)>, most: u64) {
        self.pending.extend(events);
        self.stale = true;
        let over = self.pending.len().saturating_sub(most as usize);
        if over > 0 {
            self.pending.drain(..over);
            self.broken = true;
        }
    }

    /// The cursor was set anew, or is gone.
    pub(crate) fn begin_anew(&mut self) {
        self.pending.clear();
        self.broken = true;
    }

    /// The next change, unless one is under way.
    pub(crate) fn next(&mut self, channel: &str, cursor: Option<&Cursor>, most: u64) -> Option<StoreChange> {
        let cursor = cursor.filter(|_| self.stale && self.waits.is_none())?;
        let channel = channel.to_owned();
        if self.broken {
            return Some(StoreChange::ClearChannel { channel });
        }
        self.stale = false;
        Some(StoreChange::PutEvents {
            channel,
            epoch: cursor.epoch.clone(),
            cursor: cursor.offset,
            events: std::mem::take(&mut self.pending),
            trim_below: cursor.offset.saturating_add(1).saturating_sub(most),
        })
    }

    /// The change that [`Keeping::next`] made has this id.
    pub(crate) fn under_way(&mut self, store: StoreId) {
        self.waits = Some((store, self.broken));
    }

    /// The store reported a change: true if it was this channel's and went well.
    pub(crate) fn stored(&mut self, store: StoreId, worked: bool) -> bool {
        match self.waits {
            Some((waits, clears)) if waits == store => {
                self.waits = None;
                // The next event tries again; a store that fails is not asked in a loop.
                self.broken = if clears { self.broken && !worked } else { self.broken || !worked };
                self.stale |= !worked;
                worked
            }
            _ => false,
        }
    }
}
