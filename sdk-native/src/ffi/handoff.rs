//! Hand-off: who answers in a dialog.

use super::numbers::large;
use super::user::User;
use tidewire_core::wire::{Handler as CoreHandler, Step};

/// Who answers in a dialog. Times are ms since the Unix epoch by the server's clock.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum Handler {
    /// The model.
    Ai,
    /// Still the model; somebody asked for an operator.
    Queued { since_ms: i64 },
    /// This operator. The model is silent.
    Operator { user: User, since_ms: i64 },
    /// Nobody: the dialog is closed. A visitor's next message opens it again.
    Closed { since_ms: i64 },
}

/// A step of a hand-off.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
#[uniffi::export(Debug, Display, Eq)]
pub enum HandOffStep {
    /// An operator is asked for.
    Request,
    /// This operator takes the dialog; `from` names the one who has it, if one does.
    Take { from: Option<String> },
    /// The operator who has the dialog gives it to another one.
    Transfer { id: String, name: String },
    /// The model has the dialog again; with `from` only if this operator has it.
    Release { from: Option<String> },
    /// The dialog ends.
    Close,
}

impl From<CoreHandler> for Handler {
    fn from(handler: CoreHandler) -> Handler {
        match handler {
            CoreHandler::Ai => Handler::Ai,
            CoreHandler::Queued { since } => Handler::Queued { since_ms: large(since) },
            CoreHandler::Operator { user, since } => {
                Handler::Operator { user: user.into(), since_ms: large(since) }
            }
            CoreHandler::Closed { since } => Handler::Closed { since_ms: large(since) },
        }
    }
}

impl From<HandOffStep> for Step {
    fn from(step: HandOffStep) -> Step {
        match step {
            HandOffStep::Request => Step::Request,
            HandOffStep::Take { from } => Step::Take { from },
            HandOffStep::Transfer { id, name } => Step::Transfer { id, name },
            HandOffStep::Release { from } => Step::Release { from },
            HandOffStep::Close => Step::Close,
        }
    }
}
