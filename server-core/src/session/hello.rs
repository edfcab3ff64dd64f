//! A connection's first frame, and the tokens that follow (protocol sections 2 and 7).

use super::state::{Flow, Session, ms};
use super::waiting::{Greeting, Waiting};
use crate::access::{Denied, Identity};
use crate::connections::ClientRun;
use crate::store::{Read, StoreError};
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
        let identity = match self.engine.identify(&token.0, now) {
            Ok(identity) => Arc::new(identity),
            Err(error) => return self.refuse_token(&error),
        };
        let run = session.map(|session| ClientRun {
            client: client.to_ascii_lowercase(),
            session: session.to_ascii_lowercase(),
        });
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
            user: identity.user.clone(),
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

    pub(super) fn auth(&mut self, now: Now, current: &Identity, token: &str) -> Flow {
        let identity = match self.engine.identify(token, now) {
            Ok(identity) => Arc::new(identity),
            Err(error) => return self.refuse_token(&error),
        };
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
            .send(&ServerFrame::AuthOk { user: identity.user.clone(), token_ttl_ms: identity.ttl_ms(now) });
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
