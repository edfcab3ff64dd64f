//! What the tasks that carry a connection have in common.

use std::borrow::Cow;
use std::time::Duration;

use tidewire_core::ConnId;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Largest message taken, in bytes; the protocol allows servers half of it.
pub(crate) const MESSAGE_BYTES: usize = 2 * 1024 * 1024;
/// How long a socket that was given up may take to say goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);
/// The code reported where no close frame came.
pub(crate) const ABNORMAL: u16 = 1006;

/// What a connection's task reports.
pub(crate) enum Report {
    /// The upgrade is done, or the server gave a connection.
    Opened(ConnId),
    /// A text message came.
    Received(ConnId, Utf8Bytes),
    /// It is over, with this close code; where it never began, with a code for why.
    Closed(ConnId, u16, Option<Cow<'static, str>>),
}

/// Ends a task with its owner.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
