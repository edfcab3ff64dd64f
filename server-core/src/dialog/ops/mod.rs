//! The kinds of events: a file each, and the list of those that a server knows.
//!
//! To add a kind, add a file like the ones beside this and a line in [`Kinds::standard`]. An
//! application adds one of its own with [`Kinds::with`].

mod answer;
mod cancel_run;
mod handoff;
mod message;

pub(super) use answer::{ended, started};
pub(super) use handoff::hands;

use super::progress::{Effects, Progress};
pub use crate::store::Handing;
use crate::store::Stored;
use std::collections::BTreeMap;
use tidewire_core::wire::json::Object;
use tidewire_core::wire::{RunId, User, codes};

/// A kind of event: reads the bodies of its ops.
pub trait Kind: Send + Sync {
    /// The value of `kind` in its frames.
    fn name(&self) -> &'static str;

    /// Parses a body.
    ///
    /// # Errors
    ///
    /// It is not a body of this kind; the client gets it as a `nack`.
    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused>;
}

/// An op or a committed event whose body was parsed: who may write it, what must hold when it is
/// committed, and what it changes afterwards.
pub trait Op: Send + Sync {
    /// Whether a user who may write in the channel may write this. Any such user may, unless a kind
    /// says otherwise.
    ///
    /// # Errors
    ///
    /// The user may not write it.
    fn authorize(&self, by: &User) -> Result<(), Refused> {
        let _ = by;
        Ok(())
    }

    /// What must hold when it is committed, and what is stored with it. Nothing, unless a kind says
    /// otherwise.
    fn conditions(&self, by: &User) -> Conditions {
        let _ = by;
        Conditions::default()
    }

    /// Changes the dialog's state in memory after the event was committed. Called once for each
    /// event, in the order of the commits, while the dialog is locked. Everything that calls other
    /// code goes into the [`Effects`].
    fn applied(&self, progress: &mut Progress, by: &User, event: &Stored) -> Effects {
        let _ = (progress, by, event);
        Effects::default()
    }
}

/// What the store checks and keeps with an op.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The run that must be under way.
    pub needs_run: Option<RunId>,
    /// Whether the dialog needs an answer from then on, unless an operator has it.
    pub wants_answer: bool,
    /// What it does to who answers in the dialog.
    pub handing: Option<Handing>,
}

/// Why an op is refused: what its `nack` says (protocol section 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Stable code.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Whether the same op may be accepted later.
    pub retryable: bool,
    /// Not before this many ms.
    pub retry_after_ms: Option<u64>,
}

impl Refused {
    /// A refusal for good.
    pub fn new(code: &'static str, message: impl Into<String>) -> Refused {
        Refused { code, message: message.into(), retryable: false, retry_after_ms: None }
    }

    /// A refusal for this many ms.
    pub fn for_now(code: &'static str, message: impl Into<String>, retry_after_ms: u64) -> Refused {
        Refused { retryable: true, retry_after_ms: Some(retry_after_ms), ..Refused::new(code, message) }
    }
}

/// The kinds that a server knows.
pub struct Kinds {
    by_name: BTreeMap<&'static str, Box<dyn Kind>>,
}

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds::standard()
    }
}

impl Kinds {
    /// The kinds of the protocol.
    pub fn standard() -> Kinds {
        let kinds = Kinds { by_name: BTreeMap::new() };
        kinds
            .with(message::Messages)
            .with(cancel_run::Cancellations)
            .with(answer::Starts)
            .with(answer::Ends)
            .with(handoff::HandOffs)
    }

    /// Adds a kind, which replaces one of the same name.
    #[must_use]
    pub fn with(mut self, kind: impl Kind + 'static) -> Kinds {
        self.by_name.insert(kind.name(), Box::new(kind));
        self
    }

    /// Whether the kind is one of these.
    pub fn has(&self, kind: &str) -> bool {
        self.by_name.contains_key(kind)
    }

    /// Parses the body of an op.
    ///
    /// # Errors
    ///
    /// The kind is unknown, or the body is not one of it.
    pub fn parse(&self, kind: &str, body: &str) -> Result<Box<dyn Op>, Refused> {
        let body =
            Object::parse(body).map_err(|_| Refused::new(codes::BAD_BODY, "`body` must be an object"))?;
        match self.by_name.get(kind) {
            Some(kind) => kind.parse(&body),
            None => Err(Refused::new(codes::UNKNOWN_KIND, "this server knows no such kind")),
        }
    }

    /// Parses the body of a committed event. One that can't be parsed changes nothing in the
    /// dialog.
    pub fn read(&self, kind: &str, body: &str) -> Box<dyn Op> {
        self.parse(kind, body).unwrap_or_else(|_| Box::new(Opaque))
    }
}

/// An event that is only sent to subscribers.
struct Opaque;

impl Op for Opaque {}
