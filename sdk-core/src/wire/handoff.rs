//! Hand-off: who answers in a dialog, the model or an operator (protocol section 3, `handoff`).
//!
//! This is the whole state machine. The server commits only the steps that it allows, and a client
//! that applies the same events comes to the same state.

use super::DecodeError;
use super::json::{Object, Writer};
use super::user::{User, UserKind};

/// Who answers in a dialog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Handler {
    /// The model.
    #[default]
    Ai,
    /// Still the model; somebody asked for an operator.
    Queued {
        /// When they asked, ms since the Unix epoch.
        since: u64,
    },
    /// This operator. The model is silent.
    Operator {
        /// The operator.
        user: User,
        /// Since when, ms since the Unix epoch.
        since: u64,
    },
    /// Nobody: the dialog is closed. A visitor's next message opens it again.
    Closed {
        /// Since when, ms since the Unix epoch.
        since: u64,
    },
}

/// A step from one handler to the next: the body of an event of the kind [`Step::KIND`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A person is asked for.
    Request,
    /// The author, an operator, takes the dialog.
    Take {
        /// The id of the operator from whom it is taken, if one has it.
        from: Option<String>,
    },
    /// The operator who has the dialog gives it to another one.
    Transfer {
        /// The other operator's id.
        id: String,
        /// Their name.
        name: String,
    },
    /// The model has the dialog again: the operator gives it back, or nobody is asked for any more.
    Release {
        /// Only if this operator has it.
        from: Option<String>,
    },
    /// The dialog ends.
    Close,
}

/// A step that the state of the dialog does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict(pub &'static str);

/// Greatest length of an operator's id and name in a [`Step::Transfer`], in bytes.
const MAX_NAME: usize = 256;

impl Step {
    /// The kind of its events.
    pub const KIND: &str = "handoff";

    /// Reads a body; none if it is not valid.
    pub fn decode(body: &Object<'_>) -> Option<Step> {
        Some(match body.str("step")?.as_ref() {
            "request" => Step::Request,
            "take" => Step::Take { from: body.text("from") },
            "transfer" => {
                let to = body.object("to")?;
                let (id, name) = (to.text("id")?, to.text("name")?);
                if id.is_empty() || name.is_empty() || id.len() > MAX_NAME || name.len() > MAX_NAME {
                    return None;
                }
                Step::Transfer { id, name }
            }
            "release" => Step::Release { from: body.text("from") },
            "close" => Step::Close,
            _ => return None,
        })
    }

    /// The body.
    pub fn encode(&self) -> String {
        let step = |word| Writer::object().str("step", word);
        match self {
            Step::Request => step("request").end(),
            Step::Take { from } => step("take").opt_str("from", from.as_deref()).end(),
            Step::Transfer { id, name } => step("transfer")
                .with("to", |writer| writer.begin().str("id", id).str("name", name).close())
                .end(),
            Step::Release { from } => step("release").opt_str("from", from.as_deref()).end(),
            Step::Close => step("close").end(),
        }
    }

    /// Whether somebody of this kind may take the step at all, in some state.
    pub fn is_for(&self, kind: UserKind) -> bool {
        match self {
            Step::Request | Step::Release { .. } => true,
            Step::Take { .. } => kind == UserKind::Operator,
            Step::Transfer { .. } | Step::Close => is_staff(kind),
        }
    }
}

impl Handler {
    /// The handler after a step of this user's at this time, ms since the Unix epoch.
    ///
    /// # Errors
    ///
    /// The step is not possible now.
    pub fn after(&self, by: &User, step: &Step, at: u64) -> Result<Handler, Conflict> {
        let is_mine = self.is(&by.id) || matches!(by.kind, UserKind::Service | UserKind::System);
        match (step, self) {
            (Step::Request, Handler::Ai | Handler::Closed { .. }) => Ok(Handler::Queued { since: at }),
            (Step::Request, Handler::Queued { .. }) => Err(Conflict("an operator was asked for already")),
            (Step::Request, Handler::Operator { .. }) => Err(Conflict("an operator has the dialog")),
            (Step::Take { from }, Handler::Operator { user, .. }) if from.as_deref() != Some(&*user.id) => {
                Err(Conflict("an operator has the dialog; to take it from them, name them in `from`"))
            }
            (Step::Take { .. }, _) => Ok(Handler::Operator { user: by.clone(), since: at }),
            (Step::Transfer { id, name }, _) if is_mine => {
                let user =
                    User { id: id.clone(), name: name.clone(), kind: UserKind::Operator, profile: None };
                Ok(Handler::Operator { user, since: at })
            }
            (Step::Transfer { .. }, _) => Err(Conflict("only the operator who has the dialog transfers it")),
            (Step::Release { from: Some(from) }, handler) if !handler.is(from) => {
                Err(Conflict("this operator does not have the dialog"))
            }
            (Step::Release { .. }, Handler::Queued { .. }) => Ok(Handler::Ai),
            (Step::Release { .. }, Handler::Operator { .. }) if is_mine => Ok(Handler::Ai),
            (Step::Release { .. }, Handler::Operator { .. }) => {
                Err(Conflict("only the operator who has the dialog releases it"))
            }
            (Step::Release { .. }, _) => Err(Conflict("no operator has the dialog, and none was asked for")),
            (Step::Close, Handler::Closed { .. }) => Err(Conflict("the dialog is closed already")),
            (Step::Close, Handler::Operator { .. }) if !is_mine => {
                Err(Conflict("only the operator who has the dialog closes it"))
            }
            (Step::Close, _) => Ok(Handler::Closed { since: at }),
        }
    }

    /// The handler after a message of this user's, if it is another one: an operator who writes where
    /// the model answers takes the dialog, and a visitor who writes in a closed one opens it.
    pub fn after_message(&self, by: &User, at: u64) -> Option<Handler> {
        match (by.kind, self) {
            (UserKind::Operator, Handler::Operator { .. }) => None,
            (UserKind::Operator, _) => Some(Handler::Operator { user: by.clone(), since: at }),
            (UserKind::Guest | UserKind::User, Handler::Closed { .. }) => Some(Handler::Ai),
            _ => None,
        }
    }

    /// Whether the model may write.
    pub fn is_ai(&self) -> bool {
        !matches!(self, Handler::Operator { .. })
    }

    /// Whether this operator has the dialog.
    fn is(&self, id: &str) -> bool {
        matches!(self, Handler::Operator { user, .. } if user.id == id)
    }

    /// The name in every language.
    pub fn as_str(&self) -> &'static str {
        match self {
            Handler::Ai => "ai",
            Handler::Queued { .. } => "queued",
            Handler::Operator { .. } => "operator",
            Handler::Closed { .. } => "closed",
        }
    }

    /// Writes an object of `state`, `since` and `user`.
    pub fn write(&self, writer: Writer) -> Writer {
        let writer = writer.begin().str("state", self.as_str());
        match self {
            Handler::Ai => writer,
            Handler::Queued { since } | Handler::Closed { since } => writer.u64("since", *since),
            Handler::Operator { user, since } => {
                writer.u64("since", *since).with("user", |writer| user.write(writer))
            }
        }
        .close()
    }

    /// Reads an object of `state`, `since` and `user`. A state that this version does not know
    /// counts as the model's.
    pub fn read(object: &Object<'_>) -> Result<Handler, DecodeError> {
        let since = || object.need_u64("since");
        Ok(match object.need_str("state")?.as_ref() {
            "queued" => Handler::Queued { since: since()? },
            "operator" => {
                Handler::Operator { user: User::read(&object.need_object("user")?)?, since: since()? }
            }
            "closed" => Handler::Closed { since: since()? },
            _ => Handler::Ai,
        })
    }
}

/// Whether somebody of this kind works for the application.
fn is_staff(kind: UserKind) -> bool {
    matches!(kind, UserKind::Operator | UserKind::Service | UserKind::System)
}
