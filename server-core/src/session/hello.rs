//! A connection's first frame, and the tokens that follow (protocol sections 2 and 7).

use super::state::{Flow, Session, ms};
use super::waiting::{Beginning, Greeting, Purpose, Waiting};
use crate::access::{AuthError, Denied, Identity, Pending};
use crate::connections::ClientRun;
use crate::engine::Identified;
use crate::store::{Read, SessionRow, StoreError};
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::codes::{self, close};
use tidewire_core::wire::{ChannelName, ClientFrame, ServerFrame, VERSION, Welcome, is_uuid};

impl Session {
    pub(super) fn first_frame(&mut self, now: Now, frame: ClientFrame) -> Flow {
        let ClientFrame::Hello { v, token, client, session, agent, subs } = frame else {
            if frame != ClientFrame::Bye {
                return self.refuse(
                    close::BAD_REQUEST,
                    codes::HELLO_REQUIRED,
                    "the first frame must be hello",
                );
            }
            self.outgoing.close(close::NORMAL, "bye");
            return Flow::End;
        };
        if v != VERSION {
            let message = format!("this server speaks version {VERSION}");
            return self.refuse(close::UNSUPPORTED_VERSION, codes::UNSUPPORTED_VERSION, &message);
        }
        if !is_uuid(&client) {
            return self.bad_frame(now, codes::BAD_FRAME, "member `client` is missing or invalid");
        }
        if session.as_ref().is_some_and(|session| !is_uuid(session)) {
            return self.bad_frame(now, codes::BAD_FRAME, "member `session` is invalid");
        }
        let run = session.map(|session| ClientRun {
            client: client.to_ascii_lowercase(),
            session: session.to_ascii_lowercase(),
        });
        // What the frame says counts, whatever came with the connection.
        let offered = self.offered.take();
        let token = token.map(Ok).or(offered).unwrap_or_else(|| Err(AuthError::none()));
        match token.and_then(|token| self.engine.identify(&token.0, now)) {
            Ok(identified) => {
                self.identified(now, identified, Purpose::Hello(Beginning { run, agent, subs }))
            }
            Err(error) => self.refuse_token(&error),
        }
    }

    /// Continues with a credential that is valid as far as it says itself.
    fn identified(&mut self, now: Now, identified: Identified, purpose: Purpose) -> Flow {
        match identified {
            Identified::Known(identity) => self.known(now, identity, purpose),
            Identified::Unread(read, pending) => {
                self.wait(Waiting::Credential(pending, purpose));
                Flow::Read(read)
            }
        }
    }

    /// Continues once the session of a credential was read. Without it nobody is let in.
    pub(super) fn session_found(
        &mut self,
        now: Now,
        pending: Pending,
        purpose: Purpose,
        found: Result<Option<SessionRow>, StoreError>,
    ) -> Flow {
        match found {
            Ok(row) => match self.engine.session_read(pending, row, now) {
                Ok(identity) => self.known(now, identity, purpose),
                Err(error) => self.refuse_token(&error),
            },
            Err(error) => self.refuse(close::INTERNAL, error.code(), &error.to_string()),
        }
    }

    fn known(&mut self, now: Now, mut identity: Identity, purpose: Purpose) -> Flow {
        if let Err(error) = self.engine.admit_from(&mut identity, &self.page) {
            return self.refuse_token(&error);
        }
        let identity = Arc::new(identity);
        match (purpose, self.identity.clone()) {
            (Purpose::Hello(beginning), _) => self.claim(now, identity, beginning),
            (Purpose::Auth, Some(current)) => self.renewed(now, &current, identity),
            (Purpose::Auth, None) => self.lost(),
        }
    }

    /// Takes the user's place among the connections.
    fn claim(&mut self, now: Now, identity: Arc<Identity>, beginning: Beginning) -> Flow {
        let Beginning { run, agent, subs } = beginning;
        let Some(registration) = &mut self.registration else { return self.lost() };
        if !registration.claim(&identity, run) {
            return self.refuse(
                close::TOO_MANY_CONNECTIONS,
                codes::TOO_MANY_CONNECTIONS,
                "this user has all the connections they may have",
            );
        }
        // Checked again: a revocation that came after the first check did not find this connection
        // yet.
        if let Err(error) = self.engine.not_revoked(&identity) {
            return self.refuse_token(&error);
        }
        let greeting = Greeting { identity, agent, subs };
        if !self.engine.hub.rules().names_members() {
            return self.greet(now, greeting);
        }
        let user = greeting.identity.key();
        let unknown = self.engine.access.memberships.enter(&user);
        self.member = Some(user.clone());
        if !unknown {
            return self.greet(now, greeting);
        }
        self.wait(Waiting::Hello(greeting));
        Flow::Read(Read::Memberships(user))
    }

    /// Continues once the user's memberships were read.
    pub(super) fn greet_member(
        &mut self,
        now: Now,
        greeting: Greeting,
        found: Result<Vec<ChannelName>, StoreError>,
    ) -> Flow {
        match found {
            Ok(channels) => {
                self.engine.access.memberships.loaded(&greeting.identity.key(), channels);
                self.greet(now, greeting)
            }
            Err(error) => self.refuse(close::INTERNAL, error.code(), &error.to_string()),
        }
    }

    fn greet(&mut self, now: Now, Greeting { identity, agent, subs }: Greeting) -> Flow {
        let conn = self.outgoing.id();
        tracing::info!(conn, user = identity.user.id, kind = identity.user.kind.as_str(), agent, "hello");
        let budget = self.engine.limits.budget(identity.user.kind);
        let times = &self.engine.timeouts;
        self.next_ping = now.mono.after(ms(times.ping));
        self.outgoing.send(&ServerFrame::Welcome(Welcome {
            conn: format!("c{conn}"),
            user: identity.shown(),
            now: now.wall,
            ping_ms: ms(times.ping),
            grace_ms: ms(times.grace),
            token_ttl_ms: identity.ttl_ms(now),
            limits: self.engine.limits.announced(budget),
        }));
        self.identity = Some(identity);
        // They come before the other frames of the same message.
        subs.into_iter().rev().for_each(|sub| self.todo.push_front(ClientFrame::Sub(sub)));
        Flow::Ready
    }

    pub(super) fn auth(&mut self, now: Now, token: &str) -> Flow {
        match self.engine.identify(token, now) {
            Ok(identified) => self.identified(now, identified, Purpose::Auth),
            Err(error) => self.refuse_token(&error),
        }
    }

    /// Continues with a newer token.
    fn renewed(&mut self, now: Now, current: &Identity, identity: Arc<Identity>) -> Flow {
        if identity.key() != current.key() {
            return self.refuse(
                close::FORBIDDEN,
                codes::USER_CHANGED,
                "the new token is for another user; open another connection",
            );
        }
        if let Some(registration) = &self.registration {
            registration.renew(&identity);
        }
        if let Err(error) = self.engine.not_revoked(&identity) {
            return self.refuse_token(&error);
        }
        self.outgoing
            .send(&ServerFrame::AuthOk { user: identity.shown(), token_ttl_ms: identity.ttl_ms(now) });
        // Subscriptions that the new token does not allow end at once.
        let access = &self.engine.access;
        let lost = self.subscriptions.retain(|channel| access.may_read(&identity, channel));
        self.subscriptions.release(self.outgoing.id(), |channel| access.may_signal(&identity, channel));
        if let Some(tables) = &self.engine.tables {
            tables.renew(self.outgoing.id(), &identity);
        }
        self.identity = Some(identity);
        for (ch, _) in lost {
            self.sub_denied(ch, Denied::Forbidden);
        }
        Flow::Ready
    }
}
