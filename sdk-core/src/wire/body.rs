//! The bodies that this version of the protocol defines (protocol sections 3 and 4): a type for each
//! kind.
//!
//! Bodies travel as raw JSON; [`Body`] is the parsed form. Unknown kinds, and bodies that are not
//! valid for their kind, are kept as they came.

use super::RunId;
use super::event::UNREADABLE;
use super::handoff::{Handler, Step};
use super::json::{Object, Writer};
use super::user::User;

/// The body of an event or op, by its kind. `Debug` leaves texts out.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// A participant's message.
    Message(Message),
    /// A request to stop an answer.
    CancelRun(CancelRun),
    /// An answer begins.
    AnswerStart(AnswerStart),
    /// An answer ends.
    AnswerEnd(AnswerEnd),
    /// Who answers in the dialog changes.
    Handoff(Step),
    /// A body that is not valid for its kind, or an event that the server itself could not read.
    Unreadable,
    /// Any other kind: of an application, or of a later version.
    Other,
}

impl Body {
    /// Reads a body.
    pub fn decode(kind: &str, raw: &str) -> Body {
        let body = Object::parse(raw).ok();
        let body = body.as_ref();
        let read = match kind {
            Message::KIND => body.and_then(Message::decode).map(Body::Message),
            CancelRun::KIND => body.and_then(CancelRun::decode).map(Body::CancelRun),
            AnswerStart::KIND => body.and_then(AnswerStart::decode).map(Body::AnswerStart),
            AnswerEnd::KIND => body.and_then(AnswerEnd::decode).map(Body::AnswerEnd),
            Step::KIND => body.and_then(Step::decode).map(Body::Handoff),
            UNREADABLE => None,
            _ => Some(Body::Other),
        };
        read.unwrap_or(Body::Unreadable)
    }
}

impl Body {
    /// Who answers in a dialog after an event with this body, of this author and time; none if it is
    /// still the same.
    pub fn handler_after(&self, before: &Handler, by: &User, at: u64) -> Option<Handler> {
        match self {
            Body::Message(_) => before.after_message(by, at),
            Body::Handoff(step) => before.after(by, step, at).ok(),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Body::Message(_) => Message::KIND,
            Body::CancelRun(_) => CancelRun::KIND,
            Body::AnswerStart(_) => AnswerStart::KIND,
            Body::AnswerEnd(_) => AnswerEnd::KIND,
            Body::Handoff(_) => Step::KIND,
            Body::Unreadable => UNREADABLE,
            Body::Other => "other",
        })
    }
}

/// A required member that is a text and not empty.
fn present(body: &Object<'_>, name: &str) -> Option<String> {
    body.text(name).filter(|text| !text.is_empty())
}

/// `message`: a participant's message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The text.
    pub text: String,
}

impl Message {
    /// The kind.
    pub const KIND: &str = "message";

    /// Reads the body; none if its text is missing.
    pub fn decode(body: &Object<'_>) -> Option<Message> {
        Some(Message { text: present(body, "text")? })
    }

    /// Reads the body's JSON text.
    pub fn of(raw: &str) -> Option<Message> {
        Message::decode(&Object::parse(raw).ok()?)
    }
}

/// `run.cancel`: a request to stop an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRun {
    /// The answer.
    pub run: RunId,
}

impl CancelRun {
    /// The kind.
    pub const KIND: &str = "run.cancel";

    /// Reads the body; none if the answer's id is missing.
    pub fn decode(body: &Object<'_>) -> Option<CancelRun> {
        Some(CancelRun { run: RunId::from(body.text("run")?) })
    }
}

/// `answer.start`: an answer begins.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerStart {
    /// The answer.
    pub run: RunId,
}

impl AnswerStart {
    /// The kind.
    pub const KIND: &str = "answer.start";

    /// Reads the body; none if the answer's id is missing.
    pub fn decode(body: &Object<'_>) -> Option<AnswerStart> {
        Some(AnswerStart { run: RunId::from(present(body, "run")?) })
    }

    /// The body.
    pub fn encode(&self) -> String {
        Writer::object().str("run", &self.run).end()
    }
}

/// `answer.end`: an answer ends.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerEnd {
    /// The answer.
    pub run: RunId,
    /// `done`, `stopped`, `interrupted` or `error`.
    pub status: String,
    /// The whole text.
    pub text: String,
    /// Why it failed, if it did.
    pub code: Option<String>,
}

impl AnswerEnd {
    /// The kind.
    pub const KIND: &str = "answer.end";

    /// Reads the body; none if the answer's id is missing. Other missing members are empty.
    pub fn decode(body: &Object<'_>) -> Option<AnswerEnd> {
        Some(AnswerEnd {
            run: RunId::from(present(body, "run")?),
            status: body.text("status").unwrap_or_default(),
            text: body.text("text").unwrap_or_default(),
            code: body.text("code"),
        })
    }

    /// The body.
    pub fn encode(&self) -> String {
        Writer::object()
            .str("run", &self.run)
            .str("status", &self.status)
            .str("text", &self.text)
            .opt_str("code", self.code.as_deref())
            .end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_and_what_is_not_one_is_kept_as_it_came() {
        let end = AnswerEnd {
            run: RunId::from("r"),
            status: "error".to_owned(),
            text: "a \"b\"".to_owned(),
            code: Some("model_cut".to_owned()),
        };
        assert_eq!(Body::decode("answer.end", &end.encode()), Body::AnswerEnd(end));
        let start = AnswerStart { run: RunId::from("r") };
        assert_eq!(Body::decode("answer.start", &start.encode()), Body::AnswerStart(start));
        let text = Message { text: "x".to_owned() };
        assert_eq!(Body::decode("message", r#"{"more":1,"text":"x"}"#), Body::Message(text));
        for (kind, raw) in [
            ("message", r#"{"text":1}"#),
            ("message", "[]"),
            ("message", "{"),
            ("run.cancel", "{}"),
            ("answer.start", r#"{"run":null}"#),
            ("answer.end", r#"{"text":"x"}"#),
            ("message", r#"{"text":""}"#),
            ("handoff", r#"{"step":"dance"}"#),
            ("handoff", r#"{"step":"transfer","to":{"id":"","name":"Eve"}}"#),
            (UNREADABLE, "{}"),
        ] {
            assert_eq!(Body::decode(kind, raw), Body::Unreadable, "{kind} {raw}");
        }
        for (kind, raw) in [("poll.vote", r#"{"text":"x"}"#), ("poll.vote", "{"), ("", "")] {
            assert_eq!(Body::decode(kind, raw), Body::Other, "{kind} {raw}");
        }
    }

    #[test]
    fn debug_shows_no_text() {
        let body = Body::decode("message", r#"{"text":"a secret"}"#);
        assert_eq!(format!("{body:?}"), "message");
    }
}
