//! What the log may hold, looked at after every commit: answers that begin once, to something, and
//! end once; and nothing of somebody whose access was taken back before it came.

use crate::server::logged::Logged;

/// No answer takes longer while all is well: sixty words, and a commit for each.
const LONGEST_MS: u64 = 40_000;

/// One channel's log as it was read so far.
#[derive(Debug, Default)]
pub(super) struct LogWatch {
    /// The last offset read.
    seen: u64,
    /// A message came since the last answer began.
    asked: bool,
    /// The answer under way.
    open: Option<String>,
    /// When it began.
    opened_at: u64,
    /// What stood before was not read: a first start or end may belong to it.
    blind: bool,
}

impl LogWatch {
    /// Where to read on.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The log begins again after `floor`, with events before it that nobody read.
    pub(super) fn begins_after(&mut self, floor: u64) {
        *self = LogWatch { seen: floor, asked: true, blind: floor > 0, ..LogWatch::default() };
    }

    /// Whether a message waits for an answer that nobody began.
    pub(super) fn waits(&self) -> bool {
        self.asked && self.open.is_none() && !self.blind
    }

    /// The answer that has been under way for longer than any takes.
    pub(super) fn overdue(&self, now: u64) -> Option<&str> {
        self.open.as_deref().filter(|_| now > self.opened_at + LONGEST_MS)
    }

    /// Reads on; what must not be, if there is such a thing.
    pub(super) fn read(&mut self, event: &Logged, now: u64) -> Option<String> {
        self.seen = event.offset;
        match event.kind.as_str() {
            "message" => {
                self.asked = true;
                None
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
