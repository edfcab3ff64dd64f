//! `run.cancel`: a user asks to end an answer.

use super::{Conditions, Kind, Op, Refused};
use crate::dialog::progress::{Effects, Progress};
use crate::store::Stored;
use tidewire_core::wire::json::Object;
use tidewire_core::wire::{CancelRun, User, codes};

/// The kind.
pub(super) struct Cancellations;

/// A request that was parsed.
struct CancelsRun(CancelRun);

impl Kind for Cancellations {
    fn name(&self) -> &'static str {
        CancelRun::KIND
    }

    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused> {
        match CancelRun::decode(body) {
            Some(cancel) => Ok(Box::new(CancelsRun(cancel))),
            None => Err(Refused::new(codes::BAD_BODY, "`body.run` must be a string")),
        }
    }
}

impl Op for CancelsRun {
    fn conditions(&self, _by: &User) -> Conditions {
        Conditions { needs_run: Some(self.0.run.clone()), ..Conditions::default() }
    }

    fn applied(&self, progress: &mut Progress, _by: &User, _event: &Stored) -> Effects {
        progress.stop_run(&self.0.run)
    }
}
