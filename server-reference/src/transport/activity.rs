//! Liveness of a peer: when it was last heard, and whether it still takes anything. Every byte
//! counts, also of an incomplete message.

use super::pace::Pace;
use crate::address_limiter::AddressSlot;
use crate::clock;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidewire_server_core::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// The time of the last byte of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    heard_ms: Arc<AtomicU64>,
}

impl Activity {
    pub(crate) fn new() -> Activity {
        Activity { heard_ms: Arc::new(AtomicU64::new(clock::mono().0)) }
    }

    /// The time of the last byte.
    pub(crate) fn heard(&self) -> Time {
        Time(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Notes that a byte was read now.
    pub(crate) fn note(&self) {
        self.heard_ms.store(clock::mono().0, Ordering::Relaxed);
    }
}

/// A socket that notes when something is read, and fails if its peer takes nothing for too long.
pub(crate) struct Watched {
    stream: TcpStream,
    /// The socket's permits, held as long as the socket exists.
    _counts: Counts,
    pace: Pace,
    activity: Activity,
    /// How long a write may wait for the peer.
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// A socket's permits: among all sockets, and among those of its address if they are counted.
pub(crate) type Counts = (OwnedSemaphorePermit, Option<AddressSlot>);

impl Watched {
    pub(crate) fn new(
        stream: TcpStream,
        counts: Counts,
        activity: Activity,
        patience: Duration,
        pace: Pace,
    ) -> Watched {
        Watched { stream, _counts: counts, pace, activity, patience, stalled: None }
    }

    fn or_stalled<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.pace.poll_ready(cx));
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.pace.count(read);
            self.activity.note();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.or_stalled(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.or_stalled(cx, polled)
    }
}
