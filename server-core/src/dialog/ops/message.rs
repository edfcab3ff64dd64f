//! `message`: a user writes, and may need an answer.

use super::{Conditions, Handing, Kind, Op, Refused};
use crate::dialog::progress::{Effects, Progress};
use crate::store::Stored;
use tidewire_core::wire::json::Object;
use tidewire_core::wire::{MAX_TEXT, Message, User, UserKind, codes};

/// The kind.
pub(super) struct Messages;

/// A message that was parsed; its text is in the event.
struct Says;

impl Kind for Messages {
    fn name(&self) -> &'static str {
        Message::KIND
    }

    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused> {
        let Some(text) = body.str("text") else {
            return Err(Refused::new(codes::BAD_BODY, "`body.text` must be a string"));
        };
        if text.len() > MAX_TEXT {
            let message = format!("`body.text` may have at most {MAX_TEXT} bytes");
            return Err(Refused::new(codes::TOO_LARGE, message));
        }
        if text.trim().is_empty() {
            return Err(Refused::new(codes::BAD_BODY, "`body.text` must not be empty"));
        }
        Ok(Box::new(Says))
    }
}

impl Op for Says {
    fn conditions(&self, by: &User) -> Conditions {
        Conditions {
            wants_answer: wants_answer(by),
            handing: Some(Handing::Message),
            ..Conditions::default()
        }
    }

    fn applied(&self, progress: &mut Progress, by: &User, event: &Stored) -> Effects {
        let mut effects = progress.hand(|handler| handler.after_message(by, event.at));
        if wants_answer(by) {
            effects.add(progress.want_answer(event.offset));
        }
        Effects { said: true, ..effects }
    }
}

/// Models answer guests and users, not operators.
fn wants_answer(by: &User) -> bool {
    matches!(by.kind, UserKind::Guest | UserKind::User)
}
