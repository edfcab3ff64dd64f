//! Frames from the client, protocol section 3.

use super::json::{Object, Writer, is_well_formed};
use super::{
    ChannelName, DEFAULT_TAIL, DecodeError, Epoch, LeaseRequest, MAX_DEPTH, MAX_TAIL, Offset, OpId,
    TableRequest, frames, id,
};

/// A frame from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first frame.
    Hello {
        /// Protocol version.
        v: u64,
        /// The credential; `None` if it is the cookie that came with the connection.
        token: Option<Secret>,
        /// The id of this installation.
        client: String,
        /// The id of this run of the client. It tells the client's older connections from those of
        /// other clients.
        session: Option<String>,
        /// The library's name and version, for the server's logs.
        agent: Option<String>,
        /// The first subscriptions.
        subs: Vec<Subscription>,
    },
    /// A newer token for the same user.
    Auth {
        /// The credential.
        token: Secret,
    },
    /// Subscribe to a channel.
    Sub(Subscription),
    /// End a subscription.
    Unsub {
        /// The channel.
        ch: ChannelName,
    },
    /// The next page of a channel.
    Next {
        /// The channel.
        ch: ChannelName,
        /// The offset of the last event applied.
        from: Offset,
    },
    /// The events before those that the client has.
    Prev {
        /// The channel.
        ch: ChannelName,
        /// The offset of the client's first event.
        before: Offset,
        /// Maximum number of events.
        most: u64,
    },
    /// An op, which becomes one event.
    Op(Op),
    /// An ephemeral message to the current subscribers: not stored, not acknowledged.
    Signal(Signal),
    /// Tell who is in a channel, from now on.
    Watch {
        /// The channel.
        ch: ChannelName,
    },
    /// Don't tell it any more.
    Unwatch {
        /// The channel.
        ch: ChannelName,
    },
    /// Hold a lease, or give it up.
    Lease(LeaseRequest),
    /// The user has read a channel up to an event.
    Mark {
        /// The channel.
        ch: ChannelName,
        /// The event's offset.
        offset: Offset,
    },
    /// Tell how far a channel was read, from now on.
    Marks {
        /// The channel.
        ch: ChannelName,
    },
    /// A ping; the answer is a pong.
    Ping {
        /// A text that the pong repeats.
        n: String,
    },
    /// The answer to a ping.
    Pong {
        /// The ping's `n`.
        n: String,
    },
    /// A request about live tables.
    Table(TableRequest),
    /// The client ends its session.
    Bye,
    /// A type this version does not know; to be ignored.
    Unknown,
}

/// A token. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A position in a channel: the last event applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The log's epoch.
    pub epoch: Epoch,
    /// The last offset applied; 0 before the first event.
    pub offset: Offset,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The client's cursor, if it was subscribed before.
    pub cursor: Option<Cursor>,
    /// How many of the newest events to send if there is no usable cursor.
    pub tail: u64,
}

/// One entry of `hello.subs`, or a `sub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The channel.
    pub ch: ChannelName,
    /// Where to start.
    pub want: Want,
}

/// An `op` frame. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct Op {
    /// The id, which the client made.
    pub id: OpId,
    /// The channel.
    pub ch: ChannelName,
    /// The kind of the op and its event.
    pub kind: String,
    /// Raw JSON text of an object.
    pub body: String,
    /// The op that must be committed before this one.
    pub after: Option<OpId>,
}

/// A signal: typing, a cursor, a presence. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct Signal {
    /// The channel.
    pub ch: ChannelName,
    /// The kind.
    pub kind: String,
    /// A newer signal of the same kind and key replaces this one.
    pub key: Option<String>,
    /// Raw JSON text of an object.
    pub body: String,
}

impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signal").field("ch", &self.ch).field("kind", &self.kind).finish()
    }
}

impl Signal {
    /// Writes the members of the frame.
    pub(super) fn write(&self, writer: Writer) -> Writer {
        writer
            .str("ch", &self.ch)
            .str("kind", &self.kind)
            .opt_str("key", self.key.as_deref())
            .raw("body", &self.body)
    }

    pub(super) fn read(object: &Object<'_>) -> Result<Signal, DecodeError> {
        Ok(Signal {
            ch: id::channel(object)?,
            kind: object.need_text("kind")?,
            key: object.opt_text("key")?,
            body: body(object)?,
        })
    }
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Op").field("id", &self.id).field("ch", &self.ch).field("kind", &self.kind).finish()
    }
}

impl Subscription {
    /// The members as a JSON object, without `t`.
    fn write(&self, writer: Writer) -> Writer {
        let writer = writer.str("ch", &self.ch);
        let writer = match &self.want.cursor {
            Some(cursor) => writer.str("epoch", &cursor.epoch).u64("offset", cursor.offset.0),
            None => writer,
        };
        writer.u64("tail", self.want.tail)
    }

    fn read(object: &Object<'_>) -> Result<Subscription, DecodeError> {
        let cursor = match (object.opt("epoch"), object.opt("offset")) {
            (None, None) => None,
            _ => Some(Cursor { epoch: id::read(object, "epoch")?, offset: id::offset(object, "offset")? }),
        };
        let tail = object.opt_u64("tail")?.unwrap_or(DEFAULT_TAIL).min(MAX_TAIL);
        Ok(Subscription { ch: id::channel(object)?, want: Want { cursor, tail } })
    }
}

impl Op {
    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        Writer::frame("op")
            .str("id", &self.id)
            .str("ch", &self.ch)
            .str("kind", &self.kind)
            .raw("body", &self.body)
            .opt_str("after", self.after.as_deref())
            .end()
    }
}

impl ClientFrame {
    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        match self {
            ClientFrame::Hello { v, token, client, session, agent, subs } => Writer::frame("hello")
                .u64("v", *v)
                .opt_str("token", token.as_ref().map(|token| token.0.as_str()))
                .str("client", client)
                .opt_str("session", session.as_deref())
                .opt_str("agent", agent.as_deref())
                .each("subs", subs, |writer, sub| sub.write(writer.begin()).close())
                .end(),
            ClientFrame::Auth { token } => Writer::frame("auth").str("token", &token.0).end(),
            ClientFrame::Sub(sub) => sub.write(Writer::frame("sub")).end(),
            ClientFrame::Unsub { ch } => Writer::frame("unsub").str("ch", ch).end(),
            ClientFrame::Next { ch, from } => Writer::frame("next").str("ch", ch).u64("from", from.0).end(),
            ClientFrame::Prev { ch, before, most } => {
                Writer::frame("prev").str("ch", ch).u64("before", before.0).u64("most", *most).end()
            }
            ClientFrame::Op(op) => op.encode(),
            ClientFrame::Signal(signal) => signal.write(Writer::frame("signal")).end(),
            ClientFrame::Watch { ch } => Writer::frame("watch").str("ch", ch).end(),
            ClientFrame::Unwatch { ch } => Writer::frame("unwatch").str("ch", ch).end(),
            ClientFrame::Lease(lease) => lease.encode(),
            ClientFrame::Mark { ch, offset } => {
                Writer::frame("mark").str("ch", ch).u64("offset", offset.0).end()
            }
            ClientFrame::Marks { ch } => Writer::frame("marks").str("ch", ch).end(),
            ClientFrame::Ping { n } => Writer::frame("ping").str("n", n).end(),
            ClientFrame::Pong { n } => Writer::frame("pong").str("n", n).end(),
            ClientFrame::Table(request) => request.encode(),
            ClientFrame::Bye | ClientFrame::Unknown => Writer::frame("bye").end(),
        }
    }

    fn decode(text: &str) -> Result<ClientFrame, DecodeError> {
        let object = Object::parse(text)?;
        let t = object.need_str("t")?;
        Ok(match t.as_ref() {
            "hello" => {
                let mut subs = Vec::new();
                for sub in object.opt_array("subs")? {
                    subs.push(Subscription::read(&Object::parse(sub)?)?);
                }
                ClientFrame::Hello {
                    v: object.need_u64("v")?,
                    token: object.opt_text("token")?.map(Secret),
                    client: object.need_text("client")?,
                    session: object.opt_text("session")?,
                    agent: object.opt_text("agent")?.map(|agent| agent.chars().take(64).collect()),
                    subs,
                }
            }
            "auth" => ClientFrame::Auth { token: object.need_text("token").map(Secret)? },
            "sub" => ClientFrame::Sub(Subscription::read(&object)?),
            "unsub" => ClientFrame::Unsub { ch: id::channel(&object)? },
            "next" => ClientFrame::Next { ch: id::channel(&object)?, from: id::offset(&object, "from")? },
            "prev" => ClientFrame::Prev {
                ch: id::channel(&object)?,
                before: id::offset(&object, "before")?,
                most: object.opt_u64("most")?.unwrap_or(DEFAULT_TAIL),
            },
            "op" => ClientFrame::Op(Op {
                id: id::read(&object, "id")?,
                ch: id::channel(&object)?,
                kind: object.need_text("kind")?,
                body: body(&object)?,
                after: object.opt_text("after")?.map(OpId::from),
            }),
            "signal" => ClientFrame::Signal(Signal::read(&object)?),
            "watch" => ClientFrame::Watch { ch: id::channel(&object)? },
            "unwatch" => ClientFrame::Unwatch { ch: id::channel(&object)? },
            "lease" => ClientFrame::Lease(LeaseRequest::read(&object)?),
            "mark" => ClientFrame::Mark { ch: id::channel(&object)?, offset: id::offset(&object, "offset")? },
            "marks" => ClientFrame::Marks { ch: id::channel(&object)? },
            "ping" => ClientFrame::Ping { n: nonce(&object)? },
            "pong" => ClientFrame::Pong { n: nonce(&object)? },
            "bye" => ClientFrame::Bye,
            t => match TableRequest::read(t, &object)? {
                Some(request) => ClientFrame::Table(request),
                None => ClientFrame::Unknown,
            },
        })
    }
}

/// Decodes a message from a client into its frames.
pub fn decode_client_message(message: &str) -> Result<Vec<ClientFrame>, DecodeError> {
    frames(message, MAX_DEPTH)?.into_iter().map(ClientFrame::decode).collect()
}

pub(super) fn body(object: &Object<'_>) -> Result<String, DecodeError> {
    let body = object.raw("body").filter(|body| body.starts_with('{'));
    body.map(str::to_owned).ok_or(DecodeError::Member("body"))
}

pub(super) fn nonce(object: &Object<'_>) -> Result<String, DecodeError> {
    let n = object.need_text("n")?;
    // A text with an unpaired surrogate has no UTF-8 form, so it could not be repeated unchanged.
    let repeatable = object.raw("n").is_some_and(is_well_formed);
    // Counts characters by their first bytes.
    let length = n.bytes().filter(|byte| byte & 0xC0 != 0x80).count();
    if repeatable && length <= super::MAX_NONCE { Ok(n) } else { Err(DecodeError::Member("n")) }
}
