//! Who is in a channel: frames about people (protocol section 3).

use super::state::{Flow, Session};
use crate::access::Identity;
use crate::limits::WINDOW_MS;
use crate::people::NOBODY;
use tidewire_core::Now;
use tidewire_core::wire::{
    ChannelName, HERE, LeaseRequest, MAX_BODY_DEPTH, MAX_LEASE_BODY, MAX_LEASE_KIND, codes, json,
};

/// Why a lease is not valid: a code and a message.
fn fault(request: &LeaseRequest) -> Option<(&'static str, String)> {
    let body = request.body.as_deref().unwrap_or_default();
    if request.kind.is_empty() || request.kind == HERE {
        let message = "`kind` of a lease must not be empty, nor `here`, which the server gives";
        return Some((codes::BAD_FRAME, message.to_owned()));
    }
    if json::depth(body) > MAX_BODY_DEPTH {
        let message = format!("`body` of a lease may be nested {MAX_BODY_DEPTH} levels deep");
        return Some((codes::TOO_DEEP, message));
    }
    let sizes = [("kind", request.kind.len(), MAX_LEASE_KIND), ("body", body.len(), MAX_LEASE_BODY)];
    let (member, _, most) = sizes.into_iter().find(|(_, size, most)| size > most)?;
    Some((codes::TOO_LARGE, format!("`{member}` of a lease may have at most {most} bytes")))
}

impl Session {
    /// Tells who is in a channel from now on.
    pub(super) fn watch(&mut self, ch: &ChannelName) {
        let outgoing = self.outgoing();
        if self.subscriptions().within(ch, |channel| channel.people.watch(outgoing)).is_none() {
            self.complain(codes::NOT_SUBSCRIBED, "subscribe to a channel before watching it", None);
        }
    }

    /// Tells it no more.
    pub(super) fn unwatch(&mut self, ch: &ChannelName) {
        if let Some(channel) = self.subscribed(ch) {
            channel.people.unwatch(self.outgoing().id());
        }
    }

    /// The user holds a lease, or gives it up. Leases share the budget of signals.
    pub(super) fn lease(&mut self, now: Now, identity: &Identity, request: LeaseRequest) -> Flow {
        if let Some((code, message)) = fault(&request) {
            return self.bad_frame(now, code, &message);
        }
        if !self.may_signal(now) {
            if let Some(flow) = self.flooded(now) {
                return flow;
            }
            self.complain(codes::RATE_LIMITED, "too many leases; hold fewer, or wait", Some(WINDOW_MS));
            return Flow::Ready;
        }
        let Some(channel) = self.subscribed(&request.ch) else {
            self.complain(codes::NOT_SUBSCRIBED, "subscribe to a channel before holding a lease in it", None);
            return Flow::Ready;
        };
        if request.body.is_some() && !self.engine().access.may_signal(identity, &channel) {
            self.complain(codes::FORBIDDEN, "this user may not hold leases in this channel", None);
            return Flow::Ready;
        }
        // A single request holds nothing after its end but what has an end of its own.
        let conn = if self.is_request { NOBODY } else { self.outgoing().id() };
        if self.is_request && request.body.is_some() && request.for_ms.is_none() {
            return self.bad_frame(now, codes::BAD_FRAME, "a lease of a single request needs `for_ms`");
        }
        let ch = request.ch.clone();
        let held = self.subscriptions().within(&ch, |channel| {
            channel.people.hold(conn, &identity.key(), &identity.shown(), request, now)
        });
        if let Some(Err(refusal)) = held {
            self.complain(refusal.code(), refusal.message(), None);
        }
        // Checked again: whoever took the right away meanwhile did not find this lease yet.
        if !self.engine().access.may_signal(identity, &channel) {
            channel.people.may_not_hold(conn);
        }
        Flow::Ready
    }
}
