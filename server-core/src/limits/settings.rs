//! What a server is told about time-outs and limits, with the defaults.

use std::time::Duration;
use tidewire_core::wire::{Limits, MAX_BODY_DEPTH, UserKind};

/// Heartbeat and time-outs.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// How often the server pings.
    pub ping: Duration,
    /// How much longer than `ping` silence may last.
    pub grace: Duration,
    /// From the upgrade to `hello`.
    pub hello: Duration,
    /// A request's header.
    pub header: Duration,
    /// One message to a client. Of a response that is not part of a connection nothing may be taken
    /// for twice as long.
    pub write: Duration,
    /// From `goaway` to the close.
    pub goaway: Duration,
    /// Over how long clients should spread their return after a `goaway`.
    pub spread: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            ping: Duration::from_secs(25),
            grace: Duration::from_secs(10),
            hello: Duration::from_secs(10),
            header: Duration::from_secs(5),
            write: Duration::from_secs(10),
            goaway: Duration::from_millis(500),
            spread: Duration::from_secs(5),
        }
    }
}

/// So many in so long, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What the bucket gains in `per_ms`.
    pub ops: u64,
    /// See `ops`.
    pub per_ms: u64,
    /// What the bucket holds.
    pub burst: u64,
}

/// What a connection may hold and send.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Longest message from a client, in bytes.
    pub message_bytes: usize,
    /// Most subscriptions of a connection.
    pub subscriptions: usize,
    /// Most unanswered ops of a connection.
    pub inflight: usize,
    /// Most bytes of them.
    pub inflight_bytes: usize,
    /// Ops of a user or operator, over all connections.
    pub user: Budget,
    /// Ops of a guest, over all connections.
    pub guest: Budget,
    /// Signals of a connection.
    pub signals: Budget,
    /// Subscriptions to tables that a connection begins: each may read all of the log.
    pub table_subs: Budget,
    /// Guests that one address may create.
    pub new_guests: Budget,
    /// Dialogs that a user may create; guests of one address share one budget.
    pub new_dialogs: Budget,
    /// Frames of a connection that no other budget counts: all but ops and signals within their
    /// budgets.
    pub frames: Budget,
    /// Bytes of events that a user, over all connections, may ask for in pages; what comes live is
    /// not counted.
    pub page_bytes: Budget,
    /// Bytes that the server reads from one socket; what comes faster waits in the network.
    pub read_bytes: Budget,
    /// HTTP requests of one address, where addresses are limited.
    pub requests: Budget,
    /// Most connections at the same time.
    pub connections: usize,
    /// Most connections of a user.
    pub connections_per_user: usize,
    /// Most connections that are subscribed to a dialog.
    pub connections_per_dialog: usize,
    /// Most connections of an address (in IPv6, of a /64); 0 for no limit. None is 20, but no limit
    /// where all clients share an address: on a loopback address without a trusted proxy, and in
    /// the demo.
    pub connections_per_ip: Option<usize>,
    /// Most handshakes of an address in a minute; 0 for no limit. None is 10, with the same
    /// exceptions.
    pub handshakes_per_ip: Option<u64>,
    /// Most sockets of an address, of any kind; 0 for no limit. None is twice its connections and
    /// 24.
    pub sockets_per_ip: Option<usize>,
    /// Most bytes waiting for a client that reads slowly.
    pub queue_bytes: usize,
    /// Most messages waiting for it.
    pub queue_messages: usize,
    /// Most bad frames of a connection within 10 s.
    pub bad_frames: usize,
    /// Most pings and unasked pongs of a connection within 10 s.
    pub control_frames: usize,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            message_bytes: 65_536,
            subscriptions: 100,
            inflight: 32,
            inflight_bytes: 262_144,
            user: Budget { ops: 20, per_ms: 1_000, burst: 40 },
            guest: Budget { ops: 20, per_ms: 60_000, burst: 20 },
            signals: Budget { ops: 20, per_ms: 1_000, burst: 40 },
            table_subs: Budget { ops: 20, per_ms: 1_000, burst: 200 },
            new_guests: Budget { ops: 60, per_ms: 60_000, burst: 60 },
            new_dialogs: Budget { ops: 20, per_ms: 60_000, burst: 20 },
            frames: Budget { ops: 100, per_ms: 1_000, burst: 1_000 },
            page_bytes: Budget { ops: 2 << 20, per_ms: 1_000, burst: 32 << 20 },
            read_bytes: Budget { ops: 2 << 20, per_ms: 1_000, burst: 8 << 20 },
            requests: Budget { ops: 50, per_ms: 1_000, burst: 300 },
            connections: 10_000,
            connections_per_user: 100,
            connections_per_dialog: 50,
            connections_per_ip: None,
            handshakes_per_ip: None,
            sockets_per_ip: None,
            queue_bytes: 1 << 20,
            queue_messages: 1_000,
            bad_frames: 20,
            control_frames: 100,
        }
    }
}

impl ServerLimits {
    /// The op budget of a kind of user.
    pub fn budget(&self, kind: UserKind) -> Budget {
        match kind {
            UserKind::Guest => self.guest,
            _ => self.user,
        }
    }

    /// What `welcome` announces to a user with this budget.
    pub(crate) fn announced(&self, budget: Budget) -> Limits {
        Limits {
            message_bytes: self.message_bytes as u64,
            subscriptions: self.subscriptions as u64,
            inflight: self.inflight as u64,
            inflight_bytes: self.inflight_bytes as u64,
            ops: budget.ops,
            per_ms: budget.per_ms,
            burst: budget.burst,
            body_depth: MAX_BODY_DEPTH as u64,
        }
    }
}
