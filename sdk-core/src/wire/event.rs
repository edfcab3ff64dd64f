//! An event's frame, protocol section 4.

use super::json::{Object, Writer};
use super::user::{User, UserKind};
use super::{ChannelName, DecodeError, Offset, OpId, id, json};

/// An event. `raw` is the JSON text of the whole frame, the same bytes for all subscribers.
#[derive(Clone, PartialEq, Eq)]
pub struct EventFrame {
    /// The channel.
    pub ch: ChannelName,
    /// The offset in the channel, without gaps.
    pub offset: Offset,
    /// The op's id; for events that the server wrote itself, an id of the server's.
    pub id: OpId,
    /// The kind.
    pub kind: String,
    /// When it was committed, ms since the Unix epoch.
    pub at: u64,
    /// The author.
    pub by: User,
    /// The raw JSON text of the body, an object.
    pub body: String,
    /// The frame as it was received; empty if the event was built to be encoded.
    pub raw: String,
}

impl std::fmt::Debug for EventFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventFrame")
            .field("ch", &self.ch)
            .field("offset", &self.offset)
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish()
    }
}

/// The kind of an event that can't be read. A client shows a row without text for it.
pub const UNREADABLE: &str = "unreadable";

impl EventFrame {
    /// A stand-in for an event of which only channel and offset are known.
    pub fn unreadable(ch: &ChannelName, offset: Offset) -> EventFrame {
        let mut id = String::from(UNREADABLE);
        id.push(':');
        json::push_integer(&mut id, offset.0);
        let mut event = EventFrame {
            ch: ch.clone(),
            offset,
            id: OpId::from(id),
            kind: UNREADABLE.to_owned(),
            at: 0,
            by: User { id: String::new(), name: String::new(), kind: UserKind::System, profile: None },
            body: String::from("{}"),
            raw: String::new(),
        };
        event.raw = event.encode();
        event
    }

    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        Writer::frame("event")
            .str("ch", &self.ch)
            .u64("offset", self.offset.0)
            .str("id", &self.id)
            .str("kind", &self.kind)
            .u64("at", self.at)
            .with("by", |writer| self.by.write(writer))
            .raw("body", &self.body)
            .end()
    }

    /// Reads one event frame; `text` must be valid JSON.
    pub fn decode(text: &str) -> Result<EventFrame, DecodeError> {
        EventFrame::read(&Object::parse(text)?, text)
    }

    pub(super) fn read(object: &Object<'_>, text: &str) -> Result<EventFrame, DecodeError> {
        Ok(EventFrame {
            ch: id::channel(object)?,
            offset: id::offset(object, "offset")?,
            id: id::read(object, "id")?,
            kind: object.need_text("kind")?,
            at: object.need_u64("at")?,
            by: id::user(object, "by")?,
            body: super::client::body(object)?,
            raw: text.to_owned(),
        })
    }

    /// Reads an event whose offset is known. If it can't be read, returns a stand-in with this
    /// offset.
    pub(super) fn read_at(text: &str, ch: &ChannelName, expected: Offset) -> EventFrame {
        let object = Object::parse(text).ok();
        let offset = object.as_ref().and_then(|object| object.u64("offset")).map_or(expected, Offset);
        let read = object.and_then(|object| EventFrame::read(&object, text).ok());
        read.unwrap_or_else(|| EventFrame::unreadable(ch, offset))
    }
}
