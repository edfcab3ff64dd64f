//! How a subscription begins: the channel is read, and the connection becomes one of its
//! subscribers (protocol section 5).

use super::state::{Flow, Session};
use super::waiting::{PageRequest, Waiting};
use crate::access::{self, Denied, Identity};
use crate::dialog::Channel;
use crate::store::{Read, StoreError};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, Offset, Problem, ServerFrame, Subscription, codes};

/// When a client may try again if a dialog has all the connections it may have, in ms.
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
            Some(channel) => self.subscribe_to(identity, sub, Ok(Some(channel))),
            None => {
                let ask = Read::Channel(sub.ch.clone());
                self.wait(Waiting::Sub(sub));
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
    ) -> Flow {
        match access::visible(found, identity, &self.engine().revocations) {
            Ok(channel) => {
                if !self.subscriptions().has(&ch) {
                    let most = self.engine().limits.connections_per_dialog;
                    let Some(subscriber) = channel.subscribe(self.outgoing().id(), most) else {
                        self.dialog_full(ch);
                        return Flow::Ready;
                    };
                    self.subscriptions().insert(ch.clone(), subscriber);
                    // Checked again: a revocation that came after the first check did not find this
                    // subscription yet.
                    if !access::may_see(identity, &channel, &self.engine().revocations) {
                        if self.subscriptions().remove(&ch) {
                            self.sub_denied(ch, Denied::Forbidden);
                        }
                        return Flow::Ready;
                    }
                }
                self.page(channel, PageRequest::Sub(want))
            }
            Err(denied) => {
                self.subscriptions().remove(&ch);
                self.sub_denied(ch, denied);
                Flow::Ready
            }
        }
    }

    /// Sends the events after an offset.
    pub(super) fn next_page(&mut self, ch: ChannelName, from: Offset) -> Flow {
        match self.subscriptions().channel(&ch) {
            Some(channel) => self.page(channel, PageRequest::Next(from)),
            None => {
                self.sub_err(ch, codes::NOT_SUBSCRIBED, "subscribe first".to_owned(), false);
                Flow::Ready
            }
        }
    }

    fn dialog_full(&self, ch: ChannelName) {
        let problem = Problem {
            code: codes::TOO_MANY_CONNECTIONS.to_owned(),
            message: "this dialog has all the connections it may have".to_owned(),
            retry_after_ms: Some(FULL_RETRY_MS),
        };
        self.outgoing().send(&ServerFrame::SubErr { ch, problem, retryable: true });
    }
}
