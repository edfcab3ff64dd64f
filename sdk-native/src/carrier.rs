//! What the tasks that carry connections report.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tidewire_core::{ConnId, RequestId};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Largest message taken, in bytes; the protocol allows servers half of it.
pub(crate) const MESSAGE_BYTES: usize = 2 * 1024 * 1024;
/// How long a connection that was given up may take to say goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);
/// The code reported where no close frame came.
pub(crate) const ABNORMAL: u16 = 1006;

/// What a task reports.
pub(crate) enum Report {
    /// The upgrade is done.
    Opened(ConnId),
    /// A text message came.
    Received(ConnId, Utf8Bytes),
    /// It is over, with this close code; where it never began, with a code for why.
    Closed(ConnId, u16, Option<Cow<'static, str>>),
    /// A part of the response to a request came.
    Response(RequestId, Reply),
}

/// A part of a response, as the core's.
pub(crate) enum Reply {
    /// It begins.
    Status(u16),
    /// The next bytes of its body.
    Body(Bytes),
    /// It is complete.
    End,
    /// There is none, or it broke off.
    Failed(Cow<'static, str>),
}

/// Ends a task with its owner.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
