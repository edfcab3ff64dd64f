//! What a history consists of.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

type Text<'a> = Cow<'a, str>;

/// One thing that happened. As JSON it is an object whose member `e` names the variant in snake
/// case.
///
/// An `id` is the op's id, or any other name that is unique in the history (a test that kills
/// clients uses the message's text, which it knows before the client has made an id).
///
/// Events of one client or observer must be in the order in which they happened. Between clients
/// the order only matters for [`Restored`](Event::Restored).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // The members are the protocol's; the variants explain exceptions.
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
    /// The application was notified that the op is committed at `offset`.
    Ack { client: Text<'a>, ch: Text<'a>, id: Text<'a>, offset: u64 },
    /// The application was notified that the op is refused for good.
    Fail { client: Text<'a>, ch: Text<'a>, id: Text<'a>, code: Text<'a> },
    /// The application retried a refused op, which keeps its place in the order.
    Retry { client: Text<'a>, id: Text<'a> },
    /// The application discarded the op, which may be in the log all the same.
    Discard { client: Text<'a>, id: Text<'a> },
    /// The outbox of `client` is empty: its ops that were neither refused nor discarded must be in
    /// the log.
    Drained { client: Text<'a> },
    /// `observer` applied the event at `offset`.
    Apply { observer: Text<'a>, ch: Text<'a>, epoch: Text<'a>, offset: u64, id: Text<'a> },
    /// `observer` was notified of a reset: the next event is at `from` + 1. An observer without a
    /// reset begins at 1.
    Reset { observer: Text<'a>, ch: Text<'a>, epoch: Text<'a>, from: u64, reason: Text<'a> },
    /// `observer` must have everything up to the end of the log.
    CaughtUp { observer: Text<'a>, ch: Text<'a> },
    /// The server wrote this event itself.
    Server { id: Text<'a> },
    /// The server wrote every event whose id begins with `prefix` itself.
    ServerPrefix { prefix: Text<'a> },
    /// An event of the server's log, read at the end.
    Log { ch: Text<'a>, epoch: Text<'a>, offset: u64, id: Text<'a> },
    /// Retention removed the log's events up to and including `to`.
    Trimmed { ch: Text<'a>, epoch: Text<'a>, to: u64 },
    /// The channel's database was replaced by an older one: earlier acknowledgements guarantee
    /// nothing any more.
    Restored { ch: Text<'a> },
}

impl Event<'_> {
    /// Whether it names an op's author. The checker of files reads these first, so that the order
    /// of the files does not matter.
    pub fn is_origin(&self) -> bool {
        matches!(self, Event::Send { .. } | Event::Server { .. } | Event::ServerPrefix { .. })
    }
}
