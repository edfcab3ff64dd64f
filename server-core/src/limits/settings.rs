//! The settings for time-outs and limits, with their defaults.

use std::time::Duration;
use tidewire_core::wire::{Limits, MAX_BODY_DEPTH, UserKind};

/// Heartbeat and time-outs.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// How often the server sends a ping.
    pub ping: Duration,
    /// A connection on which nothing was received for `ping` and `grace` together is closed.
    pub grace: Duration,
    /// Maximum time from the opening of a connection to its `hello`.
    pub hello: Duration,
    /// Maximum time for reading a request's header.
    pub header: Duration,
    /// Maximum time for sending one message to a client. A socket that takes no bytes for twice as
    /// long is closed, whatever is sent on it.
    pub write: Duration,
    /// A connection whose user did nothing for this long is closed; zero closes none. An op, a
    /// signal, a lease, a subscription or a page is something; so is holding a lease. Sessions of
    /// single requests are not closed by it.
    pub idle: Duration,
    /// Time from `goaway` to the close.
    pub goaway: Duration,
    /// The interval within which clients pick a random time to return after a `goaway`.
    pub spread: Duration,
    /// How long an operator who has dialogs may be without a connection before the model has them
    /// again.
    pub operator: Duration,
    /// How long a ticket may be used, once.
    pub ticket: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            ping: Duration::from_secs(25),
            grace: Duration::from_secs(10),
            hello: Duration::from_secs(10),
            header: Duration::from_secs(5),
            write: Duration::from_secs(10),
            idle: Duration::ZERO,
            goaway: Duration::from_millis(500),
            spread: Duration::from_secs(5),
            operator: Duration::from_secs(60),
            ticket: Duration::from_secs(30),
        }
    }
}

/// The rate and size of a token bucket. The field that it is for says what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many the bucket gains in `per_ms`.
    pub ops: u64,
    /// The interval for `ops`, in ms.
    pub per_ms: u64,
    /// How many a full bucket holds.
    pub burst: u64,
}

/// Limits and budgets.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Longest message from a client, in bytes.
    pub message_bytes: usize,
    /// Maximum number of subscriptions of a connection.
    pub subscriptions: usize,
    /// Maximum number of unanswered ops of a connection.
    pub inflight: usize,
    /// Maximum size of the bodies of these ops together, in bytes.
    pub inflight_bytes: usize,
    /// Ops of a user or operator, over all connections.
    pub user: Budget,
    /// Ops of a guest, over all connections.
    pub guest: Budget,
    /// Signals of a connection. Those beyond it are dropped.
    pub signals: Budget,
    /// Table subscriptions of a connection. They are limited because each may read the whole log.
    pub table_subs: Budget,
    /// Guests that may be created from one address; ten times as many where `connections_per_ip` is
    /// unlimited.
    pub new_guests: Budget,
    /// Dialogs that a user may create. All guests of one address share a budget, with the same
    /// exception as `new_guests`.
    pub new_dialogs: Budget,
    /// Frames of a connection that no other budget counts, such as subscriptions to channels, and
    /// signals beyond their budget. A connection that sends more is closed.
    pub frames: Budget,
    /// Bytes of events that a user may request in pages, over all connections. Live events are not
    /// counted.
    pub page_bytes: Budget,
    /// Bytes that the server reads from one socket. More than that waits in the network.
    pub read_bytes: Budget,
    /// HTTP requests from one address and, in a second bucket, its new sockets. Only used where
    /// `sockets_per_ip` is limited.
    pub requests: Budget,
    /// Maximum number of connections at the same time.
    pub connections: usize,
    /// Maximum number of connections of a user.
    pub connections_per_user: usize,
    /// Maximum number of connections that are subscribed to a dialog.
    pub connections_per_dialog: usize,
    /// Maximum number of connections of an address (in IPv6, of a /64); 0 for no limit. `None`
    /// means 20, but no limit where all clients share an address: on a loopback address without a
    /// trusted proxy, and in the demo.
    pub connections_per_ip: Option<usize>,
    /// Maximum number of handshakes of an address per minute; 0 for no limit. `None` means 10, with
    /// the same exceptions.
    pub handshakes_per_ip: Option<u64>,
    /// Maximum number of open sockets of an address, of any kind; 0 for no limit. `None` means 24
    /// more than twice its connections, and no limit if these are unlimited.
    pub sockets_per_ip: Option<usize>,
    /// Maximum size of the frames queued for a connection, in bytes. With more, the client is a
    /// slow consumer.
    pub queue_bytes: usize,
    /// Maximum number of frames queued for a connection.
    pub queue_messages: usize,
    /// Maximum number of bad frames of a connection within 10 s. With more, it is closed.
    pub bad_frames: usize,
    /// Maximum number of pings, and pongs that were not asked for, of a connection within 10 s.
    /// With more, it is closed.
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

    /// The limits that `welcome` announces to a user with this op budget.
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
