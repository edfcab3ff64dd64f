//! What must hold, checked as it happens; and a count of what happened.

mod channels;
mod claims;
mod connection;
mod disk;
mod ops;

use crate::script::{Action, Script};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use tidewire_core::{Event, Lane};
use tidewire_history::{Event as Told, History, Violation};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The guarantee's number, or what else went wrong.
    pub what: String,
    /// How it showed.
    pub how: String,
    /// When, in ms of virtual time.
    pub at: u64,
}

/// The checks of one run, and what they know.
pub(crate) struct Watch {
    pub(crate) history: History,
    broken: Option<Broken>,
    hash: DefaultHasher,
    /// Whether to print what happens.
    aloud: bool,
    now: u64,
    /// How often each kind of action struck.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How often each rare thing happened.
    pub(crate) marks: BTreeMap<String, u64>,
    /// Of each op: its channel, how many were written before it, and its lane.
    channels: BTreeMap<String, String>,
    order: BTreeMap<String, usize>,
    lanes: BTreeMap<String, Lane>,
    /// Acknowledged ops, with whose they are.
    acked: BTreeMap<String, String>,
    /// What rows that were called live left out, by epoch and offset, with who saw that first, and
    /// when.
    pub(crate) holes: BTreeMap<(String, u64), (usize, u64)>,
}

impl Watch {
    pub(crate) fn new(script: &Script) -> Watch {
        let mut history = History::new();
        // What the server writes itself has ids of its own.
        let _ = history.push(Told::ServerPrefix { prefix: "00005e12-7e12".into() });
        Watch {
            history,
            broken: None,
            hash: DefaultHasher::new(),
            aloud: script.trace,
            now: 0,
            faults: BTreeMap::new(),
            marks: BTreeMap::new(),
            channels: BTreeMap::new(),
            order: BTreeMap::new(),
            lanes: BTreeMap::new(),
            acked: BTreeMap::new(),
            holes: BTreeMap::new(),
        }
    }

    /// A promise is broken: the first one counts.
    pub(crate) fn broken(&mut self, what: &str, how: String) {
        let at = self.now;
        self.broken.get_or_insert(Broken { what: what.to_owned(), how, at });
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The first promise that was broken.
    pub(crate) fn verdict(&self) -> Option<Broken> {
        self.broken.clone()
    }

    /// The same for the same run.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Counts a rare thing.
    pub(crate) fn mark(&mut self, what: &str) {
        match self.marks.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.marks.insert(what.to_owned(), 1)),
        }
    }

    /// Counts an action that strikes now.
    pub(crate) fn counts(&mut self, now: u64, action: &Action) {
        self.now = now;
        if self.aloud {
            println!("{now} {action:?}");
        }
        *self.faults.entry(action.name()).or_default() += 1;
    }

    /// A message arrives.
    pub(crate) fn trace(&mut self, now: u64, who: &str, text: &str) {
        self.now = now;
        (now, who, text).hash(&mut self.hash);
        if self.aloud {
            println!("{now} {who} {text}");
        }
    }

    /// An application is notified.
    pub(crate) fn trace_event(&mut self, now: u64, event: &Event) {
        self.now = now;
        (now, std::mem::discriminant(event)).hash(&mut self.hash);
        if self.aloud {
            println!("{now} told {event:?}");
        }
    }

    /// Tells the checker of histories.
    pub(crate) fn record(&mut self, told: Told<'_>) {
        if let Err(Violation { kind, what }) = self.history.push(told) {
            self.broken(&format!("{kind:?}").to_lowercase(), what);
        }
    }
}
