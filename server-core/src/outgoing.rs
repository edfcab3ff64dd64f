//! The queue of frames that wait to be written to one client.
//!
//! Sending pushes shared bytes into a queue with a limit, and never waits. The connection's writer
//! takes what is queued and joins it into few messages. A client that reads too slowly loses its
//! connection but no events: it resumes from its cursors.

use crate::lock::{Mutex, calls_out};
use crate::metrics::Written;
use crate::text::Text;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use tidewire_core::wire::{Problem, ServerFrame, codes};

/// Frames are joined into messages of up to this size; a larger frame is sent alone.
const JOIN_BYTES: usize = 128 * 1024;
/// There is room for a page while no more bytes than this are queued.
const ROOM_BYTES: usize = 256 * 1024;

/// How a connection's frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Over a WebSocket.
    #[default]
    WebSocket,
    /// In a response that stays open.
    Stream,
    /// In responses that end as soon as there is something to say.
    Poll,
    /// The session serves a single request.
    Request,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 4] =
        [Transport::WebSocket, Transport::Stream, Transport::Poll, Transport::Request];

    /// The name in the registry and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Stream => "stream",
            Transport::Poll => "poll",
            Transport::Request => "request",
        }
    }
}

/// A close code and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The close code of protocol section 8.
    pub code: u16,
    /// The stable code as text.
    pub reason: &'static str,
}

/// What happened to a queue. The connection's driver is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEvent {
    /// There is something to write.
    Work,
    /// Something was taken: there may be room again.
    Room,
    /// The connection is ending.
    Closed,
}

/// Called with every [`QueueEvent`], with no lock held.
pub type Wake = Arc<dyn Fn(QueueEvent) + Send + Sync>;

/// What the writer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWrite {
    /// Send this message.
    Write(Text),
    /// Send the close frame, then end.
    Close(Close),
}

/// Called when there is room again after a refused offer. It is called with no lock held, and may
/// queue frames.
pub(crate) type Refill = Box<dyn Fn() + Send + Sync>;

/// Notifications to be sent once no lock is held. Code that queues frames under a lock collects
/// them, and calls [`Due::give`] after unlocking.
#[derive(Default)]
#[must_use = "the writers sleep until the signals are given"]
pub(crate) struct Due(Vec<(Arc<Outgoing>, QueueEvent)>);

impl Due {
    fn add(&mut self, outgoing: &Arc<Outgoing>, signal: QueueEvent) {
        let same = |(last, of): &(Arc<Outgoing>, QueueEvent)| Arc::ptr_eq(last, outgoing) && *of == signal;
        if !self.0.last().is_some_and(same) {
            self.0.push((outgoing.clone(), signal));
        }
    }

    /// Notifies the writers.
    pub(crate) fn give(self) {
        for (outgoing, signal) in self.0 {
            outgoing.signal(signal);
        }
    }
}

/// The result of offering a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is queued.
    Queued,
    /// Too much is queued. [`Refill`] is called when there is room again.
    Full,
    /// The connection is ending.
    Over,
}

/// The result of pushing a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    Yes,
    /// The queue is full, so the connection ends.
    Overflow,
    /// The connection was ending already.
    Over,
}

/// The queue of one connection.
pub struct Outgoing {
    id: u64,
    max_bytes: usize,
    max_frames: usize,
    /// The place in [`Transport::ALL`].
    transport: AtomicU8,
    written: Arc<Written>,
    queue: Mutex<Queue>,
    wake: Wake,
    refill: OnceLock<Refill>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    close: Option<Close>,
    /// The writer has ended: nothing will be sent any more.
    dead: bool,
    /// An offer was refused: [`Refill`] is to be called when there is room.
    refill_due: bool,
}

/// A queued frame, with the row id of its channel; none for a frame of the connection itself.
struct Frame {
    text: Text,
    of: Option<i64>,
}

impl Outgoing {
    /// A queue with a limit in bytes and in frames.
    pub fn new(id: u64, max_bytes: usize, max_frames: usize, wake: Wake) -> Outgoing {
        let (transport, written, queue) = (AtomicU8::new(0), Arc::default(), Mutex::default());
        Outgoing { id, max_bytes, max_frames, transport, written, queue, wake, refill: OnceLock::new() }
    }

    /// Counts what is written in these counters.
    pub(crate) fn counted_in(self, written: &Arc<Written>) -> Outgoing {
        Outgoing { written: written.clone(), ..self }
    }

    /// How the frames travel.
    pub fn transport(&self) -> Transport {
        let at = usize::from(self.transport.load(Ordering::Relaxed));
        Transport::ALL.get(at).copied().unwrap_or_default()
    }

    /// Notes how the frames travel from now on. Until then it is a WebSocket.
    pub fn travels_by(&self, transport: Transport) {
        let at = Transport::ALL.iter().position(|other| *other == transport);
        self.transport.store(at.and_then(|at| u8::try_from(at).ok()).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Bytes that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Whether more than half of the bytes wait that may wait.
    pub(crate) fn is_slow(&self) -> bool {
        self.waiting_bytes() * 2 > self.max_bytes
    }

    /// The connection's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn signal(&self, signal: QueueEvent) {
        calls_out();
        (self.wake)(signal);
    }

    /// Queues a frame; false if the connection is ending, or ends because the queue is full.
    pub fn push(&self, frame: Text) -> bool {
        let queued = self.queue(frame, None);
        if queued == Queued::Overflow {
            self.signal(QueueEvent::Closed);
        }
        if queued != Queued::Over {
            self.signal(QueueEvent::Work);
        }
        queued == Queued::Yes
    }

    /// As [`Outgoing::push`], under a lock: notifications are added to `due`.
    pub(crate) fn put(self: &Arc<Self>, frame: Text, due: &mut Due) -> bool {
        self.note(self.queue(frame, None), due)
    }

    /// As [`Outgoing::put`], for a frame of the channel with this row id.
    pub(crate) fn put_of(self: &Arc<Self>, channel: i64, frame: Text, due: &mut Due) -> bool {
        self.note(self.queue(frame, Some(channel)), due)
    }

    fn note(self: &Arc<Self>, queued: Queued, due: &mut Due) -> bool {
        if queued == Queued::Overflow {
            due.add(self, QueueEvent::Closed);
        }
        if queued != Queued::Over {
            due.add(self, QueueEvent::Work);
        }
        queued == Queued::Yes
    }

    fn queue(&self, frame: Text, of: Option<i64>) -> Queued {
        let mut queue = self.queue.lock();
        if queue.close.is_some() {
            return Queued::Over;
        }
        if queue.bytes + frame.len() <= self.max_bytes && queue.frames.len() < self.max_frames {
            queue.bytes += frame.len();
            queue.frames.push_back(Frame { text: frame, of });
            return Queued::Yes;
        }
        queue.frames.clear();
        queue.bytes = 0;
        let problem = Problem {
            code: codes::SLOW_CONSUMER.to_owned(),
            message: "too much was waiting for this client; resume from the cursors".to_owned(),
            retry_after_ms: None,
        };
        queue.frames.push_back(Frame { text: ServerFrame::Error(problem).encode().into(), of: None });
        queue.close = Some(Close { code: codes::close::SLOW_CONSUMER, reason: codes::SLOW_CONSUMER });
        drop(queue);
        tracing::info!(conn = self.id, "slow consumer");
        Queued::Overflow
    }

    /// Queues a droppable frame; drops it if the queue is more than half full. False if it was dropped.
    pub(crate) fn put_if_light(self: &Arc<Self>, channel: i64, frame: &Text, due: &mut Due) -> bool {
        let mut queue = self.queue.lock();
        let light = (queue.bytes + frame.len()) * 2 <= self.max_bytes
            && (queue.frames.len() + 1) * 2 <= self.max_frames;
        if !light || queue.close.is_some() {
            return false;
        }
        queue.bytes += frame.len();
        queue.frames.push_back(Frame { text: frame.clone(), of: Some(channel) });
        drop(queue);
        due.add(self, QueueEvent::Work);
        true
    }

    /// Sets what is called when there is room again. Only the first call has an effect.
    pub(crate) fn refill_by(&self, refill: Refill) {
        let _ = self.refill.set(refill);
    }

    /// Queues a live frame that the client can get again from the log; refuses it if the queue is
    /// more than half full. Notifications are added to `due`.
    pub(crate) fn offer_live(self: &Arc<Self>, frame: &Text, due: &mut Due) -> Offered {
        self.offer_if(frame, due, |queue| (queue.bytes + frame.len()) * 2 <= self.max_bytes)
    }

    /// Queues a frame of a page or a replay if it leaves enough room for live frames. Notifications
    /// are added to `due`.
    pub(crate) fn offer(self: &Arc<Self>, frame: &Text, due: &mut Due) -> Offered {
        self.offer_if(frame, due, |queue| queue.bytes <= self.roomy())
    }

    fn offer_if(self: &Arc<Self>, frame: &Text, due: &mut Due, fits: impl Fn(&Queue) -> bool) -> Offered {
        let mut queue = self.queue.lock();
        if queue.close.is_some() || queue.dead {
            return Offered::Over;
        }
        if !fits(&queue) || (queue.frames.len() + 1) * 2 > self.max_frames {
            queue.refill_due = true;
            return Offered::Full;
        }
        queue.bytes += frame.len();
        queue.frames.push_back(Frame { text: frame.clone(), of: None });
        drop(queue);
        due.add(self, QueueEvent::Work);
        Offered::Queued
    }

    /// With at most this many bytes queued there is room for the largest frame that can be offered.
    fn roomy(&self) -> usize {
        ROOM_BYTES.min(self.max_bytes / 4)
    }

    /// Queues a frame of the connection itself.
    pub fn send(&self, frame: &ServerFrame) {
        self.push(frame.encode().into());
    }

    /// Closes the connection after the queued frames are written. Only the first close counts.
    pub fn close(&self, code: u16, reason: &'static str) {
        let mut queue = self.queue.lock();
        if queue.close.is_none() {
            queue.close = Some(Close { code, reason });
            drop(queue);
            self.signal(QueueEvent::Work);
            self.signal(QueueEvent::Closed);
        }
    }

    /// Sends an error frame, then closes the connection.
    pub fn refuse(&self, close: u16, code: &'static str, message: &str) {
        let problem = Problem { code: code.to_owned(), message: message.to_owned(), retry_after_ms: None };
        self.send(&ServerFrame::Error(problem));
        self.close(close, code);
    }

    /// As [`Outgoing::refuse`], but drops the queued frames.
    pub(crate) fn cut(&self, close: u16, code: &'static str, message: &str) {
        {
            let mut queue = self.queue.lock();
            queue.frames.clear();
            queue.bytes = 0;
        }
        self.refuse(close, code, message);
    }

    /// Drops the queued frames of a channel.
    pub(crate) fn forget(&self, channel: i64) {
        let mut queue = self.queue.lock();
        queue.frames.retain(|frame| frame.of != Some(channel));
        queue.bytes = queue.frames.iter().map(|frame| frame.text.len()).sum();
    }

    /// Whether there is something to write.
    pub fn has_work(&self) -> bool {
        let queue = self.queue.lock();
        !queue.frames.is_empty() || queue.close.is_some()
    }

    /// Whether the connection is ending.
    pub fn is_closing(&self) -> bool {
        self.closing().is_some()
    }

    /// The close code, if the connection is ending.
    pub fn closing(&self) -> Option<Close> {
        self.queue.lock().close
    }

    /// Whether there is room for a page beside live frames. Also true if nothing will be sent any
    /// more.
    pub fn has_room(&self) -> bool {
        let queue = self.queue.lock();
        queue.dead || queue.close.is_some() || queue.bytes <= ROOM_BYTES
    }

    /// What to write next; `None` if nothing is queued.
    pub fn take(&self) -> Option<ToWrite> {
        let mut queue = self.queue.lock();
        match join(&mut queue, &self.written) {
            Some(text) => {
                let roomy = queue.bytes <= self.roomy() && queue.frames.len() * 4 <= self.max_frames;
                let refill = roomy && std::mem::take(&mut queue.refill_due);
                drop(queue);
                self.written.messages.count();
                self.written.bytes.add(text.len() as u64);
                if refill && let Some(refill) = self.refill.get() {
                    calls_out();
                    refill();
                }
                self.signal(QueueEvent::Room);
                Some(ToWrite::Write(text))
            }
            None => queue.close.map(ToWrite::Close),
        }
    }

    /// The writer has ended: drops the queued frames and ends the connection.
    pub fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.dead = true;
        queue.frames.clear();
        queue.bytes = 0;
        queue.close.get_or_insert(Close { code: codes::close::NORMAL, reason: "" });
        drop(queue);
        self.signal(QueueEvent::Closed);
        self.signal(QueueEvent::Room);
    }
}

/// Takes queued frames of up to [`JOIN_BYTES`] as one message: a single frame as it is, several as
/// a JSON array. Counts the frames.
fn join(queue: &mut Queue, written: &Written) -> Option<Text> {
    let Frame { text: first, of } = queue.frames.pop_front()?;
    let (mut of_channels, mut frames) = (u64::from(of.is_some()), 1);
    let note = |of_channels: u64, frames: u64| {
        written.of_channels.add(of_channels);
        written.others.add(frames - of_channels);
    };
    queue.bytes = queue.bytes.saturating_sub(first.len());
    let fits = |size: usize, next: &Frame| size + next.text.len() + 2 <= JOIN_BYTES;
    if !queue.frames.front().is_some_and(|next| fits(first.len(), next)) {
        note(of_channels, frames);
        return Some(first);
    }
    let mut text =
        String::with_capacity((first.len() + queue.bytes + queue.frames.len() + 2).min(JOIN_BYTES));
    text.push('[');
    text.push_str(&first);
    while queue.frames.front().is_some_and(|next| fits(text.len(), next)) {
        let Some(Frame { text: next, of }) = queue.frames.pop_front() else { break };
        of_channels += u64::from(of.is_some());
        frames += 1;
        queue.bytes = queue.bytes.saturating_sub(next.len());
        text.push(',');
        text.push_str(&next);
    }
    text.push(']');
    note(of_channels, frames);
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Frame {
        Frame { text: text.into(), of: None }
    }

    #[test]
    fn one_frame_stays_bare_and_several_become_an_array() {
        let mut queue = Queue::default();
        queue.frames.push_back(frame("{}"));
        assert_eq!(join(&mut queue, &Written::default()).unwrap().as_str(), "{}");
        queue.frames.extend(["1", "2", "3"].map(frame));
        assert_eq!(join(&mut queue, &Written::default()).unwrap().as_str(), "[1,2,3]");
        assert!(join(&mut queue, &Written::default()).is_none());
    }

    #[test]
    fn a_great_frame_goes_alone() {
        let mut queue = Queue::default();
        let great = "x".repeat(JOIN_BYTES);
        queue.frames.extend(["1", &great, "2"].map(frame));
        let sizes: Vec<usize> =
            std::iter::from_fn(|| join(&mut queue, &Written::default())).map(|text| text.len()).collect();
        assert_eq!(sizes, [1, JOIN_BYTES, 1]);
    }

    #[test]
    fn an_overflow_ends_the_connection_and_frees_what_waited() {
        let outgoing = Outgoing::new(1, 10, 100, Arc::new(|_| ()));
        assert!(outgoing.push("12345".into()));
        assert!(!outgoing.push("1234567".into()));
        assert!(!outgoing.push("1".into()));
        let queue = outgoing.queue.lock();
        assert_eq!(queue.frames.len(), 1);
        assert_eq!(queue.close.map(|close| close.code), Some(4002));
    }
}
