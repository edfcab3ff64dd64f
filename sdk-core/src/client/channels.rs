//! The commands that open and close channels.

use super::{Client, row_code, row_state};
use crate::chat::{Timeline, read_runs};
use crate::delivery::Channel;
use crate::error::SubscribeError;
use crate::event::{ChannelState, Event, OpState};
use crate::io::{Output, StoreChange};
use crate::part::Part;
use crate::time::Now;
use crate::wire::{self, Cursor, EventFrame, RunText, is_channel_name};

/// Most subscriptions of a client.
const MAX_CHANNELS: usize = 100;

impl<T: Part> Client<T> {
    pub(super) fn timeline(&mut self, channel: &str) -> Option<&mut Timeline> {
        self.channels.iter_mut().find(|other| other.name == channel)?.timeline.as_mut()
    }

    pub(super) fn add_channel(
        &mut self,
        now: Now,
        name: &str,
        with_rows: bool,
    ) -> Result<(), SubscribeError> {
        self.clamp(now);
        if !is_channel_name(name) {
            return Err(SubscribeError::BadChannel);
        }
        if let Some(at) = self.channels.iter().position(|other| other.name == name) {
            // The reason of a refusal may be gone by now.
            if self.channels[at].has_failed() {
                self.channels[at].ask_again();
            }
            if with_rows && self.channels[at].timeline.is_none() {
                self.shown_waits = None;
                let timeline = self.new_timeline(name, 0, &[], &[]);
                self.channels[at].show_rows(timeline);
            }
            self.channels[at].hold(with_rows);
            return Ok(());
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(SubscribeError::TooMany);
        }
        self.shown_waits = None;
        let cached =
            self.cached.iter().position(|other| other.channel == name).map(|at| self.cached.remove(at));
        let cursor =
            cached.as_ref().map(|cached| Cursor { epoch: cached.epoch.clone(), offset: cached.cursor });
        let events: Vec<EventFrame> = cached
            .iter()
            .flat_map(|cached| &cached.events)
            .filter_map(|event| EventFrame::decode(event).ok())
            .collect();
        // The stored events may contain ops that the stored outbox has as unsettled.
        for event in &events {
            self.settle_op(&event.id, OpState::Acked { offset: event.offset });
        }
        let timeline = with_rows.then(|| {
            let first = events.first().map(|event| event.offset.saturating_sub(1));
            let begin = first.or(cursor.as_ref().map(|cursor| cursor.offset)).unwrap_or(0);
            let runs = cached.as_ref().map_or_else(Vec::new, |cached| read_runs(&cached.runs));
            self.new_timeline(name, begin, &events, &runs)
        });
        self.channels.push(Channel::new(name, cursor, timeline));
        let state = ChannelState::Syncing;
        self.out.push_back(Output::Event(Event::Channel { channel: name.to_owned(), state }));
        Ok(())
    }

    /// A timeline with the rows of stored events after an offset, then those of waiting ops.
    fn new_timeline(&self, name: &str, begin: u64, events: &[EventFrame], runs: &[RunText]) -> Timeline {
        let mut timeline = Timeline::new(self.me.clone());
        timeline.begins_after(begin);
        for event in events {
            timeline.apply(event);
        }
        for run in runs {
            timeline.snapshot(run);
        }
        for entry in
            self.outbox.iter().filter(|entry| entry.channel == name && entry.kind == wire::Message::KIND)
        {
            let code = row_code(entry).map(str::to_owned);
            timeline.write(&entry.id, &entry.body, entry.made_at, row_state(entry), code);
        }
        timeline.announce();
        timeline
    }

    /// Removes a holder of the channel's rows or events. The last one ends the subscription.
    pub(super) fn release_channel(&mut self, now: Now, name: &str, of_rows: bool) {
        self.clamp(now);
        let Some(at) = self.channels.iter().position(|other| other.name == name) else { return };
        if !self.channels[at].release(of_rows) || self.channels[at].is_held() {
            return;
        }
        let gone = self.channels.remove(at);
        if !of_rows {
            self.store(StoreChange::ClearChannel { channel: gone.name.clone() });
        }
        self.leave_channel(&gone.name);
    }
}
