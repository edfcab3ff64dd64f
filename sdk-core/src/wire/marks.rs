//! How far users have read a channel, protocol sections 3 and 4.

use super::body::{AnswerEnd, CancelRun};
use super::handoff::Step;
use super::json::{Object, Writer};
use super::user::User;
use super::{ChannelName, DecodeError, Offset, id};

/// The positions of others are told in channels in which no more users than this have one.
pub const MAX_RECEIPTS: usize = 50;
/// Only so many of the newest events are looked at to count what is unread.
pub const UNREAD_SCAN: u64 = 1_000;

/// Whether an event of this kind counts as unread for those who did not write it. Events that only
/// change something shown before don't.
pub fn counts_as_unread(kind: &str) -> bool {
    !matches!(kind, AnswerEnd::KIND | CancelRun::KIND | Step::KIND)
}

/// How far somebody has read: they have seen every event up to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The reader.
    pub user: User,
    /// The offset of the newest event that they have read.
    pub offset: Offset,
    /// When they said so, ms since the Unix epoch by the server's clock.
    pub at: u64,
}

/// What the client's own user has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// How many events.
    pub count: u64,
    /// Whether there may be older ones that were not counted.
    pub more: bool,
    /// Events after this offset are not counted.
    pub head: Offset,
}

/// How far the client's user and others have read a channel, or what changed. A position never goes
/// back, so frames may come in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The channel.
    pub ch: ChannelName,
    /// The position of the client's own user, once it is stored; none if it did not change.
    pub offset: Option<Offset>,
    /// What is after that position; only in the answer to `marks`.
    pub unread: Option<Unread>,
    /// The positions of others that changed; all of them in the answer to `marks`.
    pub users: Vec<Receipt>,
    /// Whether more users have positions than are told: nobody's are known.
    pub crowded: bool,
    /// Why a position was not stored, or can't be told: a stable code.
    pub refused: Option<String>,
    /// When the same may be tried again, in ms; none if it never will be accepted.
    pub retry_after_ms: Option<u64>,
}

impl Receipt {
    /// Writes an object of `user`, `offset`, `at`.
    pub fn write(&self, writer: Writer) -> Writer {
        writer
            .begin()
            .with("user", |writer| self.user.write(writer))
            .u64("offset", self.offset.0)
            .u64("at", self.at)
            .close()
    }

    fn read(object: &Object<'_>) -> Result<Receipt, DecodeError> {
        Ok(Receipt {
            user: id::user(object, "user")?,
            offset: id::offset(object, "offset")?,
            at: object.need_u64("at")?,
        })
    }
}

impl Marks {
    /// A frame that tells nothing.
    pub fn new(ch: ChannelName) -> Marks {
        Marks {
            ch,
            offset: None,
            unread: None,
            users: Vec::new(),
            crowded: false,
            refused: None,
            retry_after_ms: None,
        }
    }

    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        let flag = |writer: Writer, name, is: bool| if is { writer.bool(name, true) } else { writer };
        let writer = Writer::frame("marks").str("ch", &self.ch);
        let writer = writer.opt_u64("offset", self.offset.map(|offset| offset.0));
        let writer = match &self.unread {
            Some(unread) => {
                let writer = writer.u64("unread", unread.count).u64("head", unread.head.0);
                flag(writer, "more", unread.more)
            }
            None => writer,
        };
        let writer = writer.each("users", &self.users, |writer, receipt| receipt.write(writer));
        flag(writer, "crowded", self.crowded)
            .opt_str("refused", self.refused.as_deref())
            .opt_u64("retry_after_ms", self.retry_after_ms)
            .end()
    }

    pub(super) fn read(object: &Object<'_>) -> Result<Marks, DecodeError> {
        let mut frame = Marks::new(id::channel(object)?);
        frame.offset = object.opt("offset").map(|_| id::offset(object, "offset")).transpose()?;
        if let Some(count) = object.opt_u64("unread")? {
            let (head, more) = (id::offset(object, "head")?, object.opt_flag("more")?);
            frame.unread = Some(Unread { count, more, head });
        }
        for receipt in object.opt_array("users")? {
            // One that can't be read is no reason to lose one's own position.
            frame.users.extend(Object::parse(receipt).and_then(|receipt| Receipt::read(&receipt)));
        }
        frame.crowded = object.opt_flag("crowded")?;
        frame.refused = object.opt_text("refused")?;
        frame.retry_after_ms = object.opt_u64("retry_after_ms")?;
        Ok(frame)
    }
}
