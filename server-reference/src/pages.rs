//! Where a subscription starts, and the pages that bring it to the head (protocol section 5).

use crate::channel::{Channel, Extent};
use crate::outgoing::Outgoing;
use crate::store::{Found, Store, StoreError};
use axum::extract::ws::Utf8Bytes;
use std::sync::Arc;
use tidewire_core::wire::{DEFAULT_TAIL, Mode, PAGE_BYTES, PAGE_EVENTS, SubOk, Want};

/// What a client asked for.
pub(crate) enum Ask {
    /// A subscription.
    Sub(Want),
    /// The events after this offset.
    Next(u64),
}

/// How the page begins.
#[derive(Clone, Copy)]
struct Start {
    from: u64,
    /// None for the answer to a `next`.
    mode: Option<(Mode, Option<&'static str>)>,
}

/// Sends the first or the next page. Until the page that reaches the head is queued, the subscriber is not live.
pub(crate) async fn send(
    store: &Store,
    channel: &Channel,
    outgoing: &Arc<Outgoing>,
    ask: &Ask,
) -> Result<(), StoreError> {
    channel.leave(outgoing.id());
    outgoing.has_room().await;
    let (start, events) = loop {
        let extent = channel.extent();
        let start = start(ask, store.epoch(), extent);
        if channel.remembers(start.from) {
            break (start, Vec::new());
        }
        let found = store.readers().events(channel.id, start.from, extent.head, PAGE_EVENTS, PAGE_BYTES);
        match found.await? {
            Found::Events(found) => break (start, dense(channel, start.from, found)?),
            // Retention was faster: the answer is another one now.
            Found::Trimmed(floor) => channel.trimmed(floor),
        }
    };
    channel.send_page(outgoing, start.from, events, |page, events| {
        let texts = events.iter().map(|event| event.as_str());
        match start.mode {
            None => page.encode_with(texts),
            Some((mode, reason)) => {
                let epoch = store.epoch().to_owned();
                SubOk { epoch, mode, reason: reason.map(str::to_owned), page }.encode_with(texts)
            }
        }
    });
    Ok(())
}

/// The frames, once it is sure that none is missing.
fn dense(channel: &Channel, from: u64, found: Vec<(u64, Utf8Bytes)>) -> Result<Vec<Utf8Bytes>, StoreError> {
    let mut events = Vec::with_capacity(found.len());
    for (offset, frame) in found {
        if offset != from + 1 + events.len() as u64 {
            tracing::error!(channel = channel.id, offset, "the log has a hole");
            return Err(StoreError::Unavailable);
        }
        events.push(frame);
    }
    Ok(events)
}

fn start(ask: &Ask, epoch: &str, Extent { head, floor }: Extent) -> Start {
    let newest = |tail: u64| head.saturating_sub(tail).max(floor);
    let reset = |reason, tail| Start { from: newest(tail), mode: Some((Mode::Reset, Some(reason))) };
    match ask {
        Ask::Sub(Want { cursor: None, tail }) => {
            Start { from: newest(*tail), mode: Some((Mode::Fresh, None)) }
        }
        Ask::Sub(Want { cursor: Some(cursor), tail }) => {
            if cursor.epoch != epoch {
                reset("epoch", *tail)
            } else if cursor.offset > head {
                reset("ahead", *tail)
            } else if cursor.offset < floor {
                reset("trimmed", *tail)
            } else {
                Start { from: cursor.offset, mode: Some((Mode::Resumed, None)) }
            }
        }
        // A cursor outside of the log can only be answered by a reset, which a `page` can't express.
        Ask::Next(from) if *from > head => reset("ahead", DEFAULT_TAIL),
        Ask::Next(from) if *from < floor => reset("trimmed", DEFAULT_TAIL),
        Ask::Next(from) => Start { from: *from, mode: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::wire::Cursor;

    const EXTENT: Extent = Extent { head: 100, floor: 20 };

    fn with_cursor(epoch: &str, offset: u64) -> Start {
        let cursor = Some(Cursor { epoch: epoch.to_owned(), offset });
        start(&Ask::Sub(Want { cursor, tail: 10 }), "e", EXTENT)
    }

    #[test]
    fn a_good_cursor_is_resumed_where_it_stands() {
        for offset in [20, 50, 100] {
            let start = with_cursor("e", offset);
            assert_eq!((start.from, start.mode), (offset, Some((Mode::Resumed, None))));
        }
    }

    #[test]
    fn a_cursor_that_cannot_be_honoured_is_reset_with_its_reason() {
        for (epoch, offset, reason) in [("x", 50, "epoch"), ("e", 101, "ahead"), ("e", 19, "trimmed")] {
            let start = with_cursor(epoch, offset);
            assert_eq!((start.from, start.mode), (90, Some((Mode::Reset, Some(reason)))));
        }
    }

    #[test]
    fn a_long_tail_stops_at_what_was_trimmed() {
        let start = start(&Ask::Sub(Want { cursor: None, tail: 1000 }), "e", EXTENT);
        assert_eq!((start.from, start.mode), (20, Some((Mode::Fresh, None))));
    }
}
