//! `handoff`: who answers in a dialog changes. The states and steps are [`Handler`]'s.

use super::{Conditions, Handing, Kind, Op, Refused};
use crate::dialog::progress::{Effects, Progress};
use crate::store::Stored;
use tidewire_core::wire::json::Object;
use tidewire_core::wire::{Step, User, codes};

/// The kind.
pub(super) struct HandOffs;

/// A step that was parsed.
struct Hands(Step);

/// This step.
pub(crate) fn hands(step: Step) -> Box<dyn Op> {
    Box::new(Hands(step))
}

impl Kind for HandOffs {
    fn name(&self) -> &'static str {
        Step::KIND
    }

    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused> {
        let message = "`body.step` must be request, take, transfer (with `to`), release or close";
        Step::decode(body).map(hands).ok_or_else(|| Refused::new(codes::BAD_BODY, message))
    }
}

impl Op for Hands {
    fn authorize(&self, by: &User) -> Result<(), Refused> {
        match self.0.is_for(by.kind) {
            true => Ok(()),
            false => Err(Refused::new(codes::FORBIDDEN, "this step of a hand-off is for operators")),
        }
    }

    fn conditions(&self, _by: &User) -> Conditions {
        Conditions { handing: Some(Handing::Step(self.0.clone())), ..Conditions::default() }
    }

    fn applied(&self, progress: &mut Progress, by: &User, event: &Stored) -> Effects {
        progress.hand(|handler| handler.after(by, &self.0, event.at).ok())
    }
}
