//! What is kept for the next start.

use super::Client;
use crate::delivery::EntryState;
use crate::event::{Event, OpState, RowState};
use crate::io::{Message, Output, StoreChange, StoreError, StoreId};
use crate::wire::User;
use crate::wire::json::{Object, Writer, validate};

impl Client {
    pub(super) fn store(&mut self, change: StoreChange) -> StoreId {
        self.last_store += 1;
        let store = StoreId(self.last_store);
        if matches!(change, StoreChange::DeleteOp { .. } | StoreChange::ClearChannel { .. }) {
            self.removals.push(store);
        }
        self.out.push_back(Output::Store { store, change });
        store
    }

    pub(super) fn put_op(&mut self, id: &str, record: Message) {
        let store = self.store(StoreChange::PutOp { id: id.to_owned(), record });
        self.puts.push((store, id.to_owned()));
    }

    pub(super) fn put_profile(&mut self) {
        let record = Writer::object().str("client", &self.installation);
        let record = match &self.me {
            Some(me) => record.raw("user", &me.encode()),
            None => record,
        };
        self.store(StoreChange::PutProfile { record: Message(record.end()) });
    }

    /// Gives the store the next change of a channel, unless one is under way.
    pub(super) fn keep_on(&mut self, at: usize) {
        let channel = &mut self.channels[at];
        let most = self.config.cached_events;
        if let Some(change) = channel.keeping.next(&channel.name, channel.cursor.as_ref(), most) {
            let store = self.store(change);
            self.channels[at].keeping.under_way(store);
        }
    }

    pub(super) fn stored(&mut self, store: StoreId, result: Result<(), StoreError>) {
        let put = self.puts.iter().position(|(other, _)| *other == store).map(|at| self.puts.remove(at).1);
        let removal = self.removals.iter().position(|other| *other == store);
        let removed = removal.map(|at| self.removals.swap_remove(at)).is_some();
        let code = result.err().map(StoreError::code);
        // Removing what was never there succeeds on a full disk too.
        if code != self.storage && !(code.is_none() && removed) {
            self.storage = code;
            self.journal.note(self.last.wall, "storage", code.unwrap_or("works"), 1);
            self.out.push_back(Output::Event(Event::Storage { code }));
        }
        for at in 0..self.channels.len() {
            if self.channels[at].keeping.stored(store, code.is_none()) {
                self.keep_on(at);
            }
        }
        if code.is_none()
            && let Some(entry) = put.and_then(|id| self.outbox.get_mut(&id))
            && !entry.stored
        {
            entry.stored = true;
            // What was sent or refused meanwhile is further than queued.
            let is_queued = matches!(entry.state, EntryState::Ready { .. });
            let (id, channel) = (entry.id.clone(), entry.channel.clone());
            if is_queued {
                if let Some(timeline) = self.timeline(&channel) {
                    timeline.mark(&id, RowState::Queued, None);
                }
                self.tell_op(id, channel, OpState::Queued);
            }
        }
    }
}

/// The installation's id and the user of an earlier start.
pub(super) fn read_profile(record: &str) -> Option<(String, Option<User>)> {
    let object = Object::parse(validate(record).ok()?).ok()?;
    let me = object.object("user").and_then(|user| User::read(&user).ok());
    Some((object.str("client")?.into_owned(), me))
}
