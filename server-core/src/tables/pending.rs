//! Questions to the source that have no answer yet.

/// Names a question; it goes back with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The table, by its place.
    pub(super) table: usize,
    pub(super) number: u64,
}

/// A question that the driver has not taken yet.
pub(super) struct Queued {
    pub(super) id: u64,
}

/// A question without an answer.
pub(super) enum Pending {
    Snapshot {
        group: u64,
        /// Up to where the table had been told when it was asked.
        head: u64,
        tries: u32,
    },
    Locate {
        sub: u64,
        tx: String,
    },
}
