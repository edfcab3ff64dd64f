//! Limits of live tables, with their defaults.

/// Limits of subscriptions, of snapshots, and of the log that all tables share.
#[derive(Debug, Clone)]
pub struct TableLimits {
    /// Most subscriptions of a connection.
    pub subscriptions: usize,
    /// Most subscriptions of all connections.
    pub total: usize,
    /// Most different filters of a table that require no value in any column: they must be matched
    /// with every change.
    pub unindexed: usize,
    /// Most of these for one user, or for all guests of one address.
    pub unindexed_each: usize,
    /// Most bytes that are matched at once for a subscription; a commit may take 16 times as many.
    /// More is left to the driver ([`super::Tables::work`]). A pattern counts the whole row, all
    /// other conditions together a 16th of it.
    pub at_once: usize,
    /// Most transactions that a subscription may wait for at a time.
    pub waits: usize,
    /// Most rows of a snapshot.
    pub rows: usize,
    /// Most rows of a page of a snapshot.
    pub page_rows: usize,
    /// Most bytes of a snapshot, as it is sent.
    pub snapshot_bytes: usize,
    /// Most bytes of all snapshots that are being sent.
    pub held_bytes: usize,
    /// Largest frame, in bytes; at most half of what may be queued for a client.
    pub frame_bytes: usize,
    /// Most commits in the log.
    pub log_commits: usize,
    /// Most bytes of the log.
    pub log_bytes: usize,
    /// How long commits stay in the log, in ms.
    pub log_ms: u64,
    /// Resubscribe jitter when all subscriptions of a table are reset, in ms.
    pub spread_ms: u64,
}

impl Default for TableLimits {
    fn default() -> TableLimits {
        TableLimits {
            subscriptions: 100,
            total: 100_000,
            unindexed: 256,
            unindexed_each: 32,
            at_once: 256 << 10,
            waits: 16,
            rows: 50_000,
            page_rows: 256,
            snapshot_bytes: 32 << 20,
            held_bytes: 256 << 20,
            frame_bytes: 512 << 10,
            log_commits: 100_000,
            log_bytes: 64 << 20,
            log_ms: 900_000,
            spread_ms: 5_000,
        }
    }
}

/// Reserved for the envelope of a frame, in bytes.
pub(super) const ENVELOPE: usize = 1_024;
