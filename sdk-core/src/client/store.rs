//! Writes to the store for the next start.

use super::Client;
use super::reads::{KeptMark, read_marks};
use crate::chat::Timeline;
use crate::delivery::{Channel, EntryState, Lane};
use crate::event::{Event, OpState, RowState};
use crate::io::{Message, Output, StoreChange, StoreError, StoreId};
use crate::part::Part;
use crate::time::Now;
use crate::wire::json::{Object, Writer, validate};
use crate::wire::{OpId, User};

impl<T: Part> Client<T> {
    pub(super) fn store(&mut self, change: StoreChange) -> StoreId {
        self.last_store += 1;
        let store = StoreId(self.last_store);
        match &change {
            StoreChange::DeleteOp { id } => self.removals.push((store, Some(id.clone()))),
            StoreChange::ClearChannel { .. } | StoreChange::ClearTable { .. } => {
                self.removals.push((store, None))
            }
            _ => {}
        }
        self.out.push_back(Output::Store { store, change });
        store
    }

    pub(super) fn put_op(&mut self, id: &OpId, record: Message) {
        if self.storage.is_some() {
            // If this op were stored and an earlier one not, a restart would send them in the wrong
            // order.
            self.put_again(Some(id));
        }
        let store = self.store(StoreChange::PutOp { id: id.clone(), record });
        self.puts.push((store, id.clone()));
    }

    /// Stores ops again that could not be stored before, except for one op.
    fn put_again(&mut self, but: Option<&OpId>) {
        let is_missing = |entry: &&crate::delivery::Entry| {
            entry.lane == Lane::Durable
                && !entry.stored
                && Some(&entry.id) != but
                && !self.puts.iter().any(|(_, id)| *id == entry.id)
        };
        let mut missing = Vec::new();
        for entry in self.outbox.iter().filter(is_missing) {
            missing.push((entry.id.clone(), entry.record()));
        }
        for (id, record) in missing {
            let store = self.store(StoreChange::PutOp { id: id.clone(), record });
            self.puts.push((store, id));
        }
    }

    /// Deletes settled ops again that could not be deleted before. A restart would send them again.
    fn delete_again(&mut self) {
        for id in std::mem::take(&mut self.undeleted) {
            if self.outbox.get(&id).is_none() {
                self.store(StoreChange::DeleteOp { id });
            }
        }
    }

    pub(super) fn put_profile(&mut self) {
        let record = Writer::object().str("client", &self.installation);
        let record = match &self.me {
            Some(me) => record.with("user", |writer| me.write(writer)),
            None => record,
        };
        let record = self.write_marks(record);
        self.store(StoreChange::PutProfile { record: Message(record.end()) });
    }

    /// Stores the next change of a channel, unless one is under way.
    pub(super) fn persist_channel(&mut self, at: usize) {
        let Channel { name, persistence, cursor, timeline, .. } = &mut self.channels[at];
        let runs = || timeline.as_ref().map_or_else(|| String::from("[]"), Timeline::runs);
        if let Some(change) = persistence.next(name, cursor.as_ref(), runs, self.config.cached_events) {
            let store = self.store(change);
            self.channels[at].persistence.under_way(store);
        }
    }

    /// Stores the texts so far of answers under way, if they are due or `at_once` is set.
    pub(super) fn persist_runs(&mut self, now: Now, at_once: bool) {
        for at in 0..self.channels.len() {
            if self.channels[at].persistence.is_due(now.mono, at_once) {
                self.persist_channel(at);
            }
        }
    }

    pub(super) fn stored(&mut self, store: StoreId, result: Result<(), StoreError>) {
        let failed_before = self.storage.is_some();
        let put = self.puts.iter().position(|(other, _)| *other == store).map(|at| self.puts.remove(at).1);
        let removal = self.removals.iter().position(|(other, _)| *other == store);
        let removal = removal.map(|at| self.removals.swap_remove(at).1);
        let removed = removal.is_some();
        if result.is_err() {
            self.undeleted.extend(removal.flatten());
            // The list is limited, because a broken store may never work again.
            while self.undeleted.len() > self.config.outbox_ops {
                self.undeleted.remove(0);
            }
        }
        let code = result.err().map(StoreError::code);
        // Removals can succeed on a full disk too, so they don't show that the store works.
        let works = code.is_none() && !removed;
        if works {
            self.delete_again();
        }
        if code != self.storage && (works || code.is_some()) {
            self.storage = code;
            self.journal.note(self.last.wall, "storage", code.unwrap_or("works"), 1);
            self.emit(Event::Storage { code });
        }
        for at in 0..self.channels.len() {
            if self.channels[at].persistence.stored(store, code.is_none()) {
                self.persist_channel(at);
            }
        }
        if code.is_none()
            && let Some(entry) = put.and_then(|id| self.outbox.get_mut(&id))
            && !entry.stored
        {
            entry.stored = true;
            // An op that was sent or refused meanwhile has a later state than `queued`.
            let is_queued = matches!(entry.state, EntryState::Ready { .. });
            let (id, channel) = (entry.id.clone(), entry.channel.clone());
            self.emit(Event::Stored { id: id.clone() });
            if is_queued {
                if let Some(timeline) = self.timeline(&channel) {
                    timeline.mark(&id, RowState::Queued, None);
                }
                self.emit_op(id, channel, OpState::Queued);
            }
        }
        if works && failed_before {
            self.put_again(None);
        }
    }
}

/// The installation's id, the user of an earlier start, and the read positions that the server does
/// not have yet.
pub(super) fn read_profile(record: &str) -> Option<(String, Option<User>, Vec<KeptMark>)> {
    let object = Object::parse(validate(record).ok()?).ok()?;
    let me = object.object("user").and_then(|user| User::read(&user).ok());
    Some((object.text("client")?, me, read_marks(&object)))
}
