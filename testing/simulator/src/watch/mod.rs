//! The guarantees, checked as things happen, and counts of what happened.

mod channels;
mod claims;
mod connection;
mod disk;
mod handoff;
mod ops;
mod people;
mod reads;

use crate::script::{Action, Script};
use handoff::HandoffWatch;
use people::PeopleWatch;
pub(crate) use people::device_of;
use reads::ReadsWatch;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use tidewire_core::{Event, Lane};
use tidewire_history::{Event as Told, History, Violation};

/// A violated guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The guarantee's number, or another kind of fault.
    pub what: String,
    /// What was observed.
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
    /// How often each kind of fault or action happened.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How often each rare thing happened.
    pub(crate) marks: BTreeMap<String, u64>,
    /// Of each op: its channel, how many were written before it, and its lane.
    channels: BTreeMap<String, String>,
    order: BTreeMap<String, usize>,
    lanes: BTreeMap<String, Lane>,
    /// Acknowledged ops, with their clients.
    acked: BTreeMap<String, String>,
    /// Ops that were acknowledged before a backup was restored.
    undone: BTreeSet<String>,
    /// Offsets that live dialogs showed no row for, by epoch and offset, with the first client and
    /// time.
    pub(crate) holes: BTreeMap<(String, u64), (usize, u64)>,
    people: PeopleWatch,
    reads: ReadsWatch,
    handoff: HandoffWatch,
}

impl Watch {
    pub(crate) fn new(script: &Script) -> Watch {
        let mut history = History::new();
        // Events that the server writes itself have ids of this form.
        let _ = history.push(Told::ServerPrefix { prefix: "00005e12-7e12".into() });
        // Those that give a dialog back begin with a time of the run.
        let _ = history.push(Told::ServerPrefix { prefix: "000001a1-ee".into() });
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
            undone: BTreeSet::new(),
            holes: BTreeMap::new(),
            people: PeopleWatch::default(),
            reads: ReadsWatch::default(),
            handoff: HandoffWatch::default(),
        }
    }

    /// Records a violation; the first one counts.
    pub(crate) fn broken(&mut self, what: &str, how: String) {
        let at = self.now;
        self.broken.get_or_insert(Broken { what: what.to_owned(), how, at });
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The first violation.
    pub(crate) fn verdict(&self) -> Option<Broken> {
        self.broken.clone()
    }

    /// A hash of everything that happened, equal for equal runs.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Counts a rare event.
    pub(crate) fn mark(&mut self, what: &str) {
        match self.marks.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.marks.insert(what.to_owned(), 1)),
        }
    }

    /// Counts an action that is carried out now.
    pub(crate) fn counts(&mut self, now: u64, action: &Action) {
        self.now = now;
        if self.aloud {
            println!("{now} {action:?}");
        }
        *self.faults.entry(action.name()).or_default() += 1;
    }

    /// Prints and hashes a message that arrives.
    pub(crate) fn trace(&mut self, now: u64, who: &str, text: &str) {
        self.now = now;
        (now, who, text).hash(&mut self.hash);
        if self.aloud {
            println!("{now} {who} {text}");
        }
    }

    /// Prints and hashes a notification to an application.
    pub(crate) fn trace_event(&mut self, now: u64, event: &Event) {
        self.now = now;
        (now, std::mem::discriminant(event)).hash(&mut self.hash);
        if self.aloud {
            println!("{now} told {event:?}");
        }
    }

    /// Adds an entry to the history that is checked at the end.
    pub(crate) fn record(&mut self, told: Told<'_>) {
        if let Err(Violation { kind, what }) = self.history.push(told) {
            self.broken(&format!("{kind:?}").to_lowercase(), what);
        }
    }
}
