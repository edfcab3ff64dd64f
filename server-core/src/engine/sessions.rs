//! Writes sessions, with effect on live connections (protocol section 7).

use super::Engine;
use crate::lock::calls_out;
use crate::store::{Account, Done, Outcome, SessionRow, Write};
use std::sync::Arc;

impl Engine {
    /// Stores a session. Before `done` is called it has taken effect for live connections: what it
    /// no longer allows has ended.
    pub fn put_session(self: &Arc<Self>, row: SessionRow, done: Done) {
        let engine = self.clone();
        let stored = row.clone();
        calls_out();
        self.store.write(
            Write::PutSession(row),
            Box::new(move |result| {
                if matches!(result, Ok(Outcome::Done)) {
                    let user = stored.key();
                    engine.access.sessions.put(stored);
                    engine.session_changed(&user);
                }
                done(result);
            }),
        );
    }

    /// Ends a session of an account. Before `done` is called its connections are closed, also if
    /// the store failed: then it may come back, and has to be ended again.
    pub fn end_session(self: &Arc<Self>, id: String, account: Account, done: Done) {
        let engine = self.clone();
        let end = Write::EndSession { id: id.clone(), account: account.clone() };
        calls_out();
        self.store.write(
            end,
            Box::new(move |result| {
                let sessions = &engine.access.sessions;
                let is_ours = sessions.row(&id).is_some_and(|row| row.account == account);
                if matches!(result, Ok(Outcome::Done)) || (result.is_err() && is_ours) {
                    let ended = sessions.end(&id);
                    tracing::info!(user = ended.as_ref().map(|row| row.key()), "session ended");
                    if let Some(row) = ended {
                        engine.session_changed(&row.key());
                    }
                }
                done(result);
            }),
        );
    }

    /// Applies a change to the live connections of the session's user.
    fn session_changed(&self, user: &str) {
        self.connections.enforce(user, &self.access);
        let members = self.connections.of_user(user);
        for (identity, subscriptions, outgoing) in members.iter().filter(|(of, ..)| of.session.is_some()) {
            subscriptions.show_as(identity);
            if let Some(tables) = &self.tables {
                tables.renew(outgoing.id(), identity);
            }
        }
    }
}
