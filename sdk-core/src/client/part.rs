//! Connects the client with its part: passes frames to it and carries out its effects.

use super::Client;
use crate::event::Event;
use crate::io::{ConnId, Message, Output, StoreChange};
use crate::part::{Effect, Part};
use crate::time::Now;

impl<T: Part> Client<T> {
    pub(super) fn part_frame(&mut self, now: Now, conn: ConnId, text: &str) {
        let taken = self.part.frame(now.mono, &mut self.rng, text);
        self.follow_part();
        if let Err(error) = taken {
            self.not_a_frame(now, conn, error);
        }
    }

    pub(super) fn part_connected(&mut self) {
        self.part.connected();
        self.follow_part();
    }

    /// The session has ended. The part's pending writes are made at once, because the client may be
    /// closed next.
    pub(super) fn part_disconnected(&mut self) {
        self.part.disconnected();
        self.flush_part(self.last);
    }

    pub(super) fn forget_part(&mut self) {
        self.part.forget_user();
        self.follow_part();
    }

    pub(super) fn tick_part(&mut self, now: Now) {
        self.part.tick(now, false);
        self.follow_part();
    }

    /// Writes what the part would store later, because the page or app may end without notice.
    pub(super) fn flush_part(&mut self, now: Now) {
        self.part.tick(now, true);
        self.follow_part();
    }

    pub(super) fn follow_part(&mut self) {
        for effect in self.part.take() {
            match effect {
                Effect::Send(frame) => {
                    if let Some(conn) = self.session {
                        self.out.push_back(Output::Transmit { conn, message: Message(frame) });
                    }
                }
                Effect::Emit(event) => self.emit(Event::Part(event)),
                Effect::Keep { name, record: Some(record) } => {
                    self.store(StoreChange::PutTable { name, record: Message(record) });
                }
                Effect::Keep { name, record: None } => {
                    self.store(StoreChange::ClearTable { name });
                }
                Effect::Again { about, missed } => {
                    self.journal.counters.repaired += u64::from(missed);
                    self.journal.note(self.last.wall, if missed { "repair" } else { "reset" }, &about, 1);
                }
            }
        }
    }
}
