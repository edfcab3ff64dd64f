//! The hub's side of how far a channel was read.

use std::sync::Arc;

use tidewire_core::ReadState;
use tidewire_core::wire::{Receipt, User};

use crate::core::Core;
use crate::reads_state::ReadsState;
use crate::view::View;

/// How far one channel was read, for its watchers.
pub(crate) struct ReadsView {
    own: ReadState,
    receipts: Arc<[Receipt]>,
}

impl View for ReadsView {
    type State = ReadsState;
    /// The receipts only if they changed.
    type News = (ReadState, Option<Vec<Receipt>>);

    fn new(channel: &str, core: &Core) -> ReadsView {
        let (own, receipts) = core.reads(channel).unwrap_or_default();
        ReadsView { own, receipts: receipts.into() }
    }

    fn take(&mut self, (own, receipts): Self::News) {
        self.own = own;
        if let Some(receipts) = receipts {
            self.receipts = receipts.into();
        }
    }

    fn state(&mut self, _me: Option<&User>) -> ReadsState {
        let ReadState { position, unread, more, status } = self.own.clone();
        ReadsState { position, unread, more, status, receipts: Arc::clone(&self.receipts) }
    }
}
