//! How a subscription begins: the channel is read, and the connection becomes one of its
//! subscribers (protocol section 5).

use super::state::{Flow, Session};
use super::waiting::{PageRequest, Waiting};
use crate::access::{Denied, Identity};
use crate::dialog::Channel;
use crate::store::{Account, Read, StoreError};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, Offset, Problem, ServerFrame, Subscription, UserKind, codes};

/// When a client may try again if a channel has all the connections it may have, in ms.
const FULL_RETRY_MS: u64 = 5_000;

impl Session {
    /// Reads the channel, unless the connection has all the subscriptions it may have.
    pub(super) fn subscribe(&mut self, identity: &Identity, sub: Subscription) -> Flow {
        let most = self.engine().limits.subscriptions;
        if !self.subscriptions().has(&sub.ch) && self.subscriptions().count() >= most {
            let message = format!("a connection may have at most {most} subscriptions");
            self.sub_err(sub.ch, codes::TOO_MANY_SUBSCRIPTIONS, message, false);
            return Flow::Ready;
        }
        match self.engine().hub.loaded(&sub.ch) {
            Some(channel) => self.subscribe_to(identity, sub, Ok(Some(channel)), false),
            None => {
                let ask = Read::Channel(sub.ch.clone());
                self.wait(Waiting::Sub(sub, false));
                Flow::Read(ask)
            }
        }
    }

    /// Continues once the channel was read.
    pub(super) fn subscribe_to(
        &mut self,
        identity: &Identity,
        Subscription { ch, want }: Subscription,
        found: Result<Option<Arc<Channel>>, StoreError>,
        opened: bool,
    ) -> Flow {
        if let Ok(None) = &found
            && !opened
            && self.opens(identity, &ch)
        {
            if let Err(wait) = self.may_open(identity) {
                self.not_yet(ch, codes::RATE_LIMITED, "too many channels were opened; wait a little", wait);
                return Flow::Ready;
            }
            self.wait(Waiting::Sub(Subscription { ch: ch.clone(), want }, true));
            return Flow::Open(ch, identity.account.clone().unwrap_or(Account::Own));
        }
        let access = &self.engine().access;
        match access.visible(found, identity) {
            Ok(channel) => {
                if !self.subscriptions().has(&ch) {
                    let most = channel.rule().and_then(|matched| matched.rule.connections);
                    let most = most.unwrap_or(self.engine().limits.connections_per_dialog);
                    let Some(subscriber) = channel.subscribe(self.outgoing().id(), most) else {
                        let message = "this channel has all the connections it may have";
                        self.not_yet(ch, codes::TOO_MANY_CONNECTIONS, message, FULL_RETRY_MS);
                        return Flow::Ready;
                    };
                    self.subscriptions().insert(ch.clone(), subscriber);
                    // Checked again: a revocation that came after the first check did not find this
                    // subscription yet.
                    if !self.engine().access.may_read(identity, &channel) {
                        if self.subscriptions().leave(&ch) {
                            self.sub_denied(ch, Denied::Forbidden);
                        }
                        return Flow::Ready;
                    }
                    if !self.is_request && identity.user.kind != UserKind::Service {
                        self.subscriptions().enter(&ch, self.outgoing().id(), identity, self.now());
                    }
                }
                self.page(channel, PageRequest::Sub(want))
            }
            Err(denied) => {
                self.subscriptions().leave(&ch);
                self.sub_denied(ch, denied);
                Flow::Ready
            }
        }
    }

    /// Sends the events after an offset.
    pub(super) fn next_page(&mut self, ch: ChannelName, from: Offset) -> Flow {
        match self.subscriptions().channel(&ch) {
            Some(channel) => self.page(channel, PageRequest::Next(from)),
            None => self.not_subscribed(ch),
        }
    }

    pub(super) fn not_subscribed(&mut self, ch: ChannelName) -> Flow {
        self.sub_err(ch, codes::NOT_SUBSCRIBED, "subscribe first".to_owned(), false);
        Flow::Ready
    }

    /// Whether a channel that does not exist comes into being because this user asks for it.
    pub(super) fn opens(&self, identity: &Identity, name: &ChannelName) -> bool {
        let matched = self.engine().hub.rules().of(name);
        matched.is_some_and(|matched| self.engine().access.opens(identity, name, &matched))
    }

    /// Takes the opening of a channel out of the user's budget; the error is the time to wait, in
    /// ms.
    pub(super) fn may_open(&self, identity: &Identity) -> Result<(), u64> {
        let budget = self.engine().limits.new_dialogs;
        self.engine().limiter.take(&format!("channels:{}", identity.key()), budget, self.at())
    }

    /// Refuses a subscription for some time.
    pub(super) fn not_yet(&self, ch: ChannelName, code: &str, message: &str, wait_ms: u64) {
        let problem =
            Problem { code: code.to_owned(), message: message.to_owned(), retry_after_ms: Some(wait_ms) };
        self.outgoing().send(&ServerFrame::SubErr { ch, problem, retryable: true });
    }
}
