//! What a driver feeds the core and what it drains from it. Effects are values; the driver carries
//! them out.

use crate::event::Event;
use crate::time::Time;
use crate::wire::codes;
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
    /// Requests up, one response that never ends down.
    Stream,
    /// Requests up, a response that waits for something to say down.
    LongPoll,
    /// Requests up, and every 3 s a question down.
    Poll,
}

impl Transport {
    /// All of them, best first.
    pub const ALL: [Transport; 4] =
        [Transport::WebSocket, Transport::Stream, Transport::LongPoll, Transport::Poll];

    /// The word that every binding uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Stream => "stream",
            Transport::LongPoll => "long_poll",
            Transport::Poll => "poll",
        }
    }

    /// Reads the word.
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

/// What comes of a request: a status, pieces of the body, the end. A failure may come at any time
/// and is the last part.
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

/// What happened outside. `Debug` shows no token and no text.
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

/// Why the application's provider, or the server's endpoint for guests, gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    /// Stable code, which becomes the status's cause.
    pub code: String,
    /// For people; empty if there is nothing to say.
    pub message: String,
    /// Whether asking again is pointless: the client then dials nothing until the application says
    /// so.
    pub terminal: bool,
    /// Not before this many ms.
    pub retry_after_ms: Option<u64>,
}

impl TokenError {
    /// This user may not connect.
    pub fn unauthorized(message: impl Into<String>) -> TokenError {
        TokenError { terminal: true, ..TokenError::new(codes::UNAUTHORIZED, message) }
    }

    /// It did not work this time.
    pub fn unavailable(message: impl Into<String>) -> TokenError {
        TokenError::new(codes::TOKEN_UNAVAILABLE, message)
    }

    /// It did not work this time, for a reason with a code of its own.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> TokenError {
        TokenError { code: code.into(), message: message.into(), terminal: false, retry_after_ms: None }
    }
}

/// Why the store could not carry out a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// No space left, or the quota is used up.
    Full,
    /// Anything else: denied, broken, gone.
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
    /// There is one.
    Online,
    /// There is none.
    Offline,
    /// It is another one than before.
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
    /// Back from that, or the machine woke up.
    Resumed,
}

/// What to do next. [`Output::Wait`] comes only when nothing else is left. `E` is as in [`Event`].
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
    /// Make a plain request, and report what comes of it as [`Input::Response`]. The other
    /// transports of [`crate::Config::transports`] consist of these.
    Request(Request),
    /// Give a request up; nothing more of it is wanted.
    Abort {
        /// Which request.
        request: RequestId,
    },
    /// Ask the application for a token.
    FetchToken {
        /// The request's name in the answer.
        ask: TokenAsk,
        /// Whether the last token was refused or runs out, so that a cached one won't do.
        renew: bool,
    },
    /// Change the store. Changes must be carried out in their order, each whole or not at all.
    Store {
        /// The change's name in the report.
        store: StoreId,
        /// What to change.
        change: StoreChange,
    },
    /// Tell the application.
    Event(Event<E>),
    /// Nothing left to do: sleep until then, or until an input or a command.
    Wait {
        /// Later than now; `None` while closed.
        until: Option<Time>,
        /// Which timer asks for it, for logs.
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
    /// How it asks.
    pub method: Method,
    /// Path and query, below the path of the server.
    pub path: &'static str,
    /// Names and values, ready to be sent.
    pub headers: Vec<(&'static str, String)>,
    /// JSON to send.
    pub body: Option<String>,
    /// Whether it must go out even if the page that makes it is being left.
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
    /// As HTTP writes it.
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

/// A change of the store. Records and events are opaque JSON texts; a driver keeps them as they
/// are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChange {
    /// Keep this op, replacing one with the same id.
    PutOp {
        /// The op's id.
        id: String,
        /// What to give back in [`Restored::ops`].
        record: Message,
    },
    /// Forget this op.
    DeleteOp {
        /// The op's id.
        id: String,
    },
    /// In one transaction: add these events to the channel, set its cursor, and forget its events
    /// below an offset.
    PutEvents {
        /// The channel.
        channel: String,
        /// The log's life.
        epoch: String,
        /// The new cursor: the last offset applied.
        cursor: u64,
        /// Offsets and event texts, in order; may be empty.
        events: Vec<(u64, Message)>,
        /// What answers under way have said so far, in the place of what was kept before: what to
        /// give back in [`RestoredChannel::runs`].
        runs: Message,
        /// Events with a lower offset may go.
        trim_below: u64,
    },
    /// Forget the channel's events, cursor and answers under way.
    ClearChannel {
        /// The channel.
        channel: String,
    },
    /// Keep what is known of a table's rows, replacing a record with the same name.
    PutTable {
        /// The record's name.
        name: String,
        /// What to give back in [`Restored::tables`].
        record: Message,
    },
    /// Forget the record of a table's rows with this name.
    ClearTable {
        /// The record's name.
        name: String,
    },
    /// Keep this profile, replacing the one before.
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
    /// The records of the ops kept, in any order.
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
    /// The log's life.
    pub epoch: String,
    /// The cursor.
    pub cursor: u64,
    /// The events kept, in the order of their offsets.
    pub events: Vec<String>,
    /// What answers under way had said; empty if nothing was kept.
    pub runs: String,
}
