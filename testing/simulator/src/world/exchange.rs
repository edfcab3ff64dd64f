//! Plain requests: what a client sends, and what comes back.

use crate::world::{LinkId, Wire};
use tidewire_core::{Request, RequestId};

/// The id of a request: a process, and the core's number for the request.
pub(crate) type ExchangeId = (usize, u64);

/// What the server receives of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    /// The connection that the client names.
    pub(crate) connection: Option<String>,
    pub(crate) seq: Option<u64>,
    pub(crate) body: String,
    /// Whether the whole body arrived.
    pub(crate) is_whole: bool,
}

impl Call {
    pub(crate) fn new(request: &Request) -> Call {
        let header =
            |wanted| request.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        Call {
            path: request.path,
            connection: header("tidewire-connection").cloned(),
            seq: header("tidewire-seq").and_then(|seq| seq.parse().ok()),
            body: request.body.clone().unwrap_or_default(),
            is_whole: true,
        }
    }
}

/// A part of a response.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    Status(u16),
    Body(Vec<u8>),
    End,
    /// It broke off, or the server was not reached.
    Failed,
}

/// A request under way, on the client's side.
pub(crate) struct Exchange {
    pub(crate) link: LinkId,
    /// Whether it carries a message.
    pub(crate) is_up: bool,
    /// Whether it opens the connection; its response has no lines then.
    pub(crate) is_opening: bool,
    /// Carries the response. Each request has its own, so responses may overtake each other.
    pub(crate) down: Wire,
    /// Nothing more of the response will arrive.
    pub(crate) is_broken: bool,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
}

impl Exchange {
    pub(crate) fn new(link: LinkId, request: &Request) -> Exchange {
        Exchange {
            link,
            is_up: request.body.is_some(),
            is_opening: request.path == "/v1/http",
            down: Wire::default(),
            is_broken: false,
            rest: Vec::new(),
        }
    }

    /// Whether the response is within a line.
    pub(crate) fn is_cut(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The lines that these bytes complete.
    pub(crate) fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                whole.push(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned());
            } else {
                self.rest.push(*byte);
            }
        }
        whole
    }
}

/// The name that the server gives a connection.
pub(crate) fn name_of(link: LinkId) -> String {
    format!("{}.{}", link.0, link.1)
}

/// The connection with this name.
pub(crate) fn named(name: &str) -> Option<LinkId> {
    let (process, conn) = name.split_once('.')?;
    Some((process.parse().ok()?, conn.parse().ok()?))
}

/// The id of a request that is under way.
pub(crate) fn exchange_id(process: usize, request: RequestId) -> ExchangeId {
    (process, request.0)
}
