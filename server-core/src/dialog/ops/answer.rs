//! `answer.start` and `answer.end`: the events of a run. No client may write them.

use super::{Kind, Op, Refused};
use crate::dialog::progress::{Effects, Progress};
use crate::store::Stored;
use tidewire_core::wire::json::Object;
use tidewire_core::wire::{AnswerEnd, AnswerStart, RunId, User, codes};

/// The kind of starts.
pub(super) struct Starts;
/// The kind of ends.
pub(super) struct Ends;

struct Started {
    run: RunId,
}

struct Ended {
    run: RunId,
}

/// The start of this run.
pub(crate) fn started(run: &RunId) -> Box<dyn Op> {
    Box::new(Started { run: run.clone() })
}

/// The end of this run.
pub(crate) fn ended(run: &RunId) -> Box<dyn Op> {
    Box::new(Ended { run: run.clone() })
}

impl Kind for Starts {
    fn name(&self) -> &'static str {
        AnswerStart::KIND
    }

    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused> {
        AnswerStart::decode(body).map(|start| started(&start.run)).ok_or_else(not_yours)
    }
}

impl Kind for Ends {
    fn name(&self) -> &'static str {
        AnswerEnd::KIND
    }

    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused> {
        AnswerEnd::decode(body).map(|end| ended(&end.run)).ok_or_else(not_yours)
    }
}

impl Op for Started {
    fn authorize(&self, _by: &User) -> Result<(), Refused> {
        Err(not_yours())
    }

    fn applied(&self, progress: &mut Progress, _by: &User, _event: &Stored) -> Effects {
        progress.begin_run(&self.run);
        Effects::default()
    }
}

impl Op for Ended {
    fn authorize(&self, _by: &User) -> Result<(), Refused> {
        Err(not_yours())
    }

    fn applied(&self, progress: &mut Progress, _by: &User, _event: &Stored) -> Effects {
        progress.end_run(&self.run);
        Effects::default()
    }
}

fn not_yours() -> Refused {
    Refused::new(codes::UNKNOWN_KIND, "only the server writes this kind")
}
