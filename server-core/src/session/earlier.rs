//! Events before those that a client has (protocol section 3, `prev`).

use super::state::{Flow, Session};
use super::waiting::{Earlier, Waiting};
use crate::dialog::Extent;
use crate::store::{Found, Read, StoreError};
use crate::text::Text;
use tidewire_core::wire::{ChannelName, Offset, PAGE_EVENTS, Page, Past};

/// When a client may try again if the log can't be read, in ms.
const UNREADABLE_RETRY_MS: u64 = 5_000;

impl Session {
    /// Sends events before an offset. The subscription stays as it is.
    pub(super) fn earlier(&mut self, ch: ChannelName, before: Offset, most: u64) -> Flow {
        match self.subscriptions().channel(&ch) {
            Some(channel) => {
                // An offset beyond the head means the newest events.
                let before = before.min(channel.extent().head.plus(1));
                self.earlier_with_room(Earlier { channel, before, most: most.clamp(1, PAGE_EVENTS as u64) })
            }
            None => self.not_subscribed(ch),
        }
    }

    /// Continues once the queue has room.
    pub(super) fn earlier_with_room(&mut self, earlier: Earlier) -> Flow {
        if !self.is_subscribed(&earlier.channel.name) {
            return Flow::Ready;
        }
        if let Err(wait_ms) = self.may_page() {
            self.send_past(&earlier, Vec::new(), Some(wait_ms));
            return Flow::Ready;
        }
        if !self.outgoing().has_room() {
            self.wait(Waiting::Earlier(earlier));
            return Flow::Room;
        }
        let to = earlier.before.minus(1);
        let from = to.minus(earlier.most).max(earlier.channel.extent().floor);
        if from >= to {
            self.send_past(&earlier, Vec::new(), None);
            return Flow::Ready;
        }
        let ask = Read::Earlier { channel: earlier.channel.id, from, to };
        self.wait(Waiting::Earlier(earlier));
        Flow::Read(ask)
    }

    /// Continues with the events that were read from the log.
    pub(super) fn earlier_found(&mut self, earlier: Earlier, found: Result<Found, StoreError>) -> Flow {
        if !self.is_subscribed(&earlier.channel.name) {
            return Flow::Ready;
        }
        match found {
            Ok(Found::Events(found)) => {
                // Retention may have trimmed some meanwhile, the oldest ones first.
                let expected = earlier.before.minus(found.len() as u64);
                let has_hole = found.iter().zip(expected.0..).any(|((offset, _), at)| *offset != at);
                if has_hole {
                    tracing::error!(channel = earlier.channel.id, "the log has a hole");
                    self.send_past(&earlier, Vec::new(), Some(UNREADABLE_RETRY_MS));
                } else {
                    let events = found.into_iter().map(|(_, frame)| frame).collect();
                    self.send_past(&earlier, events, None);
                }
            }
            Ok(Found::Trimmed(_)) | Err(_) => self.send_past(&earlier, Vec::new(), Some(UNREADABLE_RETRY_MS)),
        }
        Flow::Ready
    }

    fn send_past(&self, earlier: &Earlier, events: Vec<Text>, retry_after_ms: Option<u64>) {
        let Extent { head, floor } = earlier.channel.extent();
        let from = earlier.before.minus(1 + events.len() as u64);
        let ch = earlier.channel.name.clone();
        let more = retry_after_ms.is_some() || (!events.is_empty() && from > floor);
        let page = Page { ch, from, head, events: Vec::new(), more, runs: Vec::new(), handler: None };
        let text = Past { page, retry_after_ms }.encode_with(events.iter().map(Text::as_str));
        self.paged(text.len());
        self.outgoing().push(Text::from(text));
    }
}
