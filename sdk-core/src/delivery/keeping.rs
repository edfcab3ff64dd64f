//! What of a channel is on its way into the store.
//!
//! One change at a time: were a second one under way when the first fails, the store would hold a
//! hole below its cursor.

use crate::io::{Message, StoreChange, StoreId};
use crate::time::Time;
use crate::wire::Cursor;

/// While an answer grows, its text goes into the store this often at most.
const RUNS_MS: u64 = 1_000;

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
    /// When the texts of answers under way are due, if they changed.
    runs_at: Option<Time>,
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

    /// An answer under way has grown.
    pub(crate) fn grown(&mut self, now: Time) {
        self.runs_at = self.runs_at.or(Some(now.after(RUNS_MS)));
    }

    /// When to ask for the next change because an answer has grown.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.runs_at.filter(|_| self.waits.is_none())
    }

    /// Takes what has grown by now, or all of it at once because nothing may follow; false if there
    /// is nothing.
    pub(crate) fn is_due(&mut self, now: Time, at_once: bool) -> bool {
        let due = self.deadline().is_some_and(|at| at_once || at <= now);
        if due {
            self.stale = true;
            // What the store can't take now is tried again when more comes: it is not asked in a
            // loop.
            self.runs_at = None;
        }
        due
    }

    /// The cursor was set anew, or is gone.
    pub(crate) fn begin_anew(&mut self) {
        self.pending.clear();
        self.broken = true;
    }

    /// The next change, unless one is under way, or no events are to be kept.
    pub(crate) fn next(
        &mut self,
        channel: &str,
        cursor: Option<&Cursor>,
        runs: impl FnOnce() -> String,
        most: u64,
    ) -> Option<StoreChange> {
        let cursor = cursor.filter(|_| most > 0 && self.stale && self.waits.is_none())?;
        let channel = channel.to_owned();
        if self.broken {
            return Some(StoreChange::ClearChannel { channel });
        }
        self.stale = false;
        self.runs_at = None;
        Some(StoreChange::PutEvents {
            channel,
            epoch: cursor.epoch.clone(),
            cursor: cursor.offset,
            events: std::mem::take(&mut self.pending),
            runs: Message(runs()),
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
