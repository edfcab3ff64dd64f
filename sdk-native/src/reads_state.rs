//! How far a channel was read, as a screen shows it.

use std::sync::Arc;

use tidewire_core::wire::{Receipt, User};
use tidewire_core::{Offset, PeopleStatus};

/// How far a dialog or a channel was read. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadsState {
    /// The offset of the newest event that this client's user has read, on any of their devices; 0
    /// for none. It never goes back, unless the channel begins anew.
    pub position: Offset,
    /// How many events of others come after it; `None` while that is not known. Events that only
    /// change something shown before don't count. After a position between older events it may be too
    /// many for a moment, until the server has counted.
    pub unread: Option<u64>,
    /// Whether there may be older unread events that were not counted: only the newest 1,000 are.
    pub more: bool,
    /// How far all of this can be relied on. [`PeopleStatus::Crowded`]: more than 50 users have a
    /// position, so those of others are not told.
    pub status: PeopleStatus,
    /// How far others have read, in the order in which they were first known. Empty if the channel's
    /// rule does not tell.
    pub receipts: Arc<[Receipt]>,
}

impl ReadsState {
    /// The others who have read the event at this offset; nobody for 0.
    pub fn read_by(&self, offset: Offset) -> Vec<&User> {
        let readers =
            self.receipts.iter().filter(|receipt| offset > Offset::ZERO && receipt.offset >= offset);
        readers.map(|receipt| &receipt.user).collect()
    }
}

impl Default for ReadsState {
    fn default() -> ReadsState {
        ReadsState {
            position: Offset::ZERO,
            unread: None,
            more: false,
            status: PeopleStatus::Syncing,
            receipts: Arc::from([]),
        }
    }
}
