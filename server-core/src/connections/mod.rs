//! The registry of live connections: it counts them, limits them, and reaches them all.

mod enforce;
mod listing;
mod pulse;
mod subscriptions;

use crate::access::Identity;
use crate::lock::{Mutex, calls_out};
use crate::outgoing::Outgoing;
use crate::text::Text;
pub use listing::{ConnectionFigures, ConnectionFilter, ConnectionInfo, MAX_LISTED, Whose};
pub(crate) use pulse::Pulse;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::IpAddr;
use std::sync::Arc;
pub(crate) use subscriptions::Subscriptions;
use tidewire_core::wire::ServerFrame;
use tidewire_core::wire::codes::{self, close};

/// Called after each change of [`Connections::count`], with no lock held.
pub type Counted = Box<dyn Fn() + Send + Sync>;

/// All connections from their upgrade to their end.
pub struct Connections {
    most: usize,
    most_per_user: usize,
    /// `None` for no limit.
    most_per_address: Option<usize>,
    table: Mutex<Table>,
    counted: Counted,
}

#[derive(Default)]
struct Table {
    next: u64,
    closing: Option<(u16, &'static str)>,
    /// Sent to every connection that is made while the server is about to stop.
    goaway: Option<Text>,
    by_id: BTreeMap<u64, Member>,
    /// The ids of the connections that count against a user's limit.
    by_user: BTreeMap<String, BTreeSet<u64>>,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A connection, as others reach it.
struct Member {
    outgoing: Arc<Outgoing>,
    subscriptions: Arc<Subscriptions>,
    pulse: Arc<Pulse>,
    /// `None` before `hello`.
    identity: Option<Arc<Identity>>,
    run: Option<ClientRun>,
}

/// One run of a client, as its `hello` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientRun {
    pub(crate) client: String,
    pub(crate) session: String,
}

/// A connection's entry in the registry. Dropping it removes the entry.
pub(crate) struct Registration {
    connections: Arc<Connections>,
    id: u64,
    user: Option<String>,
    address: IpAddr,
}

/// A connection whose user is known.
pub(crate) type SignedIn = (Arc<Identity>, Arc<Subscriptions>, Arc<Outgoing>);

impl Connections {
    /// An empty registry with limits for all connections, for those of one user, and for those of
    /// one address (`None` for no limit).
    pub fn new(
        most: usize,
        most_per_user: usize,
        most_per_address: Option<usize>,
        counted: Counted,
    ) -> Arc<Connections> {
        Arc::new(Connections { most, most_per_user, most_per_address, table: Mutex::default(), counted })
    }

    /// The number of registered connections.
    pub fn count(&self) -> usize {
        self.table.lock().by_id.len()
    }

    /// A new connection id. Connections that are refused get one too.
    pub(crate) fn number(&self) -> u64 {
        let mut table = self.table.lock();
        table.next += 1;
        table.next
    }

    /// Registers a connection.
    ///
    /// # Errors
    ///
    /// The message for the client if a limit is reached. A refused connection leaves no entry, so
    /// that refused clients can't keep others out.
    pub(crate) fn register(
        self: &Arc<Self>,
        outgoing: &Arc<Outgoing>,
        subscriptions: &Arc<Subscriptions>,
        pulse: &Arc<Pulse>,
        address: IpAddr,
    ) -> Result<Registration, &'static str> {
        let mut table = self.table.lock();
        let of_address = table.by_address.get(&address).copied().unwrap_or_default();
        if self.most_per_address.is_some_and(|most| of_address >= most) {
            return Err("this address has all the connections it may have");
        }
        if table.by_id.len() >= self.most {
            return Err("the server has all the connections it may have");
        }
        let closing = table.closing;
        let member = Member {
            outgoing: outgoing.clone(),
            subscriptions: subscriptions.clone(),
            pulse: pulse.clone(),
            identity: None,
            run: None,
        };
        table.by_id.insert(outgoing.id(), member);
        *table.by_address.entry(address).or_default() += 1;
        drop(table);
        if let Some((code, reason)) = closing {
            outgoing.close(code, reason);
        }
        self.counted();
        Ok(Registration { connections: self.clone(), id: outgoing.id(), user: None, address })
    }

    /// The live connections of a user.
    pub(crate) fn of_user(&self, user: &str) -> Vec<SignedIn> {
        let table = self.table.lock();
        let members = table.by_user.get(user).into_iter().flatten().filter_map(|id| table.by_id.get(id));
        members.filter_map(Member::signed_in).collect()
    }

    /// The live connections of all users.
    pub(crate) fn of_all_users(&self) -> Vec<SignedIn> {
        self.table.lock().by_id.values().filter_map(Member::signed_in).collect()
    }

    /// Sends a `goaway` frame to all connections. Those that are made later get it too, and are
    /// closed at once.
    pub fn announce(&self, goaway: &ServerFrame) {
        let text = Text::from(goaway.encode());
        self.table.lock().goaway = Some(text.clone());
        for (_, outgoing) in self.all() {
            outgoing.push(text.clone());
        }
    }

    /// All live connections.
    pub(crate) fn all(&self) -> Vec<(Arc<Subscriptions>, Arc<Outgoing>)> {
        let table = self.table.lock();
        table.by_id.values().map(|member| (member.subscriptions.clone(), member.outgoing.clone())).collect()
    }

    /// Sends a frame to all connections.
    pub fn tell_all(&self, frame: &ServerFrame) {
        let text = Text::from(frame.encode());
        for (_, outgoing) in self.all() {
            outgoing.push(text.clone());
        }
    }

    /// The `goaway` frame for new connections, if the server is about to stop.
    pub(crate) fn goaway(&self) -> Option<Text> {
        self.table.lock().goaway.clone()
    }

    /// Closes all connections, and those that are made later.
    pub fn close_all(&self, code: u16, reason: &'static str) {
        self.table.lock().closing = Some((code, reason));
        for (_, outgoing) in self.all() {
            outgoing.close(code, reason);
        }
    }

    fn counted(&self) {
        calls_out();
        (self.counted)();
    }
}

impl Member {
    fn signed_in(&self) -> Option<SignedIn> {
        Some((self.identity.clone()?, self.subscriptions.clone(), self.outgoing.clone()))
    }
}

impl Table {
    /// Removes the connection from the user's count.
    fn discount(&mut self, user: &str, id: u64) {
        if let Some(ids) = self.by_user.get_mut(user) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_user.remove(user);
            }
        }
    }

    /// Removes the user's older connections of the same client run from the count, and returns them
    /// for closing. A run has one connection at a time.
    fn replaced(&mut self, user: &str, run: &ClientRun) -> Vec<(Arc<Subscriptions>, Arc<Outgoing>)> {
        let is_older = |id: &u64| self.by_id.get(id).is_some_and(|member| member.run.as_ref() == Some(run));
        let older: Vec<u64> =
            self.by_user.get(user).into_iter().flatten().copied().filter(is_older).collect();
        older.iter().for_each(|id| self.discount(user, *id));
        let members = older.iter().filter_map(|id| self.by_id.get(id));
        members.map(|member| (member.subscriptions.clone(), member.outgoing.clone())).collect()
    }
}

fn end_replaced(subscriptions: &Subscriptions, outgoing: &Outgoing) {
    tracing::info!(conn = outgoing.id(), "replaced");
    subscriptions.close();
    let message = "a newer connection of the same session took this one's place";
    outgoing.refuse(close::REPLACED, codes::REPLACED, message);
}

impl Registration {
    /// Counts the connection for its user and closes older ones of the same run; false if the user
    /// has too many.
    pub(crate) fn claim(&mut self, identity: &Arc<Identity>, run: Option<ClientRun>) -> bool {
        let (id, user) = (self.id, identity.key());
        let mut table = self.connections.table.lock();
        let replaced = run.as_ref().map(|run| table.replaced(&user, run)).unwrap_or_default();
        let fits = table.by_user.get(&user).map_or(0, BTreeSet::len) < self.connections.most_per_user;
        if fits {
            table.by_user.entry(user.clone()).or_default().insert(id);
            if let Some(member) = table.by_id.get_mut(&id) {
                (member.identity, member.run) = (Some(identity.clone()), run);
            }
            self.user = Some(user);
        }
        drop(table);
        replaced.iter().for_each(|(subscriptions, outgoing)| end_replaced(subscriptions, outgoing));
        fits
    }

    /// Replaces the identity after the client sent a newer token of the same user.
    pub(crate) fn renew(&self, identity: &Arc<Identity>) {
        if let Some(member) = self.connections.table.lock().by_id.get_mut(&self.id) {
            member.identity = Some(identity.clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        table.by_id.remove(&self.id);
        if let Some(user) = self.user.take() {
            table.discount(&user, self.id);
        }
        if let Entry::Occupied(mut count) = table.by_address.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        drop(table);
        self.connections.counted();
    }
}
