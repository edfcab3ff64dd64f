//! What a history consists of.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

type Text<'a> = Cow<'a, str>;

/// One thing that happened. As JSON it is an object whose member `e` names the variant in snake
/// case.
///
/// An `id` is the op's id, or any other name that is the op's alone in the whole history (a test
/// that kills clients uses the message's text, which it knows before the client has made an id).
///
/// Events of one client or observer must be in the order in which they happened; between clients
/// only
/// [`Restored`](Event::Restored) depends on the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // The members are the protocol's; the variants say what is special about one.
pub enum Event<'a> {
    /// The application of `client` queued an op. Ops of one client, channel and lane keep their
    /// order.
    Send {
        client: Text<'a>,
        ch: Text<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lane: Option<Text<'a>>,
        id: Text<'a>,
    },
    /// The application was told that the op is committed at `offset`.
    Ack { client: Text<'a>, ch: Text<'a>, id: Text<'a>, offset: u64 },
    /// The application was told that the op is rejected for good.
    Fail { client: Text<'a>, ch: Text<'a>, id: Text<'a>, code: Text<'a> },
    /// The application asked to send a rejected op again, in its old place.
    Retry { client: Text<'a>, id: Text<'a> },
    /// The application gave the op up. It may be in the log all the same.
    Discard { client: Text<'a>, id: Text<'a> },
    /// `client` says that nothing waits in its outbox: what was neither rejected nor given up must
    /// be in the log.
    Drained { client: Text<'a> },
    /// `observer` took the event at `offset` for the next one.
    Apply { observer: Text<'a>, ch: Text<'a>, epoch: Text<'a>, offset: u64, id: Text<'a> },
    /// `observer` was told that its view begins anew: the next event is `from` + 1. Without a first
    /// one it begins at 1.
    Reset { observer: Text<'a>, ch: Text<'a>, epoch: Text<'a>, from: u64, reason: Text<'a> },
    /// `observer` must have everything up to the end of the log.
    CaughtUp { observer: Text<'a>, ch: Text<'a> },
    /// The server made this event of its own accord.
    Server { id: Text<'a> },
    /// The server made every event whose id begins with `prefix`.
    ServerPrefix { prefix: Text<'a> },
    /// The server's log, read when all was over.
    Log { ch: Text<'a>, epoch: Text<'a>, offset: u64, id: Text<'a> },
    /// Retention removed the log's events up to and including `to`.
    Trimmed { ch: Text<'a>, epoch: Text<'a>, to: u64 },
    /// The channel's database was replaced by an older one: acknowledgements before this promise
    /// nothing any more.
    Restored { ch: Text<'a> },
}

impl Event<'_> {
    /// Whether it says who made an op. The checker of files takes these first, so that files need
    /// no order among them.
    pub fn is_origin(&self) -> bool {
        matches!(self, Event::Send { .. } | Event::Server { .. } | Event::ServerPrefix { .. })
    }
}
