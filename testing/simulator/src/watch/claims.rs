//! Checks what a client reports about itself, whenever it waits.

use crate::client::{Device, Process};
use crate::server::Server;
use crate::watch::Watch;
use tidewire_core::{ChannelState, Lane, RowState, State};

impl Watch {
    /// Without a connection nothing may be reported as live or being sent, and whatever waits for
    /// something else must say why.
    pub(crate) fn claims(&mut self, process: &Process) {
        if process.zombie {
            return;
        }
        let (device, state) = (process.device, process.state);
        if state != State::Online {
            if process.live {
                return self.broken("S5", format!("u{device} calls its dialog live while {state:?}"));
            }
            if let Some(row) = process.rows.iter().find(|row| row.state == RowState::Sending) {
                return self
                    .broken("rows", format!("u{device} says that {} is being sent while {state:?}", row.id));
            }
        }
        let mut failed = false;
        // Ops of the session lane don't wait for the durable lane's.
        let durable = |id: &str| self.lanes.get(id) != Some(&Lane::Session);
        for row in process.rows.iter().filter(|row| row.offset.is_none() && durable(&row.id)) {
            failed |= row.state == RowState::Failed;
            let waits = matches!(row.state, RowState::Queued | RowState::Saving);
            let blocked = row.code.as_deref() == Some("blocked");
            // The server also answers `blocked` to an op that arrives before the one that it names;
            // that op has a retry time.
            if blocked && !failed && row.retry_at.is_none() {
                return self
                    .broken("rows", format!("u{device}: {} says that it is blocked, by nothing", row.id));
            }
            if waits && failed && !blocked {
                return self.broken(
                    "rows",
                    format!("u{device}: {} waits behind a failed one and does not say so", row.id),
                );
            }
            if row.retry_at.is_some() && (!waits || row.code.is_none()) {
                return self.broken("rows", format!("u{device}: {} is tried again for no reason", row.id));
            }
        }
    }

    /// A reset must have a cause: another epoch, trimmed events, or another user.
    pub(crate) fn resets(&mut self, device: &Device, server: &Server, channel: &str, state: &ChannelState) {
        let ChannelState::Reset { reason, .. } = state else { return };
        let possible = match reason.as_str() {
            "epoch" | "ahead" => self.marks.contains_key("restored"),
            "trimmed" => self.marks.contains_key("trim") || server.floor(channel).unwrap_or(0) > 0,
            // Nobody signs in as another user here, and of three repairs in a row one must bring
            // something.
            _ => false,
        };
        if !possible {
            self.broken(
                "S5",
                format!("u{} is told of a reset ({reason}) of {channel} without a cause", device.number),
            );
        }
    }
}
