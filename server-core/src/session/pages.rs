//! Where a subscription starts, and the pages that bring it to the head (protocol section 5).

use super::state::{Flow, Session};
use super::waiting::{PageRequest, Paging, Start, Waiting};
use crate::access::Denied;
use crate::dialog::{Channel, Extent};
use crate::store::{Found, Read, StoreError};
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, DEFAULT_TAIL, Epoch, Mode, Offset, SubOk, Want, codes};

impl Session {
    /// Sends the first or the next page. Until the page that reaches the head is queued, the
    /// subscriber is not live.
    pub(super) fn page(&mut self, channel: Arc<Channel>, request: PageRequest) -> Flow {
        channel.leave(self.outgoing().id());
        self.page_with_room(Paging { channel, request, start: None })
    }

    /// Continues once the queue has room.
    pub(super) fn page_with_room(&mut self, mut paging: Paging) -> Flow {
        if !self.is_subscribed(&paging.channel.name) {
            return Flow::Ready;
        }
        if let Err(wait) = self.may_page() {
            self.page_later(&paging.channel.name, wait);
            return Flow::Ready;
        }
        if !self.outgoing().has_room() {
            self.wait(Waiting::Page(paging));
            return Flow::Room;
        }
        let (channel, extent) = (&paging.channel, paging.channel.extent());
        let start = start(&paging.request, &self.engine().epoch, extent);
        if channel.remembers(start.from) {
            self.send_page(channel, start, Vec::new());
            return Flow::Ready;
        }
        let ask = Read::Events { channel: channel.id, from: start.from, to: extent.head };
        paging.start = Some(start);
        self.wait(Waiting::Page(paging));
        Flow::Read(ask)
    }

    /// Continues with the events that were read from the log.
    pub(super) fn page_found(&mut self, paging: Paging, found: Result<Found, StoreError>) -> Flow {
        let channel = &paging.channel;
        if !self.is_subscribed(&channel.name) {
            return Flow::Ready;
        }
        let events = match (found, paging.start) {
            (Ok(Found::Events(found)), Some(start)) => {
                dense(channel, start.from, found).map(|events| (start, events))
            }
            // Retention has trimmed the events meanwhile: decide again.
            (Ok(Found::Trimmed(floor)), _) => {
                channel.trimmed(floor);
                return self.page_with_room(paging);
            }
            (Ok(_), None) => Err(StoreError::Unavailable),
            (Err(error), _) => Err(error),
        };
        match events {
            Ok((start, events)) => self.send_page(channel, start, events),
            Err(error) => {
                self.unsubscribe(&channel.name);
                self.sub_denied(channel.name.clone(), Denied::Store(error));
            }
        }
        Flow::Ready
    }

    /// The user's budget for pages is used up: the subscription ends, and the client begins it
    /// again from its cursor.
    fn page_later(&mut self, ch: &ChannelName, wait_ms: u64) {
        self.unsubscribe(ch);
        let message = "too many pages were asked for; wait a little";
        self.not_yet(ch.clone(), codes::RATE_LIMITED, message, wait_ms);
    }

    fn send_page(&self, channel: &Channel, start: Start, events: Vec<Text>) {
        let mut bytes = 0;
        channel.send_page(self.outgoing(), start.from, events, |page, events| {
            let texts = events.iter().map(|event| event.as_str());
            let text = match start.mode {
                None => page.encode_with(texts),
                Some((mode, reason)) => {
                    let epoch = self.engine().epoch.clone();
                    SubOk { epoch, mode, reason: reason.map(str::to_owned), page }.encode_with(texts)
                }
            };
            bytes = text.len();
            text
        });
        self.paged(bytes);
    }
}

/// The frames, after a check that none is missing.
fn dense(channel: &Channel, from: Offset, found: Vec<(Offset, Text)>) -> Result<Vec<Text>, StoreError> {
    let mut events = Vec::with_capacity(found.len());
    for (offset, frame) in found {
        if offset != from.plus(1 + events.len() as u64) {
            tracing::error!(channel = channel.id, %offset, "the log has a hole");
            return Err(StoreError::Unavailable);
        }
        events.push(frame);
    }
    Ok(events)
}

fn start(request: &PageRequest, epoch: &Epoch, Extent { head, floor }: Extent) -> Start {
    let newest = |tail: u64| head.minus(tail).max(floor);
    let reset = |reason, tail| Start { from: newest(tail), mode: Some((Mode::Reset, Some(reason))) };
    match request {
        PageRequest::Sub(Want { cursor: None, tail }) => {
            Start { from: newest(*tail), mode: Some((Mode::Fresh, None)) }
        }
        PageRequest::Sub(Want { cursor: Some(cursor), tail }) => {
            if cursor.epoch != *epoch {
                reset("epoch", *tail)
            } else if cursor.offset > head {
                reset("ahead", *tail)
            } else if cursor.offset < floor {
                reset("trimmed", *tail)
            } else {
                Start { from: cursor.offset, mode: Some((Mode::Resumed, None)) }
            }
        }
        // A cursor outside of the log needs a reset, which a `page` can't express.
        PageRequest::Next(from) if *from > head => reset("ahead", DEFAULT_TAIL),
        PageRequest::Next(from) if *from < floor => reset("trimmed", DEFAULT_TAIL),
        PageRequest::Next(from) => Start { from: *from, mode: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::wire::Cursor;

    const EXTENT: Extent = Extent { head: Offset(100), floor: Offset(20) };

    fn with_cursor(epoch: &str, offset: u64) -> Start {
        let cursor = Some(Cursor { epoch: epoch.into(), offset: Offset(offset) });
        start(&PageRequest::Sub(Want { cursor, tail: 10 }), &"e".into(), EXTENT)
    }

    #[test]
    fn a_good_cursor_is_resumed_where_it_stands() {
        for offset in [20, 50, 100] {
            let start = with_cursor("e", offset);
            assert_eq!((start.from, start.mode), (Offset(offset), Some((Mode::Resumed, None))));
        }
    }

    #[test]
    fn a_cursor_that_cannot_be_honoured_is_reset_with_its_reason() {
        for (epoch, offset, reason) in [("x", 50, "epoch"), ("e", 101, "ahead"), ("e", 19, "trimmed")] {
            let start = with_cursor(epoch, offset);
            assert_eq!((start.from, start.mode), (Offset(90), Some((Mode::Reset, Some(reason)))));
        }
    }

    #[test]
    fn a_long_tail_stops_at_what_was_trimmed() {
        let start = start(&PageRequest::Sub(Want { cursor: None, tail: 1000 }), &"e".into(), EXTENT);
        assert_eq!((start.from, start.mode), (Offset(20), Some((Mode::Fresh, None))));
    }
}
