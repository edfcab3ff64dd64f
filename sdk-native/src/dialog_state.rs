//! The state of a dialog, as a screen shows it above the rows.

use tidewire_core::wire::Handler;
use tidewire_core::{ChannelState, RunId};

/// The state of a dialog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialogState {
    /// Whether the rows are up to date.
    pub status: DialogStatus,
    /// The id of the newest answer under way, if there is one.
    pub run: Option<RunId>,
    /// Who answers, once `status` is live; before that it is what the stored rows tell.
    pub handler: Handler,
    /// Whether [`Dialog::load_older`](crate::Dialog::load_older) may find rows before the first one.
    pub has_older: bool,
    /// How many events were skipped since the dialog was opened, because the server no longer had
    /// them or there were too many.
    pub missed: u64,
}

/// Whether a dialog's rows are up to date.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DialogStatus {
    /// The rows are those stored on this device; newer ones are not loaded yet.
    #[default]
    Syncing,
    /// The server refused the dialog temporarily. The client tries again;
    /// [`Client::connect`](crate::Client::connect) tries at once.
    Waiting {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
        /// When the client tries again, in ms from this change.
        retry_in_ms: u64,
    },
    /// The rows are up to date, and changes follow as they happen.
    Live,
    /// The server refused the dialog: there is no such dialog, or this user may not see it.
    Failed {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
    },
    /// The client is closed.
    Closed,
}

impl DialogState {
    /// Applies a state of the dialog's channel.
    pub(crate) fn follow(&mut self, state: &ChannelState) {
        self.status = match state.clone() {
            ChannelState::Syncing => DialogStatus::Syncing,
            ChannelState::Live => DialogStatus::Live,
            ChannelState::Waiting { code, message, retry_in_ms } => {
                DialogStatus::Waiting { code, message, retry_in_ms }
            }
            ChannelState::Failed { code, message } => DialogStatus::Failed { code, message },
            ChannelState::Reset { missed, .. } => {
                self.missed += missed;
                return;
            }
        };
    }
}
