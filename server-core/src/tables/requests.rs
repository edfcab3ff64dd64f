//! What clients ask of tables.

use super::Tables;
use super::cursor::Cursor;
use super::lagging::Owner;
use super::refusal::{RETRY_MS, Refusal, too_many_unindexed, unavailable};
use super::shape::{Misshapen, Shape};
use super::state::{Phase, State, Sub, Wait};
use crate::access::Identity;
use crate::outgoing::Outgoing;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::tables::filter::{Filter, FilterError};
use tidewire_core::wire::{TableFrame, TableRequest, TableSub, codes};

/// How long a client waits for a transaction, in ms.
const WAIT_MS: u64 = 10_000;
/// Over how many ms a client spreads its return when only it must, in ms.
const SPREAD_MS: u64 = 1_000;

/// Who asks.
pub(crate) struct Asker<'a> {
    pub(crate) outgoing: &'a Arc<Outgoing>,
    pub(crate) identity: &'a Identity,
    pub(crate) owner: Owner,
}

impl Tables {
    /// Handles what a connection's client asks.
    pub(crate) fn request(self: &Arc<Self>, asker: &Asker<'_>, now: Time, request: TableRequest) {
        let outgoing = asker.outgoing;
        match request {
            TableRequest::Sub(sub) => self.subscribe(asker, now, sub),
            TableRequest::Next { sid } => {
                let mut state = self.state.lock();
                state.next_page(outgoing, sid);
                self.wake_if_lagging(&state);
            }
            TableRequest::Wait { sid, tx } => {
                if self.state.lock().wait(outgoing, now, sid, tx) {
                    (self.wake)();
                }
            }
            TableRequest::Unsub { sid } => {
                let mut state = self.state.lock();
                if let Some(id) = state.named(outgoing.id(), &sid) {
                    state.remove(id);
                }
            }
        }
    }

    fn subscribe(&self, asker: &Asker<'_>, now: Time, sub: TableSub) {
        let sid = sub.sid.clone();
        if let Err(refusal) = self.try_subscribe(asker, now, sub) {
            self.state.lock().forget(asker.outgoing.id(), &sid);
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
        let (at, schema, permission) = {
            let state = self.state.lock();
            let at = state.tables.iter().position(|known| known.name == table);
            let Some((at, found)) = at.and_then(|at| Some((at, state.tables.get(at)?))) else {
                return Err(Refusal::new(codes::UNKNOWN_TABLE, "this server has no such table for clients"));
            };
            let Some(permission) = found.permission(asker.identity) else { return Err(forbidden()) };
            (at, found.schema.clone(), permission)
        };
        // Filters take a while to read; others must not wait for it.
        let shape = Shape::new((at, &table), &schema, permission, filter, select.as_deref());
        let shape = shape.map_err(|error| match error {
            Misshapen::Column(message) => Refusal::new(codes::BAD_COLUMN, message),
            Misshapen::Filter(error) => refused_filter(error),
            Misshapen::Forbidden => forbidden(),
        })?;
        let mut state = self.state.lock();
        state.now = state.now.max(now);
        if state.tables.get(at).is_none_or(|table| !Arc::ptr_eq(&table.schema, &schema)) {
            return Err(Refusal::later(codes::TABLE_UNAVAILABLE, "the table has just changed", RETRY_MS));
        }
        let asked = state.add(asker, sid, shape, cursor.as_deref())? || !state.lagging.is_empty();
        drop(state);
        if asked {
            (self.wake)();
        }
        Ok(())
    }

    /// There is room in a connection's queue.
    pub(crate) fn refill(&self, conn: u64) {
        let mut state = self.state.lock();
        let subs: Vec<u64> =
            state.connections.get(&conn).into_iter().flat_map(|sids| sids.values()).copied().collect();
        for id in subs {
            state.serve(id);
        }
        self.wake_if_lagging(&state);
    }

    /// A connection's user has other claims: what they may see has changed, or not.
    pub(crate) fn renew(&self, conn: u64, identity: &Identity) {
        let mut state = self.state.lock();
        let subs: Vec<u64> =
            state.connections.get(&conn).into_iter().flat_map(|sids| sids.values()).copied().collect();
        for id in subs {
            let Some(group) = state.subs.get(&id).and_then(|sub| state.groups.get(&sub.group)) else {
                continue;
            };
            let table = state.tables.get(group.shape.table);
            let allowed = table.and_then(|table| table.permission(identity));
            if allowed.is_none_or(|allowed| allowed.text != group.shape.permission) {
                state.reset(id, "access", SPREAD_MS);
            }
        }
    }

    /// A connection is over.
    pub(crate) fn leave(&self, conn: u64) {
        self.state.lock().leave(conn);
    }
}

impl State {
    fn named(&self, conn: u64, sid: &str) -> Option<u64> {
        self.connections.get(&conn)?.get(sid).copied()
    }

    /// Ends a subscription of which the client thinks that it is replaced.
    fn forget(&mut self, conn: u64, sid: &str) {
        if let Some(id) = self.named(conn, sid) {
            self.remove(id);
        }
    }

    /// Begins a subscription, in the place of one with the same name; whether the source is to be
    /// asked for something.
    fn add(
        &mut self,
        asker: &Asker<'_>,
        sid: String,
        shape: Shape,
        cursor: Option<&str>,
    ) -> Result<bool, Refusal> {
        let outgoing = asker.outgoing;
        let conn = outgoing.id();
        self.forget(conn, &sid);
        if self.epoch.is_none() {
            return Err(unavailable());
        }
        let most = self.limits.subscriptions;
        if self.connections.get(&conn).is_some_and(|sids| sids.len() >= most) {
            let message = format!("a connection may have at most {most} subscriptions to tables");
            return Err(Refusal::new(codes::TOO_MANY_SUBSCRIPTIONS, message));
        }
        if self.subs.len() >= self.limits.total {
            let message = "the server has all the subscriptions to tables that it may have";
            return Err(Refusal::later(codes::TOO_MANY_SUBSCRIPTIONS, message, 10 * RETRY_MS));
        }
        let from = cursor.map(|cursor| self.resumable(cursor, &shape));
        let Some(group) = self.group(shape, &asker.owner) else {
            return Err(too_many_unindexed());
        };
        let (phase, applied) = match from {
            Some(Ok(position)) => (Phase::Resuming, position),
            Some(Err(reason)) => (Phase::Waiting(Some(reason)), 0),
            None => (Phase::Waiting(None), 0),
        };
        let asks = matches!(phase, Phase::Waiting(_));
        let id = self.id();
        self.connections.entry(conn).or_default().insert(sid.clone(), id);
        if let Some(group) = self.groups.get_mut(&group) {
            group.members.insert(id);
        }
        let owner = asker.owner.clone();
        let sub =
            Sub { owner, outgoing: outgoing.clone(), sid, group, phase, last: 0, applied, waits: Vec::new() };
        self.subs.insert(id, sub);
        // Nobody would end it, if the connection ended before it was here.
        if outgoing.is_closing() {
            self.remove(id);
            return Ok(false);
        }
        if asks {
            self.want_snapshot(group, 1);
        } else {
            self.serve(id);
        }
        Ok(asks)
    }

    /// Where a cursor goes on, or why it can't.
    fn resumable(&self, text: &str, shape: &Shape) -> Result<u64, &'static str> {
        let Some(cursor) = Cursor::parse(text) else { return Err("changed") };
        if self.epoch.as_deref() != Some(&cursor.epoch) {
            return Err("epoch");
        }
        if cursor.hash != shape.hash {
            return Err("changed");
        }
        if cursor.position > self.head {
            return Err("epoch");
        }
        let cut = self.tables.get(shape.table).map_or(0, |table| table.floor);
        if cursor.position < self.ring.floor().max(cut) {
            return Err("trimmed");
        }
        Ok(cursor.position)
    }

    fn next_page(&mut self, outgoing: &Arc<Outgoing>, sid: String) {
        let Some(id) = self.named(outgoing.id(), &sid) else {
            outgoing.push(not_subscribed().frame(sid));
            return;
        };
        if let Some(Sub { phase: Phase::Reading { asked, next, .. }, .. }) = self.subs.get_mut(&id)
            && *next > 0
        {
            *asked = true;
            self.serve(id);
        }
    }

    /// Notes that a client waits for a transaction; whether the source is to be asked for it.
    fn wait(&mut self, outgoing: &Arc<Outgoing>, now: Time, sid: String, tx: String) -> bool {
        let Some(id) = self.named(outgoing.id(), &sid) else {
            outgoing.push(not_subscribed().frame(sid));
            return false;
        };
        let position = self.ring.position_of(&tx);
        let most = self.limits.waits;
        let Some(sub) = self.subs.get_mut(&id) else { return false };
        if sub.waits.iter().any(|wait| wait.tx == tx) {
            return false;
        }
        if sub.waits.len() >= most {
            let frame = TableFrame::Seen { sid, tx, code: Some(codes::TIMEOUT.to_owned()) };
            outgoing.push(frame.encode().into());
            return false;
        }
        sub.waits.push(Wait { tx: tx.clone(), position, until: now.after(WAIT_MS) });
        self.waiting.insert(id);
        if position.is_some() {
            self.settle(id);
            return false;
        }
        self.want_position(id, tx);
        true
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
