//! An event as it stands in the log, and what its body says.

use tidewire_core::wire::json::{Object, validate};
use tidewire_core::wire::{Body, EventFrame, Handler, User, UserKind};

/// A committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) offset: u64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) by: User,
    pub(crate) at: u64,
    pub(crate) body: String,
}

impl Logged {
    /// Reads an `event` frame; none if it is not one.
    pub(super) fn read(frame: &str) -> Option<Logged> {
        let event = EventFrame::decode(frame).ok()?;
        Some(Logged {
            offset: event.offset.0,
            id: event.id.into(),
            kind: event.kind,
            by: event.by,
            at: event.at,
            body: event.body,
        })
    }

    /// Who answers after it, if that is another one than before.
    pub(crate) fn handler_after(&self, before: &Handler) -> Option<Handler> {
        Body::decode(&self.kind, &self.body).handler_after(before, &self.by, self.at)
    }

    /// Whether it is a step of a hand-off that is not possible after this handler.
    pub(crate) fn is_impossible_after(&self, before: &Handler) -> bool {
        match Body::decode(&self.kind, &self.body) {
            Body::Handoff(step) => before.after(&self.by, &step, self.at).is_err(),
            _ => false,
        }
    }

    /// Whether an operator wrote it.
    pub(crate) fn is_operators(&self) -> bool {
        self.by.kind == UserKind::Operator
    }

    /// The run that the body names; empty if it names none.
    pub(crate) fn run(&self) -> String {
        self.member("run")
    }

    /// The body's text; empty if it has none.
    pub(crate) fn text(&self) -> String {
        self.member("text")
    }

    fn member(&self, name: &str) -> String {
        let Ok(valid) = validate(&self.body) else { return String::new() };
        Object::parse(valid)
            .ok()
            .and_then(|object| object.str(name).map(|text| text.into_owned()))
            .unwrap_or_default()
    }
}
