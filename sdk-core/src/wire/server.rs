//! Frames from the server, protocol section 4.

use super::client::{Signal, nonce};
use super::event::EventFrame;
use super::handoff::Handler;
use super::json::{Object, Writer, elements, trim};
use super::marks::Marks;
use super::people::People;
use super::user::User;
use super::{ChannelName, DecodeError, Epoch, Offset, OpId, RunId, id};

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// The answer to `hello`.
    Welcome(Welcome),
    /// The answer to `auth`.
    AuthOk {
        /// The token's user.
        user: User,
        /// How long the token is still valid, in ms.
        token_ttl_ms: u64,
    },
    /// A subscription was accepted.
    SubOk(SubOk),
    /// A subscription was refused or ended.
    SubErr {
        /// The channel.
        ch: ChannelName,
        /// The reason.
        problem: Problem,
        /// Whether to subscribe again later.
        retryable: bool,
    },
    /// The answer to `next`.
    Page(Page),
    /// The answer to `prev`.
    Past(Past),
    /// An event.
    Event(EventFrame),
    /// A piece of an answer.
    Piece(Piece),
    /// An ephemeral message to the current subscribers.
    Signal {
        /// The signal.
        signal: Signal,
        /// The author.
        by: User,
    },
    /// Who is in a channel, or what changed.
    People(People),
    /// How far a channel was read, or what changed.
    Marks(Marks),
    /// An op is committed.
    Ok {
        /// The op.
        id: OpId,
        /// The channel.
        ch: ChannelName,
        /// The event's offset.
        offset: Offset,
        /// When it was committed, ms since the Unix epoch.
        at: u64,
        /// Whether it had been committed before.
        dup: bool,
    },
    /// An op is refused.
    Nack {
        /// The op.
        id: OpId,
        /// The reason.
        problem: Problem,
        /// Whether the same op may succeed later.
        retryable: bool,
    },
    /// A ping, to be answered with a pong.
    Ping {
        /// A text that the pong repeats.
        n: String,
    },
    /// The answer to a ping.
    Pong {
        /// The ping's `n`.
        n: String,
    },
    /// The server will close soon.
    Goaway {
        /// The reason.
        reason: String,
        /// When, in ms from now.
        after_ms: u64,
        /// The time over which clients spread their reconnects, in ms.
        spread_ms: u64,
    },
    /// A frame was not valid, or the connection is about to close.
    Error(Problem),
    /// A frame of live tables: its text, for [`super::TableFrame::decode`].
    Table(String),
    /// An event whose offset can't be read, or a piece of an answer that can't be read. The client
    /// has to request a page of the channel.
    Unreadable {
        /// The channel, if it can be read.
        ch: Option<ChannelName>,
    },
    /// A type this version does not know; to be ignored.
    Unknown,
}

/// The server's description of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable code, protocol section 9.
    pub code: String,
    /// A message for people.
    pub message: String,
    /// Earliest retry, in ms from now.
    pub retry_after_ms: Option<u64>,
}

/// The limits of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, in bytes.
    pub message_bytes: u64,
    /// Most subscriptions of a connection.
    pub subscriptions: u64,
    /// Most unanswered ops.
    pub inflight: u64,
    /// Most bytes of unanswered ops.
    pub inflight_bytes: u64,
    /// The budget gains this many ops in `per_ms` ms.
    pub ops: u64,
    /// See `ops`.
    pub per_ms: u64,
    /// Most ops that the budget holds.
    pub burst: u64,
    /// Deepest body, in levels.
    pub body_depth: u64,
}

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// This connection's id.
    pub conn: String,
    /// The token's user.
    pub user: User,
    /// The server's clock, ms since the Unix epoch.
    pub now: u64,
    /// The interval of the server's pings, in ms.
    pub ping_ms: u64,
    /// How much longer than `ping_ms` the connection may be silent, in ms.
    pub grace_ms: u64,
    /// How long the token is still valid, in ms.
    pub token_ttl_ms: u64,
    /// The client's limits.
    pub limits: Limits,
}

/// How a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The events continue from the cursor.
    Resumed,
    /// No cursor was given.
    Fresh,
    /// The server can't resume from the cursor: the client must forget its rows.
    Reset,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Mode::Resumed => "resumed",
            Mode::Fresh => "fresh",
            Mode::Reset => "reset",
        }
    }
}

/// A page: events of a channel in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The channel.
    pub ch: ChannelName,
    /// The offset before the first event.
    pub from: Offset,
    /// The newest committed offset.
    pub head: Offset,
    /// The events, without gaps, from offset `from` + 1 on.
    pub events: Vec<EventFrame>,
    /// Whether there are more events, to be requested with `next`.
    pub more: bool,
    /// Answers under way, with their text so far; only where `more` is false.
    pub runs: Vec<RunText>,
    /// Who answers in the dialog, only where `more` is false; none if it is the model.
    pub handler: Option<Handler>,
}

/// Events before those that a client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The events, up to the one before the requested offset. `more` says whether the log has events
    /// before them; `runs` is empty.
    pub page: Page,
    /// There are no events in this answer, because the server has no time for it: request them
    /// again in this time, in ms.
    pub retry_after_ms: Option<u64>,
}

/// The text so far of an answer under way. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct RunText {
    /// The answer.
    pub run: RunId,
    /// The text so far.
    pub text: String,
}

impl std::fmt::Debug for RunText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunText").field("run", &self.run).field("bytes", &self.text.len()).finish()
    }
}

/// A piece of an answer under way. `Debug` leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece {
    /// The channel.
    pub ch: ChannelName,
    /// The answer.
    pub run: RunId,
    /// The position of the text in the answer, in bytes of UTF-8.
    pub at: u64,
    /// The text.
    pub text: String,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("ch", &self.ch).field("run", &self.run).field("at", &self.at).finish()
    }
}

impl Piece {
    fn read(object: &Object<'_>) -> Result<Piece, DecodeError> {
        Ok(Piece {
            ch: id::channel(object)?,
            run: id::read(object, "run")?,
            at: object.need_u64("at")?,
            text: object.need_text("text")?,
        })
    }

    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        Writer::frame("piece")
            .str("ch", &self.ch)
            .str("run", &self.run)
            .u64("at", self.at)
            .str("text", &self.text)
            .end()
    }
}

/// A subscription was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubOk {
    /// The log's epoch.
    pub epoch: Epoch,
    /// How the subscription starts.
    pub mode: Mode,
    /// Why it was reset: `epoch`, `trimmed` or `ahead`.
    pub reason: Option<String>,
    /// The first page.
    pub page: Page,
}

impl Page {
    /// Writes the members after `ch`; `events` are the encoded frames of [`Page::events`], so a
    /// server can pass shared bytes.
    fn write<'a>(&self, writer: Writer, events: impl Iterator<Item = &'a str>) -> String {
        let runs: Vec<String> = self
            .runs
            .iter()
            .map(|run| Writer::object().str("run", &run.run).str("text", &run.text).end())
            .collect();
        let writer = writer
            .u64("from", self.from.0)
            .u64("head", self.head.0)
            .array("events", events)
            .bool("more", self.more)
            .array("runs", runs.iter().map(String::as_str));
        match &self.handler {
            Some(handler) => writer.with("handler", |writer| handler.write(writer)).end(),
            None => writer.end(),
        }
    }

    /// The `page` frame's JSON text with these already encoded events.
    pub fn encode_with<'a>(&self, events: impl Iterator<Item = &'a str>) -> String {
        self.write(Writer::frame("page").str("ch", &self.ch), events)
    }

    fn read(object: &Object<'_>) -> Result<Page, DecodeError> {
        let (ch, from) = (id::channel(object)?, id::offset(object, "from")?);
        let mut events = Vec::new();
        for event in object.need_array("events")? {
            events.push(EventFrame::read_at(event, &ch, from.plus(1 + events.len() as u64)));
        }
        let mut runs = Vec::new();
        for run in object.opt_array("runs")? {
            let run = Object::parse(run)?;
            runs.push(RunText { run: id::read(&run, "run")?, text: run.need_text("text")? });
        }
        // One that can't be read is no reason to lose the page.
        let handler = object.object("handler").and_then(|handler| Handler::read(&handler).ok());
        let (head, more) = (id::offset(object, "head")?, object.opt_flag("more")?);
        Ok(Page { ch, from, head, events, more, runs, handler })
    }
}

impl Past {
    /// The frame's JSON text with these already encoded events.
    pub fn encode_with<'a>(&self, events: impl Iterator<Item = &'a str>) -> String {
        let writer = Writer::frame("past").str("ch", &self.page.ch);
        self.page.write(writer.opt_u64("retry_after_ms", self.retry_after_ms), events)
    }
}

impl SubOk {
    /// The frame's JSON text with these already encoded events.
    pub fn encode_with<'a>(&self, events: impl Iterator<Item = &'a str>) -> String {
        let writer = Writer::frame("sub_ok")
            .str("ch", &self.page.ch)
            .str("epoch", &self.epoch)
            .str("mode", self.mode.as_str())
            .opt_str("reason", self.reason.as_deref());
        self.page.write(writer, events)
    }
}

impl Problem {
    pub(super) fn write(&self, writer: Writer) -> Writer {
        writer
            .str("code", &self.code)
            .str("message", &self.message)
            .opt_u64("retry_after_ms", self.retry_after_ms)
    }

    pub(super) fn read(object: &Object<'_>) -> Result<Problem, DecodeError> {
        Ok(Problem {
            code: object.need_text("code")?,
            message: object.opt_text("message")?.unwrap_or_default(),
            retry_after_ms: object.opt_u64("retry_after_ms")?,
        })
    }
}

impl Limits {
    fn encode(&self) -> String {
        Writer::object()
            .u64("message_bytes", self.message_bytes)
            .u64("subscriptions", self.subscriptions)
            .u64("inflight", self.inflight)
            .u64("inflight_bytes", self.inflight_bytes)
            .u64("ops", self.ops)
            .u64("per_ms", self.per_ms)
            .u64("burst", self.burst)
            .u64("body_depth", self.body_depth)
            .end()
    }

    fn read(object: &Object<'_>) -> Result<Limits, DecodeError> {
        Ok(Limits {
            message_bytes: object.need_u64("message_bytes")?,
            subscriptions: object.need_u64("subscriptions")?,
            inflight: object.need_u64("inflight")?,
            inflight_bytes: object.need_u64("inflight_bytes")?,
            ops: object.need_u64("ops")?,
            per_ms: object.need_u64("per_ms")?,
            burst: object.need_u64("burst")?,
            body_depth: object.opt_u64("body_depth")?.unwrap_or(super::MAX_BODY_DEPTH as u64),
        })
    }
}

impl ServerFrame {
    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        match self {
            ServerFrame::Welcome(welcome) => Writer::frame("welcome")
                .str("conn", &welcome.conn)
                .with("user", |writer| welcome.user.write(writer))
                .u64("now", welcome.now)
                .u64("ping_ms", welcome.ping_ms)
                .u64("grace_ms", welcome.grace_ms)
                .u64("token_ttl_ms", welcome.token_ttl_ms)
                .raw("limits", &welcome.limits.encode())
                .end(),
            ServerFrame::AuthOk { user, token_ttl_ms } => Writer::frame("auth_ok")
                .with("user", |writer| user.write(writer))
                .u64("token_ttl_ms", *token_ttl_ms)
                .end(),
            ServerFrame::SubOk(sub) => {
                let events: Vec<String> = sub.page.events.iter().map(EventFrame::encode).collect();
                sub.encode_with(events.iter().map(String::as_str))
            }
            ServerFrame::SubErr { ch, problem, retryable } => {
                problem.write(Writer::frame("sub_err").str("ch", ch)).bool("retryable", *retryable).end()
            }
            ServerFrame::Page(page) => {
                let events: Vec<String> = page.events.iter().map(EventFrame::encode).collect();
                page.encode_with(events.iter().map(String::as_str))
            }
            ServerFrame::Past(past) => {
                let events: Vec<String> = past.page.events.iter().map(EventFrame::encode).collect();
                past.encode_with(events.iter().map(String::as_str))
            }
            ServerFrame::Event(event) => event.encode(),
            ServerFrame::Piece(piece) => piece.encode(),
            ServerFrame::Signal { signal, by } => {
                signal.write(Writer::frame("signal")).with("by", |writer| by.write(writer)).end()
            }
            ServerFrame::People(people) => people.encode(),
            ServerFrame::Marks(marks) => marks.encode(),
            ServerFrame::Ok { id, ch, offset, at, dup } => {
                let writer =
                    Writer::frame("ok").str("id", id).str("ch", ch).u64("offset", offset.0).u64("at", *at);
                if *dup { writer.bool("dup", true).end() } else { writer.end() }
            }
            ServerFrame::Nack { id, problem, retryable } => {
                problem.write(Writer::frame("nack").str("id", id)).bool("retryable", *retryable).end()
            }
            ServerFrame::Ping { n } => Writer::frame("ping").str("n", n).end(),
            ServerFrame::Pong { n } => Writer::frame("pong").str("n", n).end(),
            ServerFrame::Goaway { reason, after_ms, spread_ms } => Writer::frame("goaway")
                .str("reason", reason)
                .u64("after_ms", *after_ms)
                .u64("spread_ms", *spread_ms)
                .end(),
            ServerFrame::Error(problem) => problem.write(Writer::frame("error")).end(),
            ServerFrame::Table(text) => text.clone(),
            ServerFrame::Unreadable { .. } | ServerFrame::Unknown => Writer::frame("unknown").end(),
        }
    }

    fn decode(text: &str) -> Result<ServerFrame, DecodeError> {
        let object = Object::parse(text)?;
        Ok(match object.need_str("t")?.as_ref() {
            "welcome" => ServerFrame::Welcome(Welcome {
                conn: object.need_text("conn")?,
                user: id::user(&object, "user")?,
                now: object.need_u64("now")?,
                ping_ms: object.need_u64("ping_ms")?,
                grace_ms: object.need_u64("grace_ms")?,
                token_ttl_ms: object.need_u64("token_ttl_ms")?,
                limits: Limits::read(&object.need_object("limits")?)?,
            }),
            "auth_ok" => ServerFrame::AuthOk {
                user: id::user(&object, "user")?,
                token_ttl_ms: object.need_u64("token_ttl_ms")?,
            },
            "sub_ok" => ServerFrame::SubOk(SubOk {
                epoch: id::read(&object, "epoch")?,
                mode: match object.need_text("mode")?.as_str() {
                    "resumed" => Mode::Resumed,
                    "fresh" => Mode::Fresh,
                    "reset" => Mode::Reset,
                    _ => return Err(DecodeError::Member("mode")),
                },
                reason: object.opt_text("reason")?,
                page: Page::read(&object)?,
            }),
            "sub_err" => ServerFrame::SubErr {
                ch: id::channel(&object)?,
                problem: Problem::read(&object)?,
                retryable: object.opt_flag("retryable")?,
            },
            "page" => ServerFrame::Page(Page::read(&object)?),
            "past" => ServerFrame::Past(Past {
                page: Page::read(&object)?,
                retry_after_ms: object.opt_u64("retry_after_ms")?,
            }),
            // These frames carry data of other people. One that can't be read is no reason to end
            // the connection.
            "event" => match EventFrame::read(&object, text) {
                Ok(event) => ServerFrame::Event(event),
                Err(_) => match (id::channel(&object).ok(), object.u64("offset")) {
                    (Some(ch), Some(offset)) => {
                        ServerFrame::Event(EventFrame::unreadable(&ch, Offset(offset)))
                    }
                    (ch, _) => ServerFrame::Unreadable { ch },
                },
            },
            "piece" => match Piece::read(&object) {
                Ok(piece) => ServerFrame::Piece(piece),
                Err(_) => ServerFrame::Unreadable { ch: id::channel(&object).ok() },
            },
            "signal" => match (Signal::read(&object), id::user(&object, "by")) {
                (Ok(signal), Ok(by)) => ServerFrame::Signal { signal, by },
                _ => ServerFrame::Unknown,
            },
            "people" => match (People::read(&object), id::channel(&object)) {
                (Ok(people), _) => ServerFrame::People(people),
                // Without it nobody knows who is there.
                (Err(_), Ok(ch)) => ServerFrame::People(People {
                    refused: Some(super::codes::PROTOCOL.to_owned()),
                    ..People::new(ch, 0, 0)
                }),
                _ => ServerFrame::Unknown,
            },
            "marks" => match (Marks::read(&object), id::channel(&object)) {
                (Ok(marks), _) => ServerFrame::Marks(marks),
                (Err(_), Ok(ch)) => {
                    let refused = Some(super::codes::PROTOCOL.to_owned());
                    ServerFrame::Marks(Marks { refused, ..Marks::new(ch) })
                }
                _ => ServerFrame::Unknown,
            },
            "ok" => ServerFrame::Ok {
                id: id::read(&object, "id")?,
                ch: id::channel(&object)?,
                offset: id::offset(&object, "offset")?,
                at: object.need_u64("at")?,
                dup: object.opt_flag("dup")?,
            },
            "nack" => ServerFrame::Nack {
                id: id::read(&object, "id")?,
                problem: Problem::read(&object)?,
                retryable: object.opt_flag("retryable")?,
            },
            "ping" => ServerFrame::Ping { n: nonce(&object)? },
            "pong" => ServerFrame::Pong { n: nonce(&object)? },
            "goaway" => ServerFrame::Goaway {
                reason: object.need_text("reason")?,
                after_ms: object.need_u64("after_ms")?,
                spread_ms: object.need_u64("spread_ms")?,
            },
            "error" => ServerFrame::Error(Problem::read(&object)?),
            t if t.starts_with("tbl.") => ServerFrame::Table(text.to_owned()),
            _ => ServerFrame::Unknown,
        })
    }
}

/// Decodes a message from the server into its frames.
pub fn decode_server_message(message: &str) -> Result<Vec<ServerFrame>, DecodeError> {
    // The depth is not checked here: the limit is for what a server accepts. Splitting an object or
    // an array reads all of it, so invalid JSON is found.
    let message = trim(message);
    let texts = if message.starts_with('[') { elements(message)? } else { vec![message] };
    let mut frames = Vec::new();
    for text in texts {
        frames.push(ServerFrame::decode(text)?);
    }
    Ok(frames)
}
