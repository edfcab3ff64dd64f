//! The commands to the proxy's connections, and its counters.

use crate::faults::Faults;
use std::sync::atomic::AtomicU64;

/// Counts of what happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) upgrades_killed: AtomicU64,
    pub(crate) duplicated: AtomicU64,
    pub(crate) up_bytes: AtomicU64,
    pub(crate) down_bytes: AtomicU64,
}

/// The commands to connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    pub(crate) faults: Faults,
    /// How often all connections were ended, for each way of ending them.
    pub(crate) cuts: u64,
    pub(crate) resets: u64,
}
