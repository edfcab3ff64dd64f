//! Checks what applications see of channels: events without gaps, rows in order, and resets that
//! are reported.

use crate::client::{Device, Process};
use crate::script::CHANNELS;
use crate::server::Server;
use crate::watch::Watch;
use tidewire_core::wire::EventFrame;
use tidewire_core::{Change, ChannelState, Row, RowState};
use tidewire_history::Event as Told;

impl Watch {
    /// A process starts: its view of the second channel begins where its disk says.
    pub(crate) fn boots(&mut self, device: &Device, process: &mut Process) {
        if let Some((epoch, cursor)) = device.disk.cursor(CHANNELS[1]) {
            (process.applied, process.begun, process.epoch) = (cursor, true, epoch.to_owned());
            self.record(Told::Reset {
                observer: device.name().into(),
                ch: CHANNELS[1].into(),
                epoch: epoch.into(),
                from: cursor,
                reason: "restart".into(),
            });
        }
    }

    /// The application is notified of the second channel's state.
    pub(crate) fn channel(&mut self, process: &mut Process, state: &ChannelState) {
        match state {
            ChannelState::Reset { reason, missed } => {
                self.mark(&format!("told_reset:{reason}"));
                if *missed > 0 {
                    self.mark("told_missed");
                }
                process.begun = false;
            }
            ChannelState::Failed { code, .. } => {
                self.mark(&format!("channel_failed:{code}"));
                // The events that were seen are no longer known.
                process.begun = false;
            }
            ChannelState::Waiting { code, .. } => self.mark(&format!("channel_waits:{code}")),
            ChannelState::Live => self.mark("live"),
            ChannelState::Syncing => {}
        }
    }

    /// An event of the second channel reaches the application.
    pub(crate) fn received(&mut self, device: &Device, process: &mut Process, frame: &EventFrame) {
        if !process.begun {
            // A view must begin where the server said.
            let Some((epoch, from)) = process.answered.clone() else {
                return self.broken("S5", "an event before any answer to the subscription".to_owned());
            };
            (process.begun, process.applied) = (true, from);
            process.epoch.clone_from(&epoch);
            self.record(Told::Reset {
                observer: device.name().into(),
                ch: CHANNELS[1].into(),
                epoch: epoch.into(),
                from,
                reason: "told".into(),
            });
        }
        if let Some((epoch, _)) = &process.answered
            && *epoch != process.epoch
        {
            return self.broken("S7", "another epoch without a reset".to_owned());
        }
        process.applied = frame.offset.0;
        let epoch = process.epoch.clone();
        self.record(Told::Apply {
            observer: device.name().into(),
            ch: CHANNELS[1].into(),
            epoch: epoch.into(),
            offset: frame.offset.0,
            id: frame.id.as_str().into(),
        });
    }

    /// Older events reach the application: they must be those of the log, up to the one before
    /// `before`, and if there are no more, from its beginning on.
    pub(crate) fn older(
        &mut self,
        process: &Process,
        server: &Server,
        before: u64,
        events: &[EventFrame],
        more: bool,
    ) {
        let first = before.saturating_sub(events.len() as u64);
        if events.iter().zip(first..).any(|(event, at)| event.offset != at) {
            return self.broken("S5", format!("older events before {before} have a hole"));
        }
        if process.told != server.epoch() {
            return;
        }
        let Ok((floor, log)) = server.log(CHANNELS[0]) else { return };
        for event in events {
            if log.iter().any(|logged| logged.offset == event.offset.0 && event.id != *logged.id) {
                return self.broken("S5", format!("the older event {} is not the log's", event.offset));
            }
        }
        if !more && first > floor + 1 && !log.is_empty() {
            self.broken("S5", format!("nothing before {first}, but the log begins after {floor}"));
        }
    }

    /// Checks a dialog that is reported as live. Its committed rows must be in the log's order,
    /// with the others after them. Gaps between rows must be events that have no row; that is
    /// checked against the log at the end.
    pub(crate) fn looks(&mut self, process: &mut Process) {
        if !process.live || !std::mem::take(&mut process.changed) {
            return;
        }
        let mut rows = process.rows.iter().map(|row| row.offset.map(|offset| offset.0));
        let Some(mut before) = rows.next() else { return };
        for place in rows {
            match (before, place) {
                (Some(before), Some(place)) if before < place => {
                    for hole in before + 1..place {
                        self.holes.entry((process.told.clone(), hole)).or_insert((process.device, self.now));
                    }
                }
                (_, None) => {}
                _ => {
                    let how = format!("u{} shows {place:?} behind {before:?}", process.device);
                    return self.broken("rows", how);
                }
            }
            before = place;
        }
    }

    /// An answer may only grow, and its end must keep what was shown.
    pub(crate) fn change(&mut self, process: &Process, change: &Change<Row>) {
        if let Change::Update { index, row } = change
            && let Some(before) = process.rows.get(*index)
            && before.state == RowState::Streaming
            && before.id == row.id
        {
            if !row.text.starts_with(&before.text) {
                self.broken("S19", format!("answer {} has another text than was shown", row.id));
            }
            self.mark(row.state.as_str());
        }
    }
}
