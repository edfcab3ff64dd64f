//! The messages of a dialog that a model gets, and the errors of a model.

use crate::text::Text;
use std::collections::BTreeMap;
use thiserror::Error;
use tidewire_core::wire::{AnswerEnd, AnswerStart, Body, EventFrame, Message, Offset, RunId, UserKind};

/// How many messages the model gets.
const CONTEXT: usize = 10;
/// How many of the newest events of [`CONTEXT_KINDS`] are read for them: an answer has two, its
/// start and its end.
pub(crate) const CONTEXT_EVENTS: usize = 2 * CONTEXT;

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A guest or a user.
    User,
    /// A human who answers for the application's owner.
    Operator,
    /// An earlier answer.
    Assistant,
}

/// One message of the dialog so far. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct Turn {
    /// The author.
    pub role: Role,
    /// The author's name.
    pub name: String,
    /// The message.
    pub text: String,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("role", &self.role).field("bytes", &self.text.len()).finish()
    }
}

/// Why a model could not answer, or not to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The model's server refuses our key.
    #[error("the model refused the server's key")]
    Unauthorized,
    /// Too many requests.
    #[error("the model is asked too often")]
    RateLimited,
    /// No connection, or a fault of the model's server.
    #[error("the model can't be reached")]
    Unavailable,
    /// It took too long.
    #[error("the model took too long")]
    Timeout,
    /// It sent an invalid response.
    #[error("the model sent an invalid response")]
    BadResponse,
    /// It stopped in the middle.
    #[error("the model's answer was cut off")]
    Cut,
}

impl ModelError {
    /// The stable code of the protocol, section 9.
    pub fn code(self) -> &'static str {
        match self {
            ModelError::Unauthorized => "model_unauthorized",
            ModelError::RateLimited => "model_rate_limited",
            ModelError::Unavailable => "model_unavailable",
            ModelError::Timeout => "model_timeout",
            ModelError::BadResponse => "model_bad_response",
            ModelError::Cut => "model_cut",
        }
    }
}

/// The kinds of events that have a text, or mark the place of one.
pub(crate) const CONTEXT_KINDS: &[&str] = &[Message::KIND, AnswerStart::KIND, AnswerEnd::KIND];

/// The newest [`CONTEXT`] messages of these events. An answer has the place of its start: messages
/// that were written during it are not answered yet, and must come last.
pub(crate) fn turns(frames: &[Text]) -> Vec<Turn> {
    let mut starts: BTreeMap<RunId, Offset> = BTreeMap::new();
    let mut placed: Vec<(Offset, Turn)> = Vec::new();
    for event in frames.iter().filter_map(|frame| EventFrame::decode(frame).ok()) {
        let (place, role, text) = match (Body::decode(&event.kind, &event.body), event.by.kind) {
            (Body::AnswerStart(start), _) => {
                starts.insert(start.run, event.offset);
                continue;
            }
            (Body::AnswerEnd(end), _) => {
                (starts.get(&end.run).copied().unwrap_or(event.offset), Role::Assistant, end.text)
            }
            (Body::Message(message), UserKind::Operator) => (event.offset, Role::Operator, message.text),
            (Body::Message(message), _) => (event.offset, Role::User, message.text),
            (Body::CancelRun(_) | Body::Handoff(_) | Body::Unreadable | Body::Other, _) => continue,
        };
        if !text.is_empty() {
            placed.push((place, Turn { role, name: event.by.name.clone(), text }));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    let surplus = placed.len().saturating_sub(CONTEXT);
    placed.into_iter().skip(surplus).map(|(_, turn)| turn).collect()
}
