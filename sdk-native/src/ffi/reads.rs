//! How far a dialog or a channel was read, as an object.

use std::sync::Arc;

use tidewire_core::wire;

use super::follower::Follower;
use super::numbers::large;
use super::people::PeopleStatus;
use super::user::User;
use crate::reads_view::ReadsView;

/// Follows how far a dialog or a channel was read. Closing or dropping it ends that, and so does the
/// end of the dialog or channel. It does not keep the client open.
#[derive(uniffi::Object)]
pub struct Reads {
    follower: Follower<ReadsView>,
}

/// How far a dialog or a channel was read.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct ReadsState {
    /// The offset of the newest event that this client's user has read, on any of their devices; 0
    /// for none. It never goes back, unless the channel begins anew.
    pub position: i64,
    /// How many events of others come after it; none while that is not known. Events that only
    /// change something shown before don't count. After a position between older events it may be too
    /// many for a moment, until the server has counted.
    pub unread: Option<i64>,
    /// Whether there may be older unread events that were not counted: only the newest 1,000 are.
    pub more: bool,
    /// How far all of this can be relied on. `Crowded`: more than 50 users have a position, so those
    /// of others are not told.
    pub status: PeopleStatus,
    /// How far others have read, in the order in which they were first known. Empty if the channel's
    /// rule does not tell.
    pub receipts: Vec<Receipt>,
}

/// How far another user has read: they have seen every event up to this one.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
#[uniffi::export(Debug, Display, Eq)]
pub struct Receipt {
    /// The reader.
    pub user: User,
    /// The offset of the newest event that they have read.
    pub offset: i64,
    /// When they said so, ms since the Unix epoch by the server's clock.
    pub at_ms: i64,
}

#[uniffi::export]
impl Reads {
    /// How far it was read, as far as is known now; as it was then, once this is closed.
    pub fn state(&self) -> ReadsState {
        self.follower.state().into()
    }

    /// Waits for a change and returns the newest state; the first call returns the present one at
    /// once. States that came while nobody waited are left out, except for the newest. None once
    /// this, the dialog or channel, or the client is closed. One reader at a time. A cancelled call
    /// loses nothing.
    pub async fn next(&self) -> Option<ReadsState> {
        self.follower.next().await.map(ReadsState::from)
    }

    /// Ends the watching: `next` gives none from then on. Closing it again does nothing. Kotlin's
    /// name for it is `closeNow`, because `close` is `AutoCloseable`'s there.
    pub fn close(&self) {
        self.follower.close();
    }
}

#[uniffi::export]
impl ReadsState {
    /// The others who have read the event at this offset; nobody for 0.
    pub fn read_by(&self, offset: i64) -> Vec<User> {
        let readers = self.receipts.iter().filter(|receipt| offset > 0 && receipt.offset >= offset);
        readers.map(|receipt| receipt.user.clone()).collect()
    }
}

impl Reads {
    pub(super) fn new(reads: crate::reads::Reads) -> Arc<Reads> {
        Arc::new(Reads { follower: Follower::new(reads.into_follower()) })
    }
}

impl From<crate::ReadsState> for ReadsState {
    fn from(state: crate::ReadsState) -> ReadsState {
        ReadsState {
            position: large(state.position.0),
            unread: state.unread.map(large),
            more: state.more,
            status: state.status.into(),
            receipts: state.receipts.iter().map(Receipt::from).collect(),
        }
    }
}

impl From<&wire::Receipt> for Receipt {
    fn from(receipt: &wire::Receipt) -> Receipt {
        Receipt {
            user: receipt.user.clone().into(),
            offset: large(receipt.offset.0),
            at_ms: large(receipt.at),
        }
    }
}
