//! The live connections: how many there are, and a way to reach them all.

use crate::outgoing::{Outgoing, Wake};
use crate::sync::lock;
use crate::text::Text;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tidewire_core::wire::ServerFrame;

/// Told how many connections there are, after each change. It must only note or wake, never call back.
pub type Counted = Box<dyn Fn(usize) + Send + Sync>;

/// All connections between upgrade and end.
pub struct Connections {
    most: usize,
    most_per_user: usize,
    /// None for no limit.
    most_per_address: Option<usize>,
    table: Mutex<Table>,
    counted: Counted,
}

#[derive(Default)]
struct Table {
    next: u64,
    closing: Option<(u16, &'static str)>,
    by_id: BTreeMap<u64, Arc<Outgoing>>,
    by_user: BTreeMap<String, usize>,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A connection's place; dropping it gives the place back.
pub struct Place {
    connections: Arc<Connections>,
    /// What its client is sent.
    pub outgoing: Arc<Outgoing>,
    user: Option<String>,
    address: IpAddr,
}

impl Connections {
    /// No connections yet; at most so many, so many of a user and of an address (none for no limit).
    pub fn new(
        most: usize,
        most_per_user: usize,
        most_per_address: Option<usize>,
        counted: Counted,
    ) -> Arc<Connections> {
        Arc::new(Connections { most, most_per_user, most_per_address, table: Mutex::default(), counted })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.table).by_id.len()
    }

    /// A place, and what to tell its client before it is sent away, when it is one too many.
    pub fn enter(
        self: &Arc<Self>,
        queue_bytes: usize,
        queue_messages: usize,
        address: IpAddr,
        wake: Wake,
    ) -> (Place, Option<&'static str>) {
        let mut table = lock(&self.table);
        table.next += 1;
        let outgoing = Arc::new(Outgoing::new(table.next, queue_bytes, queue_messages, wake));
        if let Some((code, reason)) = table.closing {
            outgoing.close(code, reason);
        }
        table.by_id.insert(outgoing.id(), outgoing.clone());
        let of_address = table.by_address.entry(address).or_default();
        *of_address += 1;
        let crowded = if self.most_per_address.is_some_and(|most| *of_address > most) {
            Some("this address has all the connections it may have")
        } else if table.by_id.len() > self.most {
            Some("the server has all the connections it may have")
        } else {
            None
        };
        (self.counted)(table.by_id.len());
        (Place { connections: self.clone(), outgoing, user: None, address }, crowded)
    }

    /// A frame for everybody.
    pub fn tell_all(&self, frame: &ServerFrame) {
        let text = Text::from(frame.encode());
        for outgoing in lock(&self.table).by_id.values() {
            outgoing.push(text.clone());
        }
    }

    /// Ends everybody's connection, later ones too.
    pub fn close_all(&self, code: u16, reason: &'static str) {
        let mut table = lock(&self.table);
        table.closing = Some((code, reason));
        for outgoing in table.by_id.values() {
            outgoing.close(code, reason);
        }
    }
}

impl Place {
    /// Counts the connection for its user; false when the user has too many.
    pub fn claim(&mut self, user: String) -> bool {
        let mut table = lock(&self.connections.table);
        let count = table.by_user.entry(user.clone()).or_default();
        if *count >= self.connections.most_per_user {
            return false;
        }
        *count += 1;
        self.user = Some(user);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.connections.table);
        table.by_id.remove(&self.outgoing.id());
        if let Some(user) = self.user.take()
            && let Some(count) = table.by_user.get_mut(&user)
        {
            *count -= 1;
            if *count == 0 {
                table.by_user.remove(&user);
            }
        }
        if let Entry::Occupied(mut count) = table.by_address.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        (self.connections.counted)(table.by_id.len());
    }
}
