//! The requests of clients about tables.

use super::Tables;
use super::cursor::Cursor;
use super::directory::{Full, Location};
use super::fair_queue::Owner;
use super::refusal::{RETRY_MS, Refusal, too_many_unindexed, unavailable};
use super::shape::{Shape, ShapeError};
use super::state::{Phase, State, Sub, Wait};
use crate::access::Identity;
use crate::outgoing::Outgoing;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::tables::filter::{Filter, FilterError};
use tidewire_core::wire::{TableFrame, TableRequest, TableSub, codes};

/// How long a client waits for a transaction, in ms.
const WAIT_MS: u64 = 10_000;
/// Resubscribe jitter when a single subscription is reset, in ms.
const SPREAD_MS: u64 = 1_000;

/// The connection and user that a request comes from.
pub(crate) struct Asker<'a> {
    pub(crate) outgoing: &'a Arc<Outgoing>,
    pub(crate) identity: &'a Identity,
    pub(crate) owner: Owner,
}

impl Tables {
    /// Handles a request of a client.
    pub(crate) fn request(self: &Arc<Self>, asker: &Asker<'_>, now: Time, request: TableRequest) {
        let outgoing = asker.outgoing;
        match request {
            TableRequest::Sub(sub) => self.subscribe(asker, now, sub),
            TableRequest::Next { sid } => self.of_subscription(outgoing, sid, State::next_page),
            TableRequest::Wait { sid, tx } => {
                self.of_subscription(outgoing, sid, |state, id| state.wait(id, now, tx));
            }
            TableRequest::Unsub { sid } => self.forget(outgoing.id(), &sid),
        }
    }

    /// Applies `act` to a subscription, or answers that there is none.
    fn of_subscription(
        &self,
        outgoing: &Arc<Outgoing>,
        sid: String,
        act: impl FnOnce(&mut State, u64) -> bool,
    ) {
        let at = self.named(outgoing.id(), &sid);
        let done = at.and_then(|at| self.with(at.table, |state| act(state, at.sub)));
        if done != Some(true) {
            outgoing.push(not_subscribed().frame(sid));
        }
    }

    /// The subscription that a connection's client calls `sid`.
    fn named(&self, conn: u64, sid: &str) -> Option<Location> {
        self.shared.directory.lock().find(conn, sid)
    }

    /// All subscriptions of a connection.
    fn all_of(&self, conn: u64) -> Vec<Location> {
        self.shared.directory.lock().of(conn)
    }

    /// Ends a subscription, also one that the client believes to be replaced.
    fn forget(&self, conn: u64, sid: &str) {
        if let Some(at) = self.named(conn, sid) {
            self.with(at.table, |state| state.remove(at.sub));
        }
    }

    fn subscribe(&self, asker: &Asker<'_>, now: Time, sub: TableSub) {
        let sid = sub.sid.clone();
        if let Err(refusal) = self.try_subscribe(asker, now, sub) {
            self.forget(asker.outgoing.id(), &sid);
            asker.outgoing.push(refusal.frame(sid));
        }
    }

    fn try_subscribe(
        &self,
        asker: &Asker<'_>,
        now: Time,
        TableSub { sid, table, filter, select, cursor }: TableSub,
    ) -> Result<(), Refusal> {
        let filter = match filter.trim().is_empty() {
            true => None,
            false => Some(Filter::parse(&filter).map_err(refused_filter)?),
        };
        let at = self.by_name.get(&table).copied();
        let found = at.and_then(|at| {
            let state = self.states.get(at)?.lock();
            Some((at, state.rights.schema.clone(), state.rights.permission(asker.identity)))
        });
        let Some((at, schema, permission)) = found else {
            return Err(Refusal::new(codes::UNKNOWN_TABLE, "this server has no such table for clients"));
        };
        let permission = permission.ok_or_else(forbidden)?;
        // Filters take a while to compile, so this is done without the lock.
        let shape = Shape::new((at, &table), &schema, permission, filter, select.as_deref());
        let shape = shape.map_err(|error| match error {
            ShapeError::Column(message) => Refusal::new(codes::BAD_COLUMN, message),
            ShapeError::Filter(error) => refused_filter(error),
            ShapeError::Forbidden => forbidden(),
        })?;
        self.forget(asker.outgoing.id(), &sid);
        self.with(at, |state| {
            state.now = state.now.max(now);
            match Arc::ptr_eq(&state.rights.schema, &schema) {
                true => state.add(asker, sid, shape, cursor.as_deref()),
                false => {
                    Err(Refusal::later(codes::TABLE_UNAVAILABLE, "the table has just changed", RETRY_MS))
                }
            }
        })
        .unwrap_or(Ok(()))
    }

    /// There is room again in a connection's queue.
    pub(crate) fn refill(&self, conn: u64) {
        for at in self.all_of(conn) {
            self.serve(at.table, vec![at.sub]);
        }
    }

    /// The claims of a connection's user changed: ends subscriptions whose permission changed with
    /// them.
    pub(crate) fn renew(&self, conn: u64, identity: &Identity) {
        for at in self.all_of(conn) {
            self.with(at.table, |state| state.renew(at.sub, identity));
        }
    }

    /// A connection has ended.
    pub(crate) fn leave(&self, conn: u64) {
        for at in self.all_of(conn) {
            self.with(at.table, |state| state.remove(at.sub));
        }
    }
}

impl State {
    /// Begins a subscription.
    fn add(
        &mut self,
        asker: &Asker<'_>,
        sid: String,
        shape: Shape,
        cursor: Option<&str>,
    ) -> Result<(), Refusal> {
        let outgoing = asker.outgoing;
        let conn = outgoing.id();
        if self.epoch.is_none() {
            return Err(unavailable());
        }
        let (id, limits) = (self.id(), &self.shared.limits);
        let at = Location { table: self.at, sub: id };
        self.shared.directory.lock().add((conn, &sid), at, limits).map_err(|full| match full {
            Full::Connection => {
                let most = limits.subscriptions;
                let message = format!("a connection may have at most {most} subscriptions to tables");
                Refusal::new(codes::TOO_MANY_SUBSCRIPTIONS, message)
            }
            Full::Server => {
                let message = "the server has all the subscriptions to tables that it may have";
                Refusal::later(codes::TOO_MANY_SUBSCRIPTIONS, message, 10 * RETRY_MS)
            }
        })?;
        let from = cursor.map(|cursor| self.resumable(cursor, &shape));
        let Some(group) = self.group(shape, &asker.owner) else {
            self.shared.directory.lock().remove((conn, &sid), id);
            return Err(too_many_unindexed());
        };
        let (phase, applied) = match from {
            Some(Ok(position)) => (Phase::Resuming, position),
            Some(Err(reason)) => (Phase::Waiting(Some(reason)), 0),
            None => (Phase::Waiting(None), 0),
        };
        let asks = matches!(phase, Phase::Waiting(_));
        if let Some(group) = self.groups.get_mut(&group) {
            group.members.insert(id);
        }
        let owner = asker.owner.clone();
        let sub =
            Sub { owner, outgoing: outgoing.clone(), sid, group, phase, last: 0, applied, waits: Vec::new() };
        self.subs.insert(id, sub);
        // If the connection ended before this, nothing else would remove the subscription.
        if outgoing.is_closing() {
            self.remove(id);
            return Ok(());
        }
        if asks {
            self.request_snapshot(group, 1);
        } else {
            self.after.ready.push(id);
        }
        Ok(())
    }

    /// The position that a cursor resumes from, or the reason why it can't be resumed.
    fn resumable(&self, text: &str, shape: &Shape) -> Result<u64, &'static str> {
        let Some(cursor) = Cursor::parse(text) else { return Err("changed") };
        if self.epoch.as_deref() != Some(&cursor.epoch) {
            return Err("epoch");
        }
        if cursor.hash != shape.hash {
            return Err("changed");
        }
        // Compared with the log and not with this table's head: the cursor may come from another
        // connection, to which a commit was sent that this table has not finished yet.
        if cursor.position > self.shared.log.lock().head {
            return Err("epoch");
        }
        if cursor.position < self.history.floor().max(self.cut) {
            return Err("trimmed");
        }
        Ok(cursor.position)
    }

    /// Notes that the client has read a page; false if there is no such subscription.
    fn next_page(&mut self, id: u64) -> bool {
        let Some(sub) = self.subs.get_mut(&id) else { return false };
        if let Phase::Reading { asked, next, .. } = &mut sub.phase
            && *next > 0
        {
            *asked = true;
            self.after.ready.push(id);
        }
        true
    }

    /// Begins to wait for a transaction. If the log does not have it, the source is asked for its
    /// position. False if there is no such subscription.
    fn wait(&mut self, id: u64, now: Time, tx: String) -> bool {
        let position = self.shared.log.lock().ring.position_of(&tx);
        let most = self.shared.limits.waits;
        let Some(sub) = self.subs.get_mut(&id) else { return false };
        if sub.waits.iter().any(|wait| wait.tx == tx) {
            return true;
        }
        if sub.waits.len() >= most {
            let frame = TableFrame::Seen { sid: sub.sid.clone(), tx, code: Some(codes::TIMEOUT.to_owned()) };
            sub.outgoing.put(frame.encode().into(), &mut self.after.due);
            return true;
        }
        sub.waits.push(Wait { tx: tx.clone(), position, until: now.after(WAIT_MS) });
        self.waiting.insert(id);
        match position {
            Some(_) => self.answer_waits(id),
            None => self.request_position(id, tx),
        }
        true
    }

    /// Resets a subscription if its user may now see other rows.
    fn renew(&mut self, id: u64, identity: &Identity) {
        let Some(group) = self.subs.get(&id).and_then(|sub| self.groups.get(&sub.group)) else { return };
        let allowed = self.rights.permission(identity);
        if allowed.is_none_or(|allowed| allowed.text != group.shape.permission) {
            self.reset(id, "access", SPREAD_MS);
        }
    }
}

fn not_subscribed() -> Refusal {
    Refusal::new(codes::NOT_SUBSCRIBED, "subscribe first")
}

fn forbidden() -> Refusal {
    Refusal::new(codes::FORBIDDEN, "this user may see no rows of this table")
}

fn refused_filter(error: FilterError) -> Refusal {
    Refusal { at: Some(error.at as u64), ..Refusal::new(error.code(), error.to_string()) }
}
