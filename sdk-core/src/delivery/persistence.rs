//! Pending writes of one channel to the store.
//!
//! One change is under way at a time. If a second one were under way when the first fails, events
//! below the stored cursor would be missing.

use crate::io::{Message, StoreChange, StoreId};
use crate::time::Time;
use crate::wire::{ChannelName, Cursor, Offset};

/// How long after an answer's text grew it is written, unless an event is written before, in ms.
const RUNS_MS: u64 = 1_000;

#[derive(Default)]
pub(crate) struct Persistence {
    /// The change under way, and whether it clears the channel.
    waits: Option<(StoreId, bool)>,
    /// Applied events that are not in the store yet.
    pending: Vec<(Offset, Message)>,
    /// The cursor or the text of an answer is newer than what the store has.
    stale: bool,
    /// The events in the store don't connect to the pending ones, so the channel must be cleared
    /// before the next events are stored.
    broken: bool,
    /// When the texts of answers under way are to be written, if one has grown.
    runs_at: Option<Time>,
}

impl Persistence {
    /// Adds events that were applied; the cursor is at the last one. At most `most` are pending:
    /// the oldest ones beyond that are dropped.
    pub(crate) fn add(&mut self, events: Vec<(Offset, Message)>, most: u64) {
        self.pending.extend(events);
        self.stale = true;
        while self.pending.len() > most as usize {
            self.pending.remove(0);
            self.broken = true;
        }
    }

    /// An answer under way has grown.
    pub(crate) fn grown(&mut self, now: Time) {
        self.runs_at = self.runs_at.or(Some(now.after(RUNS_MS)));
    }

    /// When to write the texts of answers, if one has grown and no change is under way.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.runs_at.filter(|_| self.waits.is_none())
    }

    /// Whether grown texts are to be written now; with `at_once` they need not be due. If so, they
    /// are part of the next change.
    pub(crate) fn is_due(&mut self, now: Time, at_once: bool) -> bool {
        let due = self.deadline().is_some_and(|at| at_once || at <= now);
        if due {
            self.stale = true;
            // If the write fails, the next attempt is due when an answer has grown further, so
            // there is no loop.
            self.runs_at = None;
        }
        due
    }

    /// The cursor was set to another place, or removed: the channel has to be cleared in the store.
    pub(crate) fn reset(&mut self) {
        self.pending.clear();
        self.broken = true;
    }

    /// The next change, if there is something to store. `None` while a change is under way, without
    /// a cursor, and if no events are to be stored (`most` is 0).
    pub(crate) fn next(
        &mut self,
        channel: &ChannelName,
        cursor: Option<&Cursor>,
        runs: impl FnOnce() -> String,
        most: u64,
    ) -> Option<StoreChange> {
        let cursor = cursor.filter(|_| most > 0 && self.stale && self.waits.is_none())?;
        let channel = channel.clone();
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
            trim_below: cursor.offset.next().minus(most),
        })
    }

    /// Sets the id of the change that [`Persistence::next`] returned.
    pub(crate) fn under_way(&mut self, store: StoreId) {
        self.waits = Some((store, self.broken));
    }

    /// The store reported the result of a change. True if it was this channel's and succeeded.
    pub(crate) fn stored(&mut self, store: StoreId, worked: bool) -> bool {
        match self.waits {
            Some((waits, clears)) if waits == store => {
                self.waits = None;
                // The events of a failed write are lost, so the channel must be cleared. The next
                // event or a grown answer causes the next attempt: there is no loop while the store
                // fails.
                self.broken = if clears { self.broken && !worked } else { self.broken || !worked };
                self.stale |= !worked;
                worked
            }
            _ => false,
        }
    }
}
