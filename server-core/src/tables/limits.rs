//! What live tables may take, with the defaults.

/// Limits of subscriptions, of snapshots and of the log that subscriptions share.
#[derive(Debug, Clone)]
pub struct TableLimits {
    /// Most subscriptions of a connection.
    pub subscriptions: usize,
    /// Most subscriptions of all.
    pub total: usize,
    /// Most different filters of a table that name no value that a column must equal: each must be
    /// asked about every change.
    pub unindexed: usize,
    /// Most of them of one user, or of all guests of an address.
    pub unindexed_each: usize,
    /// Most bytes that are looked at for a subscription at once, and 16 times as many for a commit;
    /// what is more is left to the driver ([`super::Tables::catch_up`]). A pattern counts as a look
    /// at all of a row, all other conditions as one at a 16th.
    pub at_once: usize,
    /// Most transactions that a subscription waits for at a time.
    pub waits: usize,
    /// Most rows of a snapshot.
    pub rows: usize,
    /// Most rows of a page of a snapshot.
    pub page_rows: usize,
    /// Most bytes of a snapshot, as it is sent.
    pub snapshot_bytes: usize,
    /// Most bytes of all snapshots that clients are reading.
    pub held_bytes: usize,
    /// Greatest frame, in bytes; at most half of what may wait for a client.
    pub frame_bytes: usize,
    /// Most commits in the log.
    pub log_commits: usize,
    /// Most bytes of them.
    pub log_bytes: usize,
    /// How long they stay, in ms.
    pub log_ms: u64,
    /// Over how many ms clients spread their return when all of a table have to come back.
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

/// For the envelope of a frame, in bytes.
pub(super) const ENVELOPE: usize = 1_024;
