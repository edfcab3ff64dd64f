//! How a dialog stands, as a screen shows it above its rows.

use tidewire_core::ChannelState;

/// How a dialog stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialogState {
    /// Whether the rows are those of now.
    pub status: DialogStatus,
    /// The newest answer that is still growing, if there is one.
    pub run: Option<String>,
    /// How many events were skipped since the dialog was opened: the server no longer had them, or
    /// they were too many.
    pub missed: u64,
}

/// Whether a dialog's rows are those of now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DialogStatus {
    /// The rows are what this device knows; what the server has is not known, or not yet.
    #[default]
    Syncing,
    /// The server refuses it for now; it is asked for again, or at once by [`Client::connect`](crate::Client::connect).
    Waiting {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
        /// When, in ms from when it was told.
        retry_in_ms: u64,
    },
    /// The rows are the server's, and what happens is shown as it happens.
    Live,
    /// The server refuses it: there is no such dialog, or this user may not see it.
    Failed {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
    },
    /// The client is closed.
    Closed,
}

impl DialogState {
    /// Takes over what the core says of the dialog's channel.
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
