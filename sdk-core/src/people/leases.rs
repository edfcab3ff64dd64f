//! The leases that this client holds in a channel.

use crate::error::SendError;
use crate::time::Time;
use crate::wire::{ChannelName, LeaseRequest, TYPING};

/// Most leases that a client holds in a channel.
const MOST: usize = 8;
/// Somebody who is writing says so again after this time, in ms.
const TYPING_AGAIN_MS: u64 = 3_000;
/// Who has not said for this long that they are writing no longer is, in ms.
const TYPING_MS: u64 = 6_000;

/// How long ago a lease was set is told from this on, in ms.
const AGED_MS: u64 = 1_000;

/// What is held, and what the server is to be told about it.
#[derive(Default)]
pub(crate) struct Leases {
    held: Vec<Held>,
    typing: Typing,
}

struct Held {
    kind: String,
    /// None once it is given up, until the server was told.
    body: Option<String>,
    /// When it was set.
    since: Time,
    /// Whether this connection's server was told.
    told: bool,
}

#[derive(Default)]
struct Typing {
    /// When the server was last told that the user is writing, unless it was told of the end.
    since: Option<Time>,
    /// What it is to be told now.
    tell: Option<bool>,
}

impl Leases {
    /// Holds a lease with this body, or gives it up.
    pub(crate) fn set(&mut self, now: Time, kind: &str, body: Option<&str>) -> Result<(), SendError> {
        let body = body.map(str::to_owned);
        let at = self.held.iter().position(|held| held.kind == kind);
        // One that was given up, and of which the server was not told, is held no more.
        let is_new = body.is_some() && at.is_none_or(|at| self.held[at].body.is_none());
        if is_new && self.held.iter().filter(|held| held.body.is_some()).count() >= MOST {
            return Err(SendError::TooManyLeases);
        }
        match at.map(|at| &mut self.held[at]) {
            Some(held) if held.body == body => {}
            Some(held) => (held.body, held.since, held.told) = (body, now, false),
            None if is_new => self.held.push(Held { kind: kind.to_owned(), body, since: now, told: false }),
            None => {}
        }
        Ok(())
    }

    /// The user writes, or has stopped. Said again and again it is told at most every 3 s. Without a
    /// live channel it is not told later either.
    pub(crate) fn typing(&mut self, now: Time, live: bool, on: bool) {
        let recent = |ms| self.typing.since.is_some_and(|since| now < since.after(ms));
        if !on {
            self.typing.tell = recent(TYPING_MS).then_some(false);
            self.typing.since = None;
        } else if live && !recent(TYPING_AGAIN_MS) {
            self.typing = Typing { since: Some(now), tell: Some(true) };
        }
    }

    /// The user sent a message, which ends their writing.
    pub(crate) fn said(&mut self) {
        self.typing = Typing::default();
    }

    /// The connection is gone, or another one takes over. A server that is told again within the
    /// grace shows no change.
    pub(crate) fn disconnected(&mut self) {
        self.held.iter_mut().for_each(|held| held.told = false);
        self.typing = Typing::default();
    }

    /// Whether the server is to be told something.
    pub(crate) fn wait(&self) -> bool {
        self.typing.tell.is_some() || self.held.iter().any(|held| !held.told)
    }

    /// What the server is to be told next; it counts as told from now on.
    pub(crate) fn next(&mut self, now: Time, ch: &ChannelName) -> Option<LeaseRequest> {
        let request = |kind: &str, body, for_ms| LeaseRequest {
            ch: ch.clone(),
            kind: kind.to_owned(),
            body,
            for_ms,
            age_ms: None,
        };
        if let Some(on) = self.typing.tell.take() {
            return Some(request(TYPING, on.then(|| "{}".to_owned()), on.then_some(TYPING_MS)));
        }
        let at = self.held.iter().position(|held| !held.told)?;
        let mut told = request(&self.held[at].kind, self.held[at].body.clone(), None);
        let age_ms = now.since(self.held[at].since);
        told.age_ms = Some(age_ms).filter(|age_ms| *age_ms >= AGED_MS && told.body.is_some());
        match told.body {
            Some(_) => self.held[at].told = true,
            None => drop(self.held.remove(at)),
        }
        Some(told)
    }

    /// Another user signed in: what the former one was doing is not said in their name.
    pub(crate) fn forget(&mut self) {
        *self = Leases::default();
    }
}
