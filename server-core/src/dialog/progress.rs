//! The state of a dialog besides its events: the answer under way, and whether one is needed.

use std::sync::Arc;
use tidewire_core::wire::{Handler, Offset, RunId, RunText};

/// Tells the task of an answer to end it, with no lock held.
pub type Stop = Arc<dyn Fn() + Send + Sync>;

/// The part of a dialog's state that events change. It is behind the dialog's lock.
pub struct Progress {
    /// Whether the server's model answers messages here.
    answered: bool,
    /// Who answers, in a dialog.
    handler: Option<Handler>,
    /// The answer under way.
    run: Option<LiveRun>,
    /// The answer's id and how to end it; it may not have begun yet.
    stop: Option<(RunId, Stop)>,
    /// Offset of the newest message that needs an answer.
    unanswered: Offset,
    /// Whether a task is answering this dialog.
    answering: bool,
}

struct LiveRun {
    id: RunId,
    text: String,
}

/// What is left to do after an event was applied, with no lock held.
#[derive(Default)]
#[must_use]
pub struct Effects {
    /// Whether to start a task that answers the dialog.
    pub(super) answer: bool,
    /// How to end the answer under way, if it is to end.
    pub(super) stop: Option<Stop>,
    /// Whether the author has written what they were writing.
    pub(super) said: bool,
}

impl Effects {
    /// Adds the effects of a later event.
    pub(super) fn add(&mut self, later: Effects) {
        self.answer |= later.answer;
        self.stop = later.stop.or(self.stop.take());
        self.said |= later.said;
    }
}

impl Progress {
    /// Nothing is under way. `answered` says whether the server's model answers messages, `handler`
    /// who answers; none if the channel is no dialog.
    pub(super) fn new(answered: bool, handler: Option<Handler>) -> Progress {
        Progress { answered, handler, run: None, stop: None, unanswered: Offset::ZERO, answering: false }
    }

    /// Changes who answers. From the moment at which an operator does, the model is silent.
    pub(super) fn hand(&mut self, next: impl FnOnce(&Handler) -> Option<Handler>) -> Effects {
        if let Some(handler) = &mut self.handler
            && let Some(next) = next(handler)
        {
            *handler = next;
        }
        if self.is_ai() {
            return Effects::default();
        }
        self.unanswered = Offset::ZERO;
        let stop = self.run.as_ref().and_then(|live| self.stop_of(&live.id));
        Effects { stop, ..Effects::default() }
    }

    /// Who answers, if it is not the model.
    pub(super) fn handler(&self) -> Option<&Handler> {
        self.handler.as_ref().filter(|handler| **handler != Handler::Ai)
    }

    /// Whether the model may write.
    fn is_ai(&self) -> bool {
        self.handler.as_ref().is_none_or(Handler::is_ai)
    }

    /// From now on the server's model answers messages, or does not. An answer under way goes on.
    pub(super) fn set_answered(&mut self, answered: bool) {
        self.answered = answered;
    }

    /// The message at this offset needs an answer.
    pub fn want_answer(&mut self, offset: Offset) -> Effects {
        if !self.answered || !self.is_ai() {
            return Effects::default();
        }
        self.unanswered = self.unanswered.max(offset);
        Effects { answer: !std::mem::replace(&mut self.answering, true), ..Effects::default() }
    }

    /// An answer begins.
    pub fn begin_run(&mut self, run: &RunId) {
        self.run = Some(LiveRun { id: run.clone(), text: String::new() });
    }

    /// A user asks to end an answer.
    pub fn stop_run(&self, run: &RunId) -> Effects {
        let live = self.run.as_ref().is_some_and(|live| live.id == *run);
        Effects { stop: self.stop_of(run).filter(|_| live), ..Effects::default() }
    }

    /// An answer ends.
    pub fn end_run(&mut self, run: &RunId) {
        if self.run.as_ref().is_some_and(|live| live.id == *run) {
            self.run = None;
        }
        if self.stop.as_ref().is_some_and(|(id, _)| id == run) {
            self.stop = None;
        }
    }

    /// Notes how to end an answer that is about to begin.
    pub(super) fn will_run(&mut self, run: &RunId, stop: Stop) {
        self.stop = Some((run.clone(), stop));
    }

    /// The dialog was deleted: ends an answer under way.
    pub(super) fn dissolve(&self) -> Effects {
        let stop = self.run.as_ref().and_then(|live| self.stop_of(&live.id));
        Effects { stop, ..Effects::default() }
    }

    /// Adds a stored piece of an answer; false when it is not the next one of the answer under way.
    pub(super) fn piece(&mut self, run: &RunId, at: u64, text: &str) -> bool {
        let live = self.run.as_mut().filter(|live| live.id == *run && live.text.len() as u64 == at);
        live.map(|live| live.text.push_str(text)).is_some()
    }

    /// The text so far of the answer under way.
    pub(super) fn runs(&self) -> Vec<RunText> {
        self.run.iter().map(|live| RunText { run: live.id.clone(), text: live.text.clone() }).collect()
    }

    /// The answer under way.
    pub(super) fn run(&self) -> Option<&RunId> {
        self.run.as_ref().map(|live| &live.id)
    }

    /// Notes that an answer which a crash left open has to be ended first: no other one begins
    /// before.
    pub(super) fn answers_still(&mut self) {
        self.answering = true;
    }

    /// Whether a message after offset `covered` needs an answer; if not, the task that answers the
    /// dialog has ended.
    pub(super) fn wants_another(&mut self, covered: Offset) -> bool {
        self.answering = self.unanswered > covered;
        self.answering
    }

    fn stop_of(&self, run: &RunId) -> Option<Stop> {
        self.stop.as_ref().filter(|(id, _)| id == run).map(|(_, stop)| stop.clone())
    }
}
