//! Writes that wait for the next commit.

use crate::script::CHANNELS;
use crate::server::tokens::AllRules;
use parking_lot::Mutex;
use tidewire_server_core::store::{Done, Got, Read, Store, Write};

/// A store that collects writes until the next commit.
pub(super) struct Inbox {
    waiting: Mutex<Vec<Waiting>>,
    reads: Mutex<Vec<(Read, Got)>>,
    rules: AllRules,
}

/// A write, and the callback for its outcome.
pub(super) struct Waiting {
    pub(super) write: Write,
    pub(super) done: Done,
    /// Its author had no access when it was queued.
    pub(super) barred: bool,
}

impl Inbox {
    pub(super) fn new(rules: AllRules) -> Inbox {
        Inbox { waiting: Mutex::default(), reads: Mutex::default(), rules }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// The reads that are to be answered.
    pub(super) fn reads(&self) -> Vec<(Read, Got)> {
        std::mem::take(&mut self.reads.lock())
    }

    pub(super) fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting.lock())
    }
}

impl Store for Inbox {
    fn write(&self, write: Write, done: Done) {
        let barred = match &write {
            Write::Append(event) if &*event.name == CHANNELS[1] => {
                let device = event.author.rsplit('u').next().and_then(|number| number.parse::<usize>().ok());
                device.is_some_and(|device| self.rules.lock()[device].barred)
            }
            _ => false,
        };
        self.waiting.lock().push(Waiting { write, done, barred });
    }

    fn read(&self, read: Read, got: Got) {
        self.reads.lock().push((read, got));
    }
}
