//! The protocol's types and codec: what `docs/protocol.md` specifies, and nothing else of this
//! crate.
//!
//! Both sides use it: a client encodes [`ClientFrame`]s and decodes [`ServerFrame`]s, a server the
//! other way round. Bodies stay raw JSON text from end to end, so the order of keys and big numbers
//! are preserved.

mod body;
mod client;
pub mod codes;
mod event;
mod handoff;
mod id;
pub mod json;
mod marks;
mod people;
mod server;
mod tables;
mod user;

pub use body::{AnswerEnd, AnswerStart, Body, CancelRun, Message};
pub use client::{ClientFrame, Cursor, Op, Secret, Signal, Subscription, Want, decode_client_message};
pub use event::{EventFrame, UNREADABLE};
pub use handoff::{Conflict, Handler, Step};
pub use id::{ChannelName, Epoch, Offset, OpId, RunId};
pub use marks::{MAX_RECEIPTS, Marks, Receipt, UNREAD_SCAN, Unread, counts_as_unread};
pub use people::{
    HERE, Lease, LeaseRequest, MAX_LEASE_BODY, MAX_LEASE_KIND, MAX_LEASE_MS, People, Person, TYPING,
};
pub use server::{
    Limits, Mode, Page, Past, Piece, Problem, RunText, ServerFrame, SubOk, Welcome, decode_server_message,
};

pub use tables::{
    MAX_TABLE_COLUMNS, MAX_TABLE_CURSOR, MAX_TABLE_ID, MAX_TABLE_NAME, RowOp, TableAddress, TableChange,
    TableColumn, TableFrame, TableLink, TableOk, TablePage, TableRequest, TableShape, TableSub, TableTx,
    Transaction,
};
use thiserror::Error;
pub use user::{Profile, User, UserKind};

/// The protocol version that `hello.v` carries.
pub const VERSION: u64 = 1;
/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "tidewire.v1";
/// Deepest nesting of a message's JSON, in levels.
pub const MAX_DEPTH: usize = 32;
/// Deepest nesting of a value from an application, in levels: a body, a signal's body, a cell of a
/// table. Frames add at most 8 levels, so an accepted value fits every frame.
pub const MAX_BODY_DEPTH: usize = 24;
/// Greatest length of a channel name, in bytes.
pub const MAX_CHANNEL: usize = 128;
/// Greatest length of a message's text, in bytes.
pub const MAX_TEXT: usize = 16_384;
/// Greatest length of a guest's nickname, in characters, without white space around it.
pub const MAX_NICKNAME: usize = 40;
/// Greatest length of a token, in bytes. A `hello` with such a token and all subscriptions fits a
/// message.
pub const MAX_TOKEN: usize = 16_384;
/// Greatest length of the `n` of a ping, in characters.
pub const MAX_NONCE: usize = 64;
/// Greatest length of an op's kind, in bytes.
pub const MAX_KIND: usize = 64;
/// Greatest length of a signal's kind and key, in bytes.
pub const MAX_SIGNAL_NAME: usize = 64;
/// Greatest length of a signal's body, in bytes.
pub const MAX_SIGNAL_BODY: usize = 1_024;
/// Most events in a page.
pub const PAGE_EVENTS: usize = 256;
/// Most bytes of events in a page. A page always has at least one event.
pub const PAGE_BYTES: usize = 262_144;
/// The default of `tail`: how many of the newest events a subscription without a cursor starts
/// with.
pub const DEFAULT_TAIL: u64 = 50;
/// Greatest `tail`.
pub const MAX_TAIL: u64 = 1_000;
/// The prefix of the names of dialogs' channels.
pub const DIALOG_PREFIX: &str = "dialog:";

/// Why a message could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or not an object (or array of objects) with a string `t`.
    #[error("not a frame: expected a JSON object with a string member `t`, at byte {at}")]
    Syntax {
        /// Approximate position of the error in the message, in bytes.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than 32 levels")]
    TooDeep,
    /// A member is missing, or has a wrong type or value.
    #[error("member `{0}` is missing or invalid")]
    Member(&'static str),
}

impl DecodeError {
    /// The stable code (protocol section 9).
    pub fn code(&self) -> &'static str {
        match self {
            DecodeError::TooDeep => codes::TOO_DEEP,
            DecodeError::Syntax { .. } | DecodeError::Member(_) => codes::BAD_FRAME,
        }
    }
}

/// A guest's nickname without the white space around it; none if it is not valid (protocol section
/// 7).
pub fn nickname(text: &str) -> Option<&str> {
    let text = text.trim();
    let fits = (1..=MAX_NICKNAME).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

/// Whether `id` has the form of a UUID in lower or upper case.
pub fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Splits a message into the raw texts of its frames: one object, or an array of them.
fn frames(message: &str, levels: usize) -> Result<Vec<&str>, DecodeError> {
    let text = json::validate_within(message, levels)?;
    if text.starts_with('[') { json::elements(text) } else { Ok(vec![text]) }
}
