//! Questions to the source that have no answer yet.

/// A question that the driver has not taken yet.
pub(super) struct Asked {
    pub(super) id: u64,
}

/// A question without an answer.
pub(super) enum Pending {
    Snapshot {
        group: u64,
        /// Up to where the source had told when it was asked.
        head: u64,
        tries: u32,
    },
    Locate {
        sub: u64,
        tx: String,
    },
}
