//! The faults.

use serde::{Deserialize, Serialize};

/// The current faults. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// From the client to the server.
    pub up: Direction,
    /// From the server to the client.
    pub down: Direction,
    /// The proxy does not listen: the operating system refuses new connections.
    pub refuse: bool,
    /// What happens to HTTP, on connections that are accepted from now on.
    pub http: HttpMode,
}

/// The faults of one direction. They strike open connections too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Direction {
    /// The delay of all bytes, in ms.
    pub delay_ms: u64,
    /// Maximum additional random delay, in ms. Bytes keep their order.
    pub jitter_ms: u64,
    /// At most this many bytes a second.
    pub bytes_per_s: Option<u64>,
    /// The connection ends after this many bytes from now on, even within a frame.
    pub truncate_after: Option<u64>,
    /// One chunk in this many is sent twice, at random; with 1 every chunk. The peer must notice
    /// that its stream is broken.
    pub duplicate_one_in: Option<u32>,
    /// Nothing passes, not even the end of a connection. Bytes that were sent arrive when this
    /// ends, as after a retransmission.
    pub black_hole: bool,
}

/// How a middlebox treats HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpMode {
    /// Bytes are passed on as they are.
    #[default]
    Off,
    /// A request for a WebSocket gets 502; others pass.
    KillUpgrade,
    /// A request for a WebSocket is closed without an answer; others pass.
    CloseUpgrade,
    /// A WebSocket is closed 200 ms after its upgrade was answered; others pass.
    KillEarly,
    /// A response is held back until it is complete, and everything of a WebSocket until it is
    /// closed.
    Buffer,
}
