//! Requests to the source that are not answered yet.

/// The id of a request; it goes back with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The table's index.
    pub(super) table: usize,
    pub(super) number: u64,
}

/// A request that the driver has not taken yet.
pub(super) struct Queued {
    pub(super) id: u64,
}

/// A request without an answer.
pub(super) enum Pending {
    Snapshot {
        group: u64,
        /// The table's head at the time of the request.
        head: u64,
        tries: u32,
    },
    Locate {
        sub: u64,
        tx: String,
    },
}
