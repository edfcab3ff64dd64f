//! What an application may set, and the defaults.

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
    /// How long an op of the session lane may wait before it fails as `expired`; one that was sent
    /// and not answered goes on, until the server says what became of it. Default 60,000.
    pub session_ttl_ms: u64,
    /// For how long after a sending ops gather to go together in one message. Default 0: each goes
    /// at once.
    pub batch_ms: u64,
    /// So many ops never wait for others. Default 10.
    pub batch_ops: usize,
    /// How many events of a channel are kept in the store for the next start. Default 200; with 0
    /// the store is given neither events nor cursors, which is right where it keeps nothing.
    pub cached_events: u64,
    /// How long a table's rows may be, in bytes, to be kept in the store for the next start.
    /// Default 256 KiB.
    pub cached_table_bytes: usize,
    /// With how many of the newest events a channel starts. Default 50, at most 1,000.
    pub tail: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            agent: String::from("tidewire"),
            transports: vec![Transport::WebSocket],
            connect_timeout_ms: 10_000,
            token_timeout_ms: 30_000,
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
