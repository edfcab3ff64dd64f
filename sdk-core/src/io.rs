//! The inputs that a driver feeds to the core, and the outputs that it drains. Effects are values;
//! the driver carries them out.

use crate::event::Event;
use crate::time::Time;
use crate::wire::{ChannelName, Epoch, Offset, OpId, codes};
use std::convert::Infallible;

/// One attempt at a transport. Reports about an attempt that is over are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId(pub u64);

/// How bytes reach the server, best first (protocol sections 1 and 11). The frames are the same on
/// each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// Requests to the server; one response from it that never ends.
    Stream,
    /// Requests to the server; responses that the server delays until it has something to send.
    LongPoll,
    /// Requests to the server; a request for news every 3 s.
    Poll,
}

impl Transport {
    /// All of them, best first.
    pub const ALL: [Transport; 4] =
        [Transport::WebSocket, Transport::Stream, Transport::LongPoll, Transport::Poll];

    /// The name in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Stream => "stream",
            Transport::LongPoll => "long_poll",
            Transport::Poll => "poll",
        }
    }

    /// Parses the name.
    pub fn parse(word: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.as_str() == word)
    }
}

/// One plain request of a connection that has no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// One request for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenAsk(pub u64);

/// One change of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub u64);

/// A part of a response: the status, then pieces of the body, then the end. A failure may come at
/// any time and is the last part.
#[derive(Clone, Copy)]
pub enum ResponsePart<'a> {
    /// The response begins, with this HTTP status. Redirects must not be followed, because the
    /// request's headers are secret.
    Status(u16),
    /// The next bytes of the body, cut anywhere.
    Body(&'a [u8]),
    /// The body is complete.
    End,
    /// The server was not reached, or the response broke off. With a code as in [`Input::Closed`],
    /// where the driver knows one.
    Failed(Option<&'a str>),
}

/// An input: something that happened outside of the core. `Debug` shows no token and no text.
pub enum Input<'a> {
    /// The socket is open.
    Opened {
        /// Which attempt.
        conn: ConnId,
    },
    /// A text message arrived.
    Received {
        /// Which attempt.
        conn: ConnId,
        /// The message.
        text: &'a str,
    },
    /// The socket is closed, or could not be opened.
    Closed {
        /// Which attempt.
        conn: ConnId,
        /// The close code; 1006 where there is none.
        code: u16,
        /// What the driver knows about why it could not connect: a stable code, such as `refused`,
        /// `dns`, `tls` or `http_404`.
        cause: Option<&'a str>,
    },
    /// A part of the response to [`Output::Request`] came.
    Response {
        /// To which request.
        request: RequestId,
        /// The part.
        part: ResponsePart<'a>,
    },
    /// The application's token provider answered.
    Token {
        /// Which request.
        ask: TokenAsk,
        /// The token, or why there is none.
        result: Result<String, TokenError>,
    },
    /// The store carried out a change, or could not.
    Stored {
        /// Which change.
        store: StoreId,
        /// How it went.
        result: Result<(), StoreError>,
    },
    /// The system says something about the network. Hints only: they may be wrong.
    Network(Network),
    /// The system says something about the page or app.
    Lifecycle(Lifecycle),
}

/// Why the token provider failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    /// Stable code, which becomes the status's cause.
    pub code: String,
    /// A message for people; may be empty.
    pub message: String,
    /// Whether asking again is pointless. The client then makes no connection until the application
    /// calls `connect`.
    pub terminal: bool,
    /// Earliest next attempt, in ms from now.
    pub retry_after_ms: Option<u64>,
}

impl TokenError {
    /// This user may not connect.
    pub fn unauthorized(message: impl Into<String>) -> TokenError {
        TokenError { terminal: true, ..TokenError::new(codes::UNAUTHORIZED, message) }
    }

    /// A temporary failure.
    pub fn unavailable(message: impl Into<String>) -> TokenError {
        TokenError::new(codes::TOKEN_UNAVAILABLE, message)
    }

    /// A temporary failure with a code of the provider's.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> TokenError {
        TokenError { code: code.into(), message: message.into(), terminal: false, retry_after_ms: None }
    }
}

/// Why the store could not carry out a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// No space left, or the quota is used up.
    Full,
    /// Any other failure: access denied, or the store is broken or missing.
    Unavailable,
}

impl StoreError {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            StoreError::Full => codes::STORAGE_FULL,
            StoreError::Unavailable => codes::STORAGE_UNAVAILABLE,
        }
    }
}

/// What the system says about the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The device is online.
    Online,
    /// The device is offline.
    Offline,
    /// The device changed to another network.
    Changed,
}

/// What the system says about the page or app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Visible again.
    Shown,
    /// No longer visible.
    Hidden,
    /// About to be frozen, put into the back/forward cache, or suspended in the background.
    Frozen,
    /// Resumed, or the machine woke up.
    Resumed,
}

/// An output: what to do next. [`Output::Wait`] comes only when nothing else is left. `E` is as in
/// [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<E = Infallible> {
    /// Open a WebSocket. While a connection is handed over, the one before stays open until the
    /// core closes it: two at most.
    Open {
        /// The attempt's name in every report about it.
        conn: ConnId,
    },
    /// Send a text message.
    Transmit {
        /// On which attempt.
        conn: ConnId,
        /// The message; it may hold a token, so don't log it.
        message: Message,
    },
    /// Close the transport and forget it at once: the core counts it as gone and wants no report.
    Close {
        /// Which attempt.
        conn: ConnId,
        /// With which close code: 1000, or from 4000 on.
        code: u16,
    },
    /// Make an HTTP request and report the parts of its response as [`Input::Response`]. All
    /// transports but the WebSocket consist of such requests.
    Request(Request),
    /// Abort a request. Nothing more of it is to be reported.
    Abort {
        /// Which request.
        request: RequestId,
    },
    /// Ask the application for a token.
    FetchToken {
        /// The request's name in the answer.
        ask: TokenAsk,
        /// Whether the last token was refused or is about to expire, so that a cached one is of no
        /// use.
        renew: bool,
    },
    /// Change the store. Changes must be carried out in their order, each whole or not at all.
    Store {
        /// The change's name in the report.
        store: StoreId,
        /// What to change.
        change: StoreChange,
    },
    /// Pass this event to the application.
    Event(Event<E>),
    /// Nothing is left to do: wait until this time, or until an input or a command.
    Wait {
        /// Later than now; `None` while closed.
        until: Option<Time>,
        /// The name of the timer, for logs.
        why: &'static str,
    },
}

/// A plain request to the server. `Debug` shows neither headers nor body, which are secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The connection that it belongs to: its requests may share sockets.
    pub conn: ConnId,
    /// Its name in the reports.
    pub id: RequestId,
    /// The HTTP method.
    pub method: Method,
    /// Path and query, below the path of the server.
    pub path: &'static str,
    /// Names and values, ready to be sent.
    pub headers: Vec<(&'static str, String)>,
    /// JSON to send.
    pub body: Option<String>,
    /// Whether the request must be sent even if the page is being closed.
    pub keepalive: bool,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (conn, id, method) = (self.conn.0, self.id.0, self.method.as_str());
        write!(f, "Request {id} of {conn}: {method} {}", self.path)
    }
}

/// The method of a [`Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a body or without.
    Post,
}

impl Method {
    /// The name in HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// A text message to send. `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(pub String);

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

/// A change of the store. Records and events are opaque JSON texts, to be stored unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChange {
    /// Store this op, replacing one with the same id.
    PutOp {
        /// The op's id.
        id: OpId,
        /// What to give back in [`Restored::ops`].
        record: Message,
    },
    /// Delete this op.
    DeleteOp {
        /// The op's id.
        id: OpId,
    },
    /// In one transaction: add these events to the channel, set its cursor, and delete its events
    /// below an offset.
    PutEvents {
        /// The channel.
        channel: ChannelName,
        /// The log's epoch.
        epoch: Epoch,
        /// The new cursor: the last offset applied.
        cursor: Offset,
        /// Offsets and event texts, in order; may be empty.
        events: Vec<(Offset, Message)>,
        /// The texts so far of the answers under way, replacing those stored before: what to give
        /// back in [`RestoredChannel::runs`].
        runs: Message,
        /// Events with a lower offset may be deleted.
        trim_below: Offset,
    },
    /// Delete the channel's events, cursor and answers under way.
    ClearChannel {
        /// The channel.
        channel: ChannelName,
    },
    /// Store a record of a table's rows, replacing one with the same name.
    PutTable {
        /// The record's name.
        name: String,
        /// What to give back in [`Restored::tables`].
        record: Message,
    },
    /// Delete the record of a table's rows with this name.
    ClearTable {
        /// The record's name.
        name: String,
    },
    /// Store this profile, replacing the one before.
    PutProfile {
        /// What to give back in [`Restored::profile`].
        record: Message,
    },
}

/// What the store held when the client started. The default is an empty store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The last profile.
    pub profile: Option<String>,
    /// The records of the stored ops, in any order.
    pub ops: Vec<String>,
    /// The channels with a cursor.
    pub channels: Vec<RestoredChannel>,
    /// Names and records of tables' rows, in any order.
    pub tables: Vec<(String, String)>,
}

/// A channel as the store held it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredChannel {
    /// The channel.
    pub channel: String,
    /// The log's epoch.
    pub epoch: String,
    /// The cursor.
    pub cursor: u64,
    /// The stored events, in the order of their offsets.
    pub events: Vec<String>,
    /// The texts of answers that were under way; empty if none were stored.
    pub runs: String,
}
