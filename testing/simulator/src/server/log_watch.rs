//! Checks the log after every commit: an answer starts once, answers a message and ends once, and
//! nobody writes after their access was revoked.

use crate::server::logged::Logged;
use tidewire_core::wire::Handler;

/// No answer takes longer without faults: sixty words with a commit for each.
const LONGEST_MS: u64 = 40_000;

/// What was read of one channel's log so far.
#[derive(Debug, Default)]
pub(super) struct LogWatch {
    /// The last offset read.
    seen: u64,
    /// A message came since the last answer began.
    asked: bool,
    /// The run under way.
    open: Option<String>,
    /// When it started.
    opened_at: u64,
    /// Earlier events were not read, so the first start or end may belong to them.
    blind: bool,
    /// Who answers; none if that is in events that were not read.
    handler: Option<Handler>,
}

impl LogWatch {
    /// Of a log without events.
    pub(super) fn new() -> LogWatch {
        LogWatch { handler: Some(Handler::Ai), ..LogWatch::default() }
    }

    /// The offset after which to read on.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The log begins after `floor`; events before that were not read.
    pub(super) fn begins_after(&mut self, floor: u64) {
        let handler = (floor == 0).then_some(Handler::Ai);
        *self = LogWatch { seen: floor, asked: true, blind: floor > 0, handler, ..LogWatch::default() };
    }

    /// All events were read: who answers is known, if it was not before.
    pub(super) fn learn(&mut self, handler: Handler) {
        if self.handler.is_none() {
            self.asked &= handler.is_ai();
            self.handler = Some(handler);
        }
    }

    /// Who answers, if that is known.
    pub(super) fn handler(&self) -> Option<&Handler> {
        self.handler.as_ref()
    }

    /// Whether a message still waits for an answer to start.
    pub(super) fn waits(&self) -> bool {
        self.asked && self.open.is_none() && !self.blind
    }

    /// The run that takes longer than any should.
    pub(super) fn overdue(&self, now: u64) -> Option<&str> {
        self.open.as_deref().filter(|_| now > self.opened_at + LONGEST_MS)
    }

    /// Checks the next event; returns the violation, if there is one.
    pub(super) fn read(&mut self, event: &Logged, now: u64) -> Option<String> {
        self.seen = event.offset;
        if let Some(handler) = &self.handler {
            if event.is_impossible_after(handler) {
                return Some(format!("{} was handed off although {handler:?} answers", event.id));
            }
            self.handler = event.handler_after(handler).or(self.handler.take());
        }
        let is_ai = self.handler.as_ref().is_none_or(Handler::is_ai);
        self.asked &= is_ai;
        match event.kind.as_str() {
            "message" => {
                self.asked |= is_ai && !event.is_operators();
                None
            }
            "answer.start" if !is_ai => {
                Some(format!("answer {} began while {:?} answers", event.run(), self.handler))
            }
            "answer.start" => {
                let run = event.run();
                (self.blind, self.opened_at) = (false, now);
                let asked = std::mem::replace(&mut self.asked, false);
                match self.open.replace(run.clone()) {
                    Some(other) if other == run => Some(format!("answer {run} began twice")),
                    Some(other) => Some(format!("answer {run} began while {other} was under way")),
                    None if !asked => Some(format!("answer {run} began although nobody asked")),
                    None => None,
                }
            }
            "answer.end" => {
                let run = event.run();
                let open = self.open.take();
                (open.as_ref() != Some(&run) && !std::mem::replace(&mut self.blind, false))
                    .then(|| format!("answer {run} ended while {open:?} was under way"))
            }
            _ => None,
        }
    }
}
