//! The settings of a client, with their defaults.

use crate::io::Transport;

/// Settings of a client. Times are ms, sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Library and version, for the server's logs; up to 64 characters.
    pub agent: String,
    /// The transports that the driver has, best first. Default: the WebSocket alone.
    pub transports: Vec<Transport>,
    /// How long an open socket, and then a welcome, may take. Default 10,000.
    pub connect_timeout_ms: u64,
    /// How long the application may take to bring a token. Default 30,000.
    pub token_timeout_ms: u64,
    /// Whether the credential is a cookie, which the driver's requests carry by themselves: `hello`
    /// has no token then. The core asks for tokens all the same, and what it is answered only says
    /// that the cookie is there, or is a new one. Default false.
    pub cookie: bool,
    /// First ceiling of the backoff. Default 500.
    pub backoff_base_ms: u64,
    /// Highest ceiling of the backoff. Default 30,000.
    pub backoff_cap_ms: u64,
    /// Most ops that may wait. Default 1,000.
    pub outbox_ops: usize,
    /// Most bytes of ops that may wait. Default 5 MiB.
    pub outbox_bytes: usize,
    /// How long an op may wait before it fails as `expired`. Default 7 days: shorter than servers
    /// keep op ids.
    pub op_ttl_ms: u64,
    /// How long an op of the session lane may wait before it fails as `expired`. One that was sent
    /// and is not answered waits for the server's answer. Default 60,000.
    pub session_ttl_ms: u64,
    /// For how long after a message further ops wait, to be sent together in the next one. Default
    /// 0: each op is sent at once.
    pub batch_ms: u64,
    /// As soon as this many ops wait, they are sent. Default 10.
    pub batch_ops: usize,
    /// How many events of a channel are stored for the next start. Default 200. With 0 neither
    /// events nor cursors are stored, which suits a store that keeps nothing.
    pub cached_events: u64,
    /// Tables whose rows are longer than this, in bytes, are not stored for the next start. Default
    /// 256 KiB.
    pub cached_table_bytes: usize,
    /// How many of the newest events a channel without a cursor starts with. Default 50, at most
    /// 1,000.
    pub tail: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            agent: String::from("tidewire"),
            transports: vec![Transport::WebSocket],
            connect_timeout_ms: 10_000,
            token_timeout_ms: 30_000,
            cookie: false,
            backoff_base_ms: 500,
            backoff_cap_ms: 30_000,
            outbox_ops: 1_000,
            outbox_bytes: 5 * 1024 * 1024,
            op_ttl_ms: 7 * 24 * 3_600_000,
            session_ttl_ms: 60_000,
            batch_ms: 0,
            batch_ops: 10,
            cached_events: 200,
            cached_table_bytes: 256 * 1024,
            tail: 50,
        }
    }
}
