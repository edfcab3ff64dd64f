//! What goes on in a dialog besides its events: the answer under way, and what still wants one.

use std::sync::Arc;
use tidewire_core::wire::RunText;

/// Tells the task of an answer to end it, with no lock held.
pub type Stop = Arc<dyn Fn() + Send + Sync>;

/// The part of a dialog that events change. It changes under the dialog's lock.
#[derive(Default)]
pub struct Progress {
    /// The answer under way.
    run: Option<LiveRun>,
    /// How to end the answer of this id, which may not have begun yet.
    stop: Option<(String, Stop)>,
    /// Offset of the newest message that wants an answer.
    wanted: u64,
    /// Whether a task answers this dialog.
    answering: bool,
}

struct LiveRun {
    id: String,
    text: String,
}

/// What is left to do once an event was applied, with no lock held.
#[derive(Default)]
#[must_use]
pub struct Effects {
    /// A task has to be started that answers the dialog.
    pub(super) answer: bool,
    /// The answer under way is to end.
    pub(super) stop: Option<Stop>,
}

impl Effects {
    /// These and those of a later event.
    pub(super) fn add(&mut self, later: Effects) {
        self.answer |= later.answer;
        self.stop = later.stop.or(self.stop.take());
    }
}

impl Progress {
    /// A message at this offset wants an answer.
    pub fn want_answer(&mut self, offset: u64) -> Effects {
        self.wanted = self.wanted.max(offset);
        Effects { answer: !std::mem::replace(&mut self.answering, true), stop: None }
    }

    /// An answer begins.
    pub fn begin_run(&mut self, run: &str) {
        self.run = Some(LiveRun { id: run.to_owned(), text: String::new() });
    }

    /// Somebody asks for the end of an answer.
    pub fn stop_run(&self, run: &str) -> Effects {
        let live = self.run.as_ref().is_some_and(|live| live.id == run);
        Effects { stop: self.stop_of(run).filter(|_| live), answer: false }
    }

    /// An answer ends.
    pub fn end_run(&mut self, run: &str) {
        if self.run.as_ref().is_some_and(|live| live.id == run) {
            self.run = None;
        }
        if self.stop.as_ref().is_some_and(|(id, _)| id == run) {
            self.stop = None;
        }
    }

    /// This is how to end an answer that is about to begin here.
    pub(super) fn will_run(&mut self, run: &str, stop: Stop) {
        self.stop = Some((run.to_owned(), stop));
    }

    /// The dialog is gone.
    pub(super) fn dissolve(&self) -> Effects {
        Effects { stop: self.run.as_ref().and_then(|live| self.stop_of(&live.id)), answer: false }
    }

    /// A stored piece of an answer; false when it is not the next one of the answer under way.
    pub(super) fn piece(&mut self, run: &str, at: u64, text: &str) -> bool {
        let live = self.run.as_mut().filter(|live| live.id == run && live.text.len() as u64 == at);
        live.map(|live| live.text.push_str(text)).is_some()
    }

    /// What the answer under way has said.
    pub(super) fn runs(&self) -> Vec<RunText> {
        self.run.iter().map(|live| RunText { run: live.id.clone(), text: live.text.clone() }).collect()
    }

    /// An answer that a crash left open is still to be ended: what wants an answer waits for that.
    pub(super) fn answers_still(&mut self) {
        self.answering = true;
    }

    /// Whether a message after `covered` wants an answer; if not, no task answers the dialog any
    /// more.
    pub(super) fn wants_another(&mut self, covered: u64) -> bool {
        self.answering = self.wanted > covered;
        self.answering
    }

    fn stop_of(&self, run: &str) -> Option<Stop> {
        self.stop.as_ref().filter(|(id, _)| id == run).map(|(_, stop)| stop.clone())
    }
}
