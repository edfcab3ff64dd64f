//! Who is in a channel, and what they are doing, protocol sections 3 and 4.

use super::json::{Object, Writer};
use super::user::{User, UserKind};
use super::{ChannelName, DecodeError, client, id};

/// The kind of the lease that a user has while a connection of theirs is subscribed.
pub const HERE: &str = "here";
/// The kind of the lease of somebody who is writing a message. Their next message ends it.
pub const TYPING: &str = "typing";
/// Greatest length of a lease's kind, in bytes.
pub const MAX_LEASE_KIND: usize = 64;
/// Greatest length of a lease's body, in bytes.
pub const MAX_LEASE_BODY: usize = 1_024;
/// Longest time that a lease may be asked for, in ms.
pub const MAX_LEASE_MS: u64 = 3_600_000;

/// A request to hold a lease in a channel, to renew it, or to give it up. `Debug` leaves the body
/// out.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The channel.
    pub ch: ChannelName,
    /// The kind.
    pub kind: String,
    /// Raw JSON text of an object; none to give the lease up.
    pub body: Option<String>,
    /// How long it lasts without being renewed, in ms; none for as long as the connection.
    pub for_ms: Option<u64>,
    /// How long ago it was said first, in ms, if it is said again.
    pub age_ms: Option<u64>,
}

impl std::fmt::Debug for LeaseRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = self.body.is_some();
        f.debug_struct("LeaseRequest")
            .field("ch", &self.ch)
            .field("kind", &self.kind)
            .field("held", &held)
            .finish()
    }
}

/// What a user is or does in a channel at the moment. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease {
    /// The kind: `here`, `typing`, or one of the application's.
    pub kind: String,
    /// Raw JSON text of an object.
    pub body: String,
    /// Since when they hold it, ms since the Unix epoch by the server's clock.
    pub since: u64,
    /// Whether it ends by itself, unless it is renewed.
    pub brief: bool,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("kind", &self.kind).field("since", &self.since).finish()
    }
}

/// A user in a channel, with what they are or do there: at least one lease, sorted by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user: User,
    /// Their leases.
    pub leases: Vec<Lease>,
}

impl Person {
    /// Their lease of this kind.
    pub fn lease(&self, kind: &str) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.kind == kind)
    }
}

/// Who is in a channel, or what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People {
    /// The channel.
    pub ch: ChannelName,
    /// The number of the frame, one more than that of the one before. A list has that of the last
    /// frame whose changes are in it.
    pub n: u64,
    /// How many users are there: those with a lease of the kind [`HERE`].
    pub count: u64,
    /// Whether the list begins anew with this frame.
    pub full: bool,
    /// Whether the list goes on in the next frame.
    pub more: bool,
    /// The server does not yet know everybody who was there before it started: those whom a client
    /// knows may still be there for this long, in ms.
    pub settle_ms: Option<u64>,
    /// Whether there are too many to be listed: there is only the count.
    pub crowded: bool,
    /// Why there is neither list nor count: a stable code.
    pub refused: Option<String>,
    /// Those who came or changed.
    pub people: Vec<Person>,
    /// Those who are gone.
    pub gone: Vec<(UserKind, String)>,
}

impl LeaseRequest {
    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        let writer = Writer::frame("lease").str("ch", &self.ch).str("kind", &self.kind);
        let writer = match &self.body {
            Some(body) => writer.raw("body", body),
            None => writer,
        };
        writer.opt_u64("for_ms", self.for_ms).opt_u64("age_ms", self.age_ms).end()
    }

    pub(super) fn read(object: &Object<'_>) -> Result<LeaseRequest, DecodeError> {
        Ok(LeaseRequest {
            ch: id::channel(object)?,
            kind: object.need_text("kind")?,
            body: object.opt("body").map(|_| client::body(object)).transpose()?,
            for_ms: object.opt_u64("for_ms")?,
            age_ms: object.opt_u64("age_ms")?,
        })
    }
}

impl Person {
    /// The JSON text of an object.
    pub fn encode(&self) -> String {
        Writer::object()
            .with("user", |writer| self.user.write(writer))
            .each("leases", &self.leases, |writer, lease| lease.write(writer))
            .end()
    }

    fn read(object: &Object<'_>) -> Result<Person, DecodeError> {
        let mut leases = Vec::new();
        for lease in object.need_array("leases")? {
            leases.push(Lease::read(&Object::parse(lease)?)?);
        }
        Ok(Person { user: id::user(object, "user")?, leases })
    }
}

impl Lease {
    fn write(&self, writer: Writer) -> Writer {
        let writer = writer.begin().str("kind", &self.kind).u64("since", self.since);
        let writer = if self.brief { writer.bool("brief", true) } else { writer };
        let writer = if self.body == "{}" { writer } else { writer.raw("body", &self.body) };
        writer.close()
    }

    fn read(object: &Object<'_>) -> Result<Lease, DecodeError> {
        let body = object.opt("body").map(|_| client::body(object)).transpose()?;
        Ok(Lease {
            kind: object.need_text("kind")?,
            body: body.unwrap_or_else(|| "{}".to_owned()),
            since: object.need_u64("since")?,
            brief: object.opt_flag("brief")?,
        })
    }
}

impl People {
    /// A frame in which nobody came, changed or went.
    pub fn new(ch: ChannelName, n: u64, count: u64) -> People {
        People {
            ch,
            n,
            count,
            full: false,
            more: false,
            settle_ms: None,
            crowded: false,
            refused: None,
            people: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// The frame's JSON text with these already encoded people.
    pub fn encode_with<'a>(&self, people: impl Iterator<Item = &'a str>) -> String {
        let flag = |writer: Writer, name, is: bool| if is { writer.bool(name, true) } else { writer };
        let writer = Writer::frame("people").str("ch", &self.ch).u64("n", self.n).u64("count", self.count);
        let writer = flag(writer, "full", self.full);
        let writer = flag(writer, "more", self.more).opt_u64("settle_ms", self.settle_ms);
        let writer = flag(writer, "crowded", self.crowded).opt_str("refused", self.refused.as_deref());
        writer
            .array("people", people)
            .each("gone", &self.gone, |writer, (kind, id)| {
                writer.begin().str("kind", kind.as_str()).str("id", id).close()
            })
            .end()
    }

    pub(super) fn encode(&self) -> String {
        let people: Vec<String> = self.people.iter().map(Person::encode).collect();
        self.encode_with(people.iter().map(String::as_str))
    }

    pub(super) fn read(object: &Object<'_>) -> Result<People, DecodeError> {
        let (n, count) = (object.need_u64("n")?, object.need_u64("count")?);
        let mut frame = People::new(id::channel(object)?, n, count);
        frame.full = object.opt_flag("full")?;
        frame.more = object.opt_flag("more")?;
        frame.settle_ms = object.opt_u64("settle_ms")?;
        frame.crowded = object.opt_flag("crowded")?;
        frame.refused = object.opt_text("refused")?;
        for person in object.opt_array("people")? {
            frame.people.push(Person::read(&Object::parse(person)?)?);
        }
        for gone in object.opt_array("gone")? {
            let gone = Object::parse(gone)?;
            frame.gone.push((UserKind::parse(&gone.need_str("kind")?), gone.need_text("id")?));
        }
        Ok(frame)
    }
}
