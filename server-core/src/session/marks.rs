//! How far channels were read: frames about read positions (protocol section 3).

use super::state::{Flow, Session};
use super::waiting::Waiting;
use crate::access::Identity;
use crate::dialog::Channel;
use crate::store::{Positions, Read, StoreError};
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::{ChannelName, MAX_RECEIPTS, Marks, Offset, ServerFrame, codes};

/// When what the store could not do may be tried again, in ms.
const RETRY_MS: u64 = 1_000;

impl Session {
    /// The user has read a channel up to an event. The answer comes after the commit.
    pub(super) fn mark(&mut self, now: Now, identity: &Identity, ch: &ChannelName, offset: Offset) {
        let Some(channel) = self.subscribed(ch) else {
            return self.refuse_mark(ch, codes::NOT_SUBSCRIBED, None);
        };
        if offset == Offset::ZERO || offset > channel.extent().head {
            return self.refuse_mark(ch, codes::BAD_OFFSET, None);
        }
        let positions = self.engine().hub.positions();
        positions.mark(&channel.readers, identity.key(), &identity.shown(), offset, self.outgoing());
        positions.store(now.mono, self.engine().store.as_ref());
    }

    /// Tells how far a channel was read, from now on.
    pub(super) fn marks(&mut self, identity: &Identity, ch: &ChannelName) -> Flow {
        let Some(channel) = self.subscribed(ch) else {
            self.refuse_mark(ch, codes::NOT_SUBSCRIBED, None);
            return Flow::Ready;
        };
        // Counting what is unread reads events.
        if let Err(wait) = self.may_page() {
            self.refuse_mark(ch, codes::RATE_LIMITED, Some(wait));
            return Flow::Ready;
        }
        let (key, outgoing) = (identity.key(), self.outgoing().clone());
        // Before the store is read: what is stored meanwhile is told besides.
        self.subscriptions().within(ch, |channel| channel.readers.follow(&key, &outgoing));
        let to = channel.extent().head;
        let ask = Read::Positions { channel: channel.id, user: key, to, most: MAX_RECEIPTS + 1 };
        self.wait(Waiting::Marks(channel, to));
        Flow::Read(ask)
    }

    /// Continues with the positions that were read.
    pub(super) fn marks_found(
        &mut self,
        channel: &Arc<Channel>,
        head: Offset,
        found: Result<Positions, StoreError>,
    ) -> Flow {
        match found {
            Ok(found) => {
                self.paged(found.scanned);
                channel.readers.tell(self.outgoing().id(), found, head);
            }
            Err(error) => self.refuse_mark(&channel.name, error.code(), Some(RETRY_MS)),
        }
        Flow::Ready
    }

    fn refuse_mark(&self, ch: &ChannelName, code: &str, retry_after_ms: Option<u64>) {
        let refused = Some(code.to_owned());
        let frame = Marks { refused, retry_after_ms, ..Marks::new(ch.clone()) };
        self.outgoing().send(&ServerFrame::Marks(frame));
    }
}
