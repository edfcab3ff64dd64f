//! What waits to be written to one client.
//!
//! Whoever sends only pushes shared bytes into a capped queue, and never waits. The connection's writer takes everything
//! that waits and joins it into few messages; a client that reads too slowly loses its connection, not its events: it
//! resumes from its cursors.

use crate::sync::lock;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;
use tidewire_core::wire::{Problem, ServerFrame, codes};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Frames are joined up to this size; a greater one goes alone.
const JOIN_BYTES: usize = 128 * 1024;
/// With no more than this waiting there is room for a page.
const ROOM_BYTES: usize = 256 * 1024;
/// How long a close frame may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// A close code and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// The queue of one connection.
pub(crate) struct Outgoing {
    id: u64,
    max_bytes: usize,
    max_frames: usize,
    queue: Mutex<Queue>,
    /// For the writer: there is something to do.
    work: Notify,
    /// For the session: there may be room again.
    room: Notify,
    /// For the session: the connection is ending.
    closed: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    close: Option<Close>,
    /// The writer is gone: nothing will be sent any more.
    dead: bool,
}

/// What the writer does next.
enum Step {
    Write(Utf8Bytes),
    Close(Close),
}

impl Outgoing {
    pub(crate) fn new(id: u64, max_bytes: usize, max_frames: usize) -> Outgoing {
        Outgoing {
            id,
            max_bytes,
            max_frames,
            queue: Mutex::default(),
            work: Notify::new(),
            room: Notify::new(),
            closed: Notify::new(),
        }
    }

    /// The connection's number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a frame; false when the connection is ending, or ends because of it.
    pub(crate) fn push(&self, frame: Utf8Bytes) -> bool {
        let mut queue = lock(&self.queue);
        if queue.close.is_some() {
            return false;
        }
        let overflow = queue.bytes + frame.len() > self.max_bytes || queue.frames.len() >= self.max_frames;
        if overflow {
            queue.frames.clear();
            queue.bytes = 0;
            let problem = Problem {
                code: codes::SLOW_CONSUMER.to_owned(),
                message: "too much was waiting for this client; resume from the cursors".to_owned(),
                retry_after_ms: None,
            };
            queue.frames.push_back(ServerFrame::Error(problem).encode().into());
            queue.close = Some(Close { code: codes::close::SLOW_CONSUMER, reason: codes::SLOW_CONSUMER });
            drop(queue);
            tracing::info!(conn = self.id, "slow consumer");
            self.closed.notify_one();
        } else {
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
            drop(queue);
        }
        self.work.notify_one();
        !overflow
    }

    /// Queues a frame of the connection's own.
    pub(crate) fn send(&self, frame: &ServerFrame) {
        self.push(frame.encode().into());
    }

    /// Ends the connection after what waits. The first close wins.
    pub(crate) fn close(&self, code: u16, reason: &'static str) {
        let mut queue = lock(&self.queue);
        if queue.close.is_none() {
            queue.close = Some(Close { code, reason });
            drop(queue);
            self.work.notify_one();
            self.closed.notify_one();
        }
    }

    /// Returns once the connection is ending. For one waiter.
    pub(crate) async fn closing(&self) {
        while lock(&self.queue).close.is_none() {
            self.closed.notified().await;
        }
    }

    /// Returns once a page fits without crowding out live frames. For one waiter.
    pub(crate) async fn has_room(&self) {
        loop {
            {
                let queue = lock(&self.queue);
                if queue.dead || queue.close.is_some() || queue.bytes <= ROOM_BYTES {
                    return;
                }
            }
            self.room.notified().await;
        }
    }

    /// Writes until the connection ends; `write` is how long one write may take.
    pub(crate) async fn run(&self, mut sink: SplitSink<WebSocket, Message>, write: Duration) {
        loop {
            match self.next().await {
                Step::Write(text) => match timeout(write, sink.send(Message::Text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        tracing::info!(conn = self.id, "a write took too long");
                        self.close(codes::close::SLOW_CONSUMER, codes::SLOW_CONSUMER);
                        break;
                    }
                },
                Step::Close(close) => {
                    let frame = CloseFrame { code: close.code, reason: Utf8Bytes::from_static(close.reason) };
                    // The peer may be gone already.
                    let _ = timeout(CLOSE_TIME, sink.send(Message::Close(Some(frame)))).await;
                    break;
                }
            }
        }
        let mut queue = lock(&self.queue);
        queue.dead = true;
        queue.frames.clear();
        queue.close.get_or_insert(Close { code: codes::close::NORMAL, reason: "" });
        drop(queue);
        self.closed.notify_one();
        self.room.notify_one();
    }

    async fn next(&self) -> Step {
        loop {
            {
                let mut queue = lock(&self.queue);
                if let Some(text) = join(&mut queue) {
                    drop(queue);
                    self.room.notify_one();
                    return Step::Write(text);
                }
                if let Some(close) = queue.close {
                    return Step::Close(close);
                }
            }
            self.work.notified().await;
        }
    }
}

/// Takes what waits, up to [`JOIN_BYTES`], as one message: a frame alone stays bare, several become an array.
fn join(queue: &mut Queue) -> Option<Utf8Bytes> {
    let first = queue.frames.pop_front()?;
    queue.bytes = queue.bytes.saturating_sub(first.len());
    let fits = |size: usize, next: &Utf8Bytes| size + next.len() + 2 <= JOIN_BYTES;
    if !queue.frames.front().is_some_and(|next| fits(first.len(), next)) {
        return Some(first);
    }
    let mut text =
        String::with_capacity((first.len() + queue.bytes + queue.frames.len() + 2).min(JOIN_BYTES));
    text.push('[');
    text.push_str(&first);
    while queue.frames.front().is_some_and(|next| fits(text.len(), next)) {
        let Some(next) = queue.frames.pop_front() else { break };
        queue.bytes = queue.bytes.saturating_sub(next.len());
        text.push(',');
        text.push_str(&next);
    }
    text.push(']');
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_stays_bare_and_several_become_an_array() {
        let mut queue = Queue::default();
        queue.frames.push_back("{}".into());
        assert_eq!(join(&mut queue).unwrap().as_str(), "{}");
        queue.frames.extend(["1".into(), "2".into(), "3".into()]);
        assert_eq!(join(&mut queue).unwrap().as_str(), "[1,2,3]");
        assert!(join(&mut queue).is_none());
    }

    #[test]
    fn a_great_frame_goes_alone() {
        let mut queue = Queue::default();
        let great = "x".repeat(JOIN_BYTES);
        queue.frames.extend(["1".into(), great.as_str().into(), "2".into()]);
        let sizes: Vec<usize> = std::iter::from_fn(|| join(&mut queue)).map(|text| text.len()).collect();
        assert_eq!(sizes, [1, JOIN_BYTES, 1]);
    }

    #[test]
    fn an_overflow_ends_the_connection_and_frees_what_waited() {
        let outgoing = Outgoing::new(1, 10, 100);
        assert!(outgoing.push("12345".into()));
        assert!(!outgoing.push("1234567".into()));
        assert!(!outgoing.push("1".into()));
        let queue = lock(&outgoing.queue);
        assert_eq!(queue.frames.len(), 1);
        assert_eq!(queue.close.map(|close| close.code), Some(4002));
    }
}
