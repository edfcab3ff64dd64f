//! What can go wrong.

use serde::{Deserialize, Serialize};

/// Everything that goes wrong at a time. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// From the client to the server.
    pub up: Direction,
    /// From the server to the client.
    pub down: Direction,
    /// Nobody listens: new connections are refused by the operating system.
    pub refuse: bool,
    /// What is done to HTTP, on connections accepted from now on.
    pub http: HttpMode,
}

/// What happens to the bytes of one direction, on connections that are open too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Direction {
    /// How long bytes are under way, ms.
    pub delay_ms: u64,
    /// At most this many ms come on top, at random; the bytes keep their order.
    pub jitter_ms: u64,
    /// At most this many bytes a second.
    pub bytes_per_s: Option<u64>,
    /// The connection ends once so many bytes went through after this was set, be it in the middle
    /// of a frame.
    pub truncate_after: Option<u64>,
    /// One chunk out of so many, at random, goes through twice. 1 repeats each. The peer must
    /// notice that its stream is broken.
    pub duplicate_one_in: Option<u32>,
    /// Nothing goes through, the end of the connection neither; what was sent meanwhile arrives
    /// when this ends, as after a retransmission.
    pub black_hole: bool,
}

/// How a middlebox treats HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpMode {
    /// Bytes are bytes.
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
