//! Checks what clients store: nothing that was not applied.

use crate::client::Process;
use crate::script::CHANNELS;
use crate::watch::Watch;
use tidewire_core::StoreChange;

impl Watch {
    pub(crate) fn synced(&mut self, process: Option<&Process>, change: &StoreChange) {
        if let (StoreChange::PutEvents { channel, epoch, cursor, .. }, Some(process)) = (change, process)
            && channel == CHANNELS[1]
            && process.begun
            && *epoch == process.epoch
            && cursor.0 > process.applied
        {
            self.broken(
                "S7",
                format!("the cursor {cursor} is kept, but only {} was applied", process.applied),
            );
        }
    }

    pub(crate) fn stores(&mut self, process: &Process, change: &StoreChange) {
        if let StoreChange::DeleteOp { id } = change
            && !process.zombie
            && !process.settled.contains(id.as_str())
        {
            // The core reports the outcome right after this.
            self.mark("deleted_before_told");
        }
    }
}
