//! A connection's frames about live tables (protocol section 12).

use super::state::{Flow, Session};
use crate::access::Identity;
use crate::engine::counted;
use crate::tables::{Asker, Owner};
use tidewire_core::Now;
use tidewire_core::wire::{Problem, TableFrame, TableRequest, TableSub, UserKind, codes};

impl Session {
    pub(super) fn table(&mut self, now: Now, identity: &Identity, request: TableRequest) -> Flow {
        if let TableRequest::Sub(TableSub { sid, .. }) = &request
            && let Err(wait_ms) = self.table_subs.take(now.mono)
        {
            let problem = Problem {
                code: codes::RATE_LIMITED.to_owned(),
                message: "too many subscriptions to tables were begun in a short time".to_owned(),
                retry_after_ms: Some(wait_ms),
            };
            let frame = TableFrame::Err { sid: sid.clone(), problem, at: None, retryable: true };
            if let Some(tables) = &self.engine.tables {
                // An accepted one would have replaced the subscription with this `sid`, so that one
                // ends.
                let unsub = TableRequest::Unsub { sid: sid.clone() };
                tables.request(&self.asker(identity), now.mono, unsub);
            }
            self.outgoing.push(frame.encode().into());
            return self.flooded(now).unwrap_or(Flow::Ready);
        }
        match (&self.engine.tables, request) {
            (Some(tables), request) => tables.request(&self.asker(identity), now.mono, request),
            (None, TableRequest::Sub(TableSub { sid, .. })) => {
                let problem = Problem {
                    code: codes::UNKNOWN_TABLE.to_owned(),
                    message: "this server has no tables for clients".to_owned(),
                    retry_after_ms: None,
                };
                let frame = TableFrame::Err { sid, problem, at: None, retryable: false };
                self.outgoing.push(frame.encode().into());
            }
            (None, _) => {}
        }
        Flow::Ready
    }

    /// The connection, its user, and the owner whose budgets it uses. Anybody can be many guests,
    /// so all guests of an address share one owner, where addresses are counted.
    fn asker<'a>(&'a self, identity: &'a Identity) -> Asker<'a> {
        let owner = match identity.user.kind {
            UserKind::Guest if self.engine.handshakes.is_some() => {
                Owner::from(counted(self.address).to_string())
            }
            _ => Owner::from(identity.key()),
        };
        Asker { outgoing: &self.outgoing, identity, owner }
    }

    pub(super) fn leave_tables(&self) {
        if let Some(tables) = &self.engine.tables {
            tables.leave(self.outgoing.id());
        }
    }
}
