//! Writes a connection's queue to its socket, and notifies those that wait for the queue.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::codes;
use tidewire_server_core::{Outgoing, QueueEvent, Text, ToWrite, Wake};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a close frame may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// One notification for each waiter.
#[derive(Default)]
pub(crate) struct Notifiers {
    /// For the writer: there is something to do.
    work: Notify,
    /// For the session: there may be room again.
    room: Notify,
    /// For the session: the connection is ending.
    closed: Notify,
}

impl Notifiers {
    /// The callback that a queue calls.
    pub(crate) fn wake(self: &Arc<Self>) -> Wake {
        let notifiers = self.clone();
        Arc::new(move |signal| match signal {
            QueueEvent::Work => notifiers.work.notify_one(),
            QueueEvent::Room => notifiers.room.notify_one(),
            QueueEvent::Closed => notifiers.closed.notify_one(),
        })
    }

    /// Returns once the connection is ending. For one waiter.
    pub(crate) async fn closing(&self, outgoing: &Outgoing) {
        while !outgoing.is_closing() {
            self.closed.notified().await;
        }
    }

    /// Returns once there is something to write. For one waiter.
    pub(crate) async fn work(&self, outgoing: &Outgoing) {
        while !outgoing.has_work() {
            self.work.notified().await;
        }
    }

    /// Returns once there is room for a page. For one waiter.
    pub(crate) async fn has_room(&self, outgoing: &Outgoing) {
        while !outgoing.has_room() {
            self.room.notified().await;
        }
    }

    /// Writes until the connection ends. `write` is the time-out of one write.
    pub(crate) async fn write(
        &self,
        outgoing: &Outgoing,
        mut sink: SplitSink<WebSocket, Message>,
        write: Duration,
    ) {
        loop {
            match self.next(outgoing).await {
                ToWrite::Write(text) => match timeout(write, sink.send(message(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        tracing::info!(conn = outgoing.id(), "a write took too long");
                        outgoing.close(codes::close::SLOW_CONSUMER, codes::SLOW_CONSUMER);
                        break;
                    }
                },
                ToWrite::Close(close) => {
                    let frame = CloseFrame { code: close.code, reason: Utf8Bytes::from_static(close.reason) };
                    // The peer may be gone already.
                    let _ = timeout(CLOSE_TIME, sink.send(Message::Close(Some(frame)))).await;
                    break;
                }
            }
        }
        outgoing.abandon();
    }

    async fn next(&self, outgoing: &Outgoing) -> ToWrite {
        loop {
            if let Some(next) = outgoing.take() {
                return next;
            }
            self.work.notified().await;
        }
    }
}

/// The same bytes as a WebSocket message.
fn message(text: Text) -> Message {
    match Utf8Bytes::try_from(Bytes::from_owner(text.clone())) {
        Ok(bytes) => Message::Text(bytes),
        // A text is UTF-8 always.
        Err(_) => Message::Text(text.as_str().into()),
    }
}
