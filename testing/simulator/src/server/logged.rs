//! An event as it stands in the log, and what its body says.

use tidewire_core::wire::EventFrame;
use tidewire_core::wire::json::{Object, validate};

/// A committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) offset: u64,
    pub(crate) id: String,
    pub(crate) kind: String,
    /// The author's id.
    pub(crate) by: String,
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
            by: event.by.id,
            body: event.body,
        })
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
