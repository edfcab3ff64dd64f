//! Limits per network address: sockets, counted before a byte of them is read, and requests.

use crate::clock;
use crate::config::AddressLimits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use tidewire_server_core::{Budget, Limiter, counted};

/// When a client may try again while its address is at its limit, in ms.
const CROWDED_RETRY_MS: u64 = 1_000;

/// How many clients are assumed to share an address where all clients have the same one.
const SHARING: u64 = 10;

/// How many things of one kind each address has open.
#[derive(Default)]
pub(crate) struct OpenCounts {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the things that an address has open. Dropping it lowers the count.
pub(crate) struct AddressSlot {
    held: Arc<OpenCounts>,
    address: IpAddr,
}

impl OpenCounts {
    /// Counts one more for this address, unless it is at its limit.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<AddressSlot> {
        let address = counted(address);
        let mut by_address = self.by_address.lock();
        let count = by_address.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(AddressSlot { held: self.clone(), address })
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.held.by_address.lock().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Counts sockets and requests by address.
pub(crate) struct AddressLimiter {
    limits: AddressLimits,
    budget: Budget,
    sockets: Arc<OpenCounts>,
    requests: Arc<OpenCounts>,
    /// Separate from the sessions' limiter, so that a flood of sockets delays no session.
    limiter: Limiter,
}

impl AddressLimiter {
    pub(crate) fn new(limits: AddressLimits, budget: Budget) -> AddressLimiter {
        let (sockets, requests) = (Arc::default(), Arc::default());
        AddressLimiter { limits, budget, sockets, requests, limiter: Limiter::default() }
    }

    /// Counts an accepted socket; an error if it is to be closed at once. Sockets of a trusted
    /// proxy are not counted: its clients are counted by their requests.
    pub(crate) fn socket(&self, peer: IpAddr, is_proxy: bool) -> Result<Option<AddressSlot>, ()> {
        let Some(most) = self.limits.sockets.filter(|_| !is_proxy) else {
            return Ok(None);
        };
        if self.limiter.take(&format!("socket:{}", counted(peer)), self.budget, clock::mono()).is_err() {
            return Err(());
        }
        self.sockets.take(peer, most).map(Some).ok_or(())
    }

    /// Limits the creation of lasting things by this address. The error is the wait in ms. Where
    /// all clients share one address, the limit is ten times as high.
    pub(crate) fn creates(&self, what: &str, client: IpAddr, budget: Budget) -> Result<(), u64> {
        let times = if self.limits.connections.is_some() { 1 } else { SHARING };
        let budget = Budget {
            ops: budget.ops.saturating_mul(times),
            burst: budget.burst.saturating_mul(times),
            ..budget
        };
        self.limiter.take(&format!("{what}:{}", counted(client)), budget, clock::mono())
    }

    /// Counts a request. The error is the wait in ms.
    pub(crate) fn request(&self, client: IpAddr) -> Result<Option<AddressSlot>, u64> {
        let Some(most) = self.limits.sockets else { return Ok(None) };
        self.limiter.take(&format!("request:{}", counted(client)), self.budget, clock::mono())?;
        self.requests.take(client, most).map(Some).ok_or(CROWDED_RETRY_MS)
    }
}
