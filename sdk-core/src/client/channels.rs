//! The commands that open and close channels.

use super::{Client, row_code, row_state};
use crate::chat::{Timeline, read_runs};
use crate::delivery::Channel;
use crate::error::SubscribeError;
use crate::event::{ChannelState, Event, OpState};
use crate::io::StoreChange;
use crate::part::Part;
use crate::time::Now;
use crate::wire::{ChannelName, Cursor, Epoch, EventFrame, Offset, RunText};

/// What a new holder of a channel follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// The rows of a dialog.
    Rows,
    /// The events after the stored cursor.
    Events,
    /// The newest events, and those that follow.
    Newest,
}

/// Most subscriptions of a client.
const MAX_CHANNELS: usize = 100;

impl<T: Part> Client<T> {
    /// Opens a dialog. Its rows come as [`Event::Dialog`], first those that are known already.
    /// Opening an open dialog adds a holder and emits no rows; see [`Client::rows`].
    pub fn open_dialog(&mut self, now: Now, dialog: &str) -> Result<(), SubscribeError> {
        self.add_channel(now, ChannelName::of_dialog(dialog), Follows::Rows).map(drop)
    }

    /// Removes a holder of a dialog; the last one closes it. Waiting ops are still sent.
    pub fn close_dialog(&mut self, now: Now, dialog: &str) {
        self.release_channel(now, ChannelName::of_dialog(dialog), true);
    }

    /// Subscribes to a channel's events, which come as [`Event::Received`]. Each call adds a
    /// holder.
    pub fn subscribe(&mut self, now: Now, channel: &str) -> Result<(), SubscribeError> {
        self.add_channel(now, ChannelName::parse(channel), Follows::Events).map(drop)
    }

    /// As [`Client::subscribe`], for an application that shows a channel's newest events: it begins
    /// with those that are stored, which are returned, or if there are none with the newest ones of
    /// the server. From then on events are stored for the next start. If the events are followed
    /// already, nothing is returned, and nothing comes again.
    pub fn open_channel(&mut self, now: Now, channel: &str) -> Result<Vec<EventFrame>, SubscribeError> {
        self.add_channel(now, ChannelName::parse(channel), Follows::Newest)
    }

    /// Removes a holder of a subscription; the last one ends it.
    pub fn unsubscribe(&mut self, now: Now, channel: &str) {
        self.release_channel(now, ChannelName::parse(channel), false);
    }

    /// Requests at most `most` events (1 to 256) before this offset, by default before those that the
    /// rows show or, for a channel's events, the newest ones. They come as [`Event::Older`] with the
    /// offset that is returned, as soon as the channel is live; a dialog's rows keep their identity.
    /// A request for the same offset that is under way answers this one too.
    ///
    /// # Errors
    ///
    /// The channel is not open.
    pub fn load_older(
        &mut self,
        now: Now,
        channel: &str,
        before: Option<Offset>,
        most: u64,
    ) -> Result<Offset, SubscribeError> {
        let now = self.acts(now);
        let name = ChannelName::parse(channel).ok_or(SubscribeError::BadChannel)?;
        let at = self.place(&name).ok_or(SubscribeError::NotOpen)?;
        let channel = &mut self.channels[at];
        let end = channel.offset().plus(1);
        let since = channel.timeline.as_ref().map(|timeline| timeline.since().plus(1));
        let nothing = before.is_none() && channel.timeline.as_ref().is_some_and(|rows| !rows.has_older());
        let before = before.or(since).map_or(end, |before| before.min(end));
        let failed = channel.has_failed();
        if failed || nothing || before <= Offset(1) {
            let joined = !failed && channel.timeline.is_some();
            self.after_rows.push(Event::Older {
                channel: name,
                before,
                events: Vec::new(),
                joined,
                more: failed,
            });
        } else {
            channel.want_older(now.mono, before, most);
        }
        Ok(before)
    }

    /// The place of a channel among those that are followed.
    pub(super) fn place(&self, name: &ChannelName) -> Option<usize> {
        self.channels.iter().position(|channel| channel.name == *name)
    }

    pub(super) fn timeline(&mut self, channel: &ChannelName) -> Option<&mut Timeline> {
        let at = self.place(channel)?;
        self.channels[at].timeline.as_mut()
    }

    /// The timeline of an open dialog.
    pub(super) fn dialog(&self, id: &str) -> Option<&Timeline> {
        let at = self.place(&ChannelName::of_dialog(id)?)?;
        self.channels[at].timeline.as_ref()
    }

    fn add_channel(
        &mut self,
        now: Now,
        name: Option<ChannelName>,
        follows: Follows,
    ) -> Result<Vec<EventFrame>, SubscribeError> {
        self.acts(now);
        let with_rows = follows == Follows::Rows;
        let name = &name.ok_or(SubscribeError::BadChannel)?;
        if let Some(at) = self.place(name) {
            // The reason of a refusal may be gone by now.
            if self.channels[at].has_failed() {
                self.channels[at].ask_again();
            }
            if with_rows && self.channels[at].timeline.is_none() {
                self.shown_waits = None;
                let timeline = self.new_timeline(name, Offset::ZERO, &[], &[]);
                self.channels[at].show_rows(timeline);
            } else if follows == Follows::Newest && self.channels[at].load_events() {
                self.emit_channel(name, ChannelState::Syncing);
            }
            self.channels[at].add_holder(with_rows);
            return Ok(Vec::new());
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(SubscribeError::TooMany);
        }
        self.shown_waits = None;
        let cached =
            self.cached.iter().position(|other| *name == *other.channel).map(|at| self.cached.remove(at));
        let cursor = cached.as_ref().map(|cached| Cursor {
            epoch: Epoch::from(cached.epoch.as_str()),
            offset: Offset(cached.cursor),
        });
        let mut events = Vec::new();
        for event in cached.iter().flat_map(|cached| &cached.events) {
            if let Ok(event) = EventFrame::decode(event) {
                // It may be an op that the stored outbox has as unsettled.
                self.settle_op(&event.id, OpState::Acked { offset: event.offset });
                events.push(event);
            }
        }
        let timeline = with_rows.then(|| {
            let first = events.first().map(|event| event.offset.minus(1));
            let begin = first.or(cursor.as_ref().map(|cursor| cursor.offset)).unwrap_or_default();
            let runs = cached.as_ref().map_or_else(Vec::new, |cached| read_runs(&cached.runs));
            self.new_timeline(name, begin, &events, &runs)
        });
        let mut channel = Channel::new(name, cursor, timeline);
        channel.keeps_events |= follows == Follows::Newest;
        self.take_kept_mark(&mut channel);
        self.channels.push(channel);
        self.emit_channel(name, ChannelState::Syncing);
        Ok(if follows == Follows::Newest { events } else { Vec::new() })
    }

    /// A timeline with the rows of stored events after an offset, then those of waiting ops.
    fn new_timeline(
        &self,
        name: &ChannelName,
        begin: Offset,
        events: &[EventFrame],
        runs: &[RunText],
    ) -> Timeline {
        let mut timeline = Timeline::new(self.me.clone());
        timeline.begins_after(begin);
        for event in events {
            timeline.apply(event);
        }
        for run in runs {
            timeline.snapshot(run);
        }
        for entry in self.outbox.iter().filter(|entry| entry.channel == *name && entry.has_row()) {
            let code = row_code(entry).map(str::to_owned);
            timeline.write(&entry.id, &entry.body, entry.made_at, row_state(entry), code);
        }
        timeline.announce();
        timeline
    }

    /// Ends all requests for older events of a channel, without events.
    pub(super) fn drop_older(&mut self, at: usize) {
        let channel = self.channels[at].name.clone();
        for before in self.channels[at].drop_older() {
            let (channel, events) = (channel.clone(), Vec::new());
            self.after_rows.push(Event::Older { channel, before, events, joined: false, more: true });
        }
    }

    /// Removes a holder of the channel's rows or events. The last one ends the subscription.
    fn release_channel(&mut self, now: Now, name: Option<ChannelName>, of_rows: bool) {
        self.clamp(now);
        let Some(at) = name.and_then(|name| self.place(&name)) else {
            return;
        };
        if !self.channels[at].release(of_rows) || self.channels[at].is_held() {
            return;
        }
        let gone = self.channels.remove(at);
        self.keep_mark_of(&gone);
        if !of_rows {
            self.store(StoreChange::ClearChannel { channel: gone.name.clone() });
        }
        self.leave_channel(&gone.name);
    }
}
