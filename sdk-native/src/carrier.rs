//! What the tasks that carry connections report.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tidewire_core::{ConnId, RequestId};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Largest message that is accepted, in bytes; the protocol allows servers half of it.
pub(crate) const MESSAGE_BYTES: usize = 2 * 1024 * 1024;
/// How long the close of a connection may take in the background.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);
/// The code reported where no close frame came.
pub(crate) const ABNORMAL: u16 = 1006;

/// A report of a task.
pub(crate) enum Report {
    /// The upgrade to a WebSocket is done.
    Opened(ConnId),
    /// A text message came.
    Received(ConnId, Utf8Bytes),
    /// The connection ended with this close code. If it was never made, the code says why.
    Closed(ConnId, u16, Option<Cow<'static, str>>),
    /// A part of the response to a request came.
    Response(RequestId, Reply),
}

/// A part of a response, as in the core.
pub(crate) enum Reply {
    /// The response begins.
    Status(u16),
    /// The next bytes of its body.
    Body(Bytes),
    /// The response is complete.
    End,
    /// There is no response, or it broke off.
    Failed(Cow<'static, str>),
}

/// Aborts a task when its owner is dropped.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
