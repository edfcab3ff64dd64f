//! How far a channel was read: the handle that follows it.

use tidewire_core::Now;

use crate::core::Core;
use crate::follower::{Followed, Follower};
use crate::hub::Hub;
use crate::reads_state::ReadsState;
use crate::reads_view::ReadsView;
use crate::view::Views;

/// Follows how far a dialog or a channel was read, from [`Dialog::reads`](crate::Dialog::reads) or
/// [`Channel::reads`](crate::Channel::reads). Dropping it ends that; so does dropping the last
/// handle of the dialog or channel.
///
/// ```no_run
/// # async fn example(client: tidewire::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let dialog = client.dialog("demo")?;
/// let mut reads = dialog.reads()?;
/// while let Some(state) = reads.next().await {
///     if let Some(unread) = state.unread {
///         println!("{unread}{} unread", if state.more { "+" } else { "" });
///     }
///     for receipt in state.receipts.iter() {
///         println!("{} has read up to {}", receipt.user.name, receipt.offset);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reads {
    follower: Follower<ReadsView>,
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("channel", &self.follower.channel()).finish_non_exhaustive()
    }
}

impl Reads {
    pub(crate) fn new(follower: Follower<ReadsView>) -> Reads {
        Reads { follower }
    }

    /// How far it was read, as far as is known now.
    pub fn state(&self) -> ReadsState {
        self.follower.state()
    }

    /// Waits for a change and returns the newest state; the first call returns the present one at
    /// once. States that came while nobody waited are left out, except for the newest. `None` once
    /// the client is closed or the last handle of the dialog or channel is dropped. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<ReadsState> {
        self.follower.next().await
    }

    /// Ends the watching; dropping the handle does the same.
    pub fn close(self) {}

    #[cfg(feature = "ffi")]
    pub(crate) fn into_follower(self) -> Follower<ReadsView> {
        self.follower
    }
}

impl Followed for ReadsView {
    fn watch(core: &mut Core, now: Now, channel: &str) -> Result<(), tidewire_core::SubscribeError> {
        core.watch_reads(now, channel)
    }

    fn unwatch(core: &mut Core, now: Now, channel: &str) {
        core.unwatch_reads(now, channel);
    }

    fn views(hub: &mut Hub) -> &mut Views<ReadsView> {
        &mut hub.reads
    }
}
