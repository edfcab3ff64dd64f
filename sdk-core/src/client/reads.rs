//! How far this client's user and others have read channels.

use super::Client;
use crate::error::{SendError, SubscribeError};
use crate::event::{Event, ReadState};
use crate::part::Part;
use crate::time::Now;
use crate::wire::json::{Object, Writer};
use crate::wire::{ChannelName, ClientFrame, Epoch, Marks, Offset, Receipt};

/// Most positions that are kept for channels that are not open.
const MOST_KEPT: usize = 100;

/// A position that the server does not have yet.
pub(super) struct KeptMark {
    channel: ChannelName,
    epoch: Epoch,
    offset: Offset,
}

impl<T: Part> Client<T> {
    /// Says that this client's user has read an open channel up to an event; none for the newest one
    /// that is here. A position never goes back. The server is told at most once a second, and what it
    /// could not be told yet is kept on the device.
    ///
    /// # Errors
    ///
    /// The channel is not open, or the event is not here yet.
    pub fn mark_read(&mut self, now: Now, channel: &str, offset: Option<Offset>) -> Result<(), SendError> {
        let now = self.acts(now);
        let name = ChannelName::parse(channel).ok_or(SendError::BadChannel)?;
        let at = self.place(&name).ok_or(SendError::NotOpen)?;
        let channel = &mut self.channels[at];
        let newest = channel.offset();
        let offset = offset.unwrap_or(newest);
        if offset > newest {
            return Err(SendError::BadOffset);
        }
        if let Some(cursor) = &channel.cursor {
            channel.reading.mark(now.mono, &cursor.epoch, offset);
        }
        Ok(())
    }

    /// Follows how far an open channel was read; it comes as [`Event::Reads`], first what is known
    /// already ([`Client::reads`]). Each call adds a watcher. All end with the channel.
    ///
    /// # Errors
    ///
    /// The channel is not open.
    pub fn watch_reads(&mut self, now: Now, channel: &str) -> Result<(), SubscribeError> {
        self.clamp(now);
        let name = ChannelName::parse(channel).ok_or(SubscribeError::BadChannel)?;
        let at = self.place(&name).ok_or(SubscribeError::NotOpen)?;
        self.channels[at].reading.watch();
        Ok(())
    }

    /// Removes a watcher of a channel's read positions.
    pub fn unwatch_reads(&mut self, now: Now, channel: &str) {
        self.clamp(now);
        if let Some(at) = ChannelName::parse(channel).and_then(|name| self.place(&name)) {
            self.channels[at].reading.unwatch();
        }
    }

    /// How far this client's user has read an open channel, and the positions of others; none if it
    /// is not open. Without a watcher only the own position is known.
    pub fn reads(&self, channel: &str) -> Option<(ReadState, Vec<Receipt>)> {
        let reading = &self.channels[self.place(&ChannelName::parse(channel)?)?].reading;
        Some((reading.state(), reading.receipts().to_vec()))
    }

    pub(super) fn marks_frame(&mut self, now: Now, frame: &Marks) {
        let Some(at) = self.place(&frame.ch) else {
            if let Some(offset) = frame.offset {
                let before = self.kept_marks.len();
                self.kept_marks.retain(|kept| kept.channel != frame.ch || kept.offset > offset);
                self.marks_changed |= self.kept_marks.len() < before;
            }
            return;
        };
        let reading = &mut self.channels[at].reading;
        let was_kept = reading.pending().is_some() && reading.keep_at().is_none();
        let refused = reading.apply(now.mono, frame);
        self.marks_changed |= was_kept && reading.pending().is_none();
        if let Some(code) = refused {
            let message = "the server did not store how far this channel was read".to_owned();
            self.emit(Event::Problem { code, message });
        }
    }

    /// Asks for the read positions of the live channels, and tells those of this client's user.
    pub(super) fn pump_reads(&mut self, now: Now, frames: &mut Vec<String>) {
        for channel in self.channels.iter_mut().filter(|channel| channel.is_live()) {
            let Some(cursor) = &channel.cursor else { continue };
            if channel.reading.ask(now.mono, &cursor.epoch, cursor.offset) {
                frames.push(ClientFrame::Marks { ch: channel.name.clone() }.encode());
            }
            if let Some(offset) = channel.reading.tell(now.mono) {
                frames.push(ClientFrame::Mark { ch: channel.name.clone(), offset }.encode());
            }
        }
    }

    /// Emits what changed about read positions.
    pub(super) fn emit_reads(&mut self) {
        for at in 0..self.channels.len() {
            let channel = &mut self.channels[at];
            if let Some((state, receipts)) = channel.reading.take_changes() {
                let channel = channel.name.clone();
                self.emit(Event::Reads { channel, state, receipts });
            }
        }
    }

    // What is kept on the device.

    /// Keeps positions that the server has not had for some time; all of them with `at_once`.
    pub(super) fn keep_marks(&mut self, now: Now, at_once: bool) {
        for channel in &mut self.channels {
            if channel.reading.keep_at().is_some_and(|at| at_once || at <= now.mono) {
                channel.reading.kept();
                self.marks_changed = true;
            }
        }
        if std::mem::take(&mut self.marks_changed) {
            self.put_profile();
        }
    }

    /// A channel is closed: the server is told of the position now, and it is kept until the server
    /// has it.
    pub(super) fn keep_mark_of(&mut self, channel: &crate::delivery::Channel) {
        let Some((epoch, offset)) = channel.reading.pending() else { return };
        let (name, epoch) = (channel.name.clone(), epoch.clone());
        if let Some(conn) = self.session.filter(|_| channel.is_live()) {
            self.transmit(conn, &ClientFrame::Mark { ch: name.clone(), offset });
        }
        if self.kept_marks.len() >= MOST_KEPT {
            self.kept_marks.remove(0);
        }
        self.kept_marks.push(KeptMark { channel: name, epoch, offset });
        self.marks_changed = true;
    }

    /// The client is closed: the server is told of all positions now, and they are kept until the
    /// server has them.
    pub(super) fn leave_marks(&mut self, now: Now) {
        if let Some(conn) = self.session {
            let live = self.channels.iter().filter(|channel| channel.is_live());
            let mark = |channel: &crate::delivery::Channel| {
                Some((channel.name.clone(), channel.reading.pending()?.1))
            };
            for (ch, offset) in live.filter_map(mark).collect::<Vec<_>>() {
                self.transmit(conn, &ClientFrame::Mark { ch, offset });
            }
        }
        self.keep_marks(now, true);
    }

    /// A channel is opened: the position that was kept for it is told again.
    pub(super) fn take_kept_mark(&mut self, channel: &mut crate::delivery::Channel) {
        if let Some(at) = self.kept_marks.iter().position(|kept| kept.channel == channel.name) {
            let KeptMark { epoch, offset, .. } = self.kept_marks.remove(at);
            channel.reading.restore(epoch, offset);
        }
    }

    /// Writes the positions that are kept, as a member of the profile.
    pub(super) fn write_marks(&self, writer: Writer) -> Writer {
        let mut marks: Vec<(&ChannelName, &Epoch, Offset)> = Vec::new();
        for KeptMark { channel, epoch, offset } in &self.kept_marks {
            marks.push((channel, epoch, *offset));
        }
        for channel in self.channels.iter().filter(|channel| channel.reading.keep_at().is_none()) {
            marks.extend(channel.reading.pending().map(|(epoch, offset)| (&channel.name, epoch, offset)));
        }
        if marks.is_empty() {
            return writer;
        }
        writer.each("marks", &marks, |writer, (channel, epoch, offset)| {
            writer.begin().str("ch", channel).str("epoch", epoch).u64("offset", offset.0).close()
        })
    }
}

/// The positions in a profile.
pub(super) fn read_marks(profile: &Object<'_>) -> Vec<KeptMark> {
    let mut marks = Vec::new();
    for mark in profile.opt_array("marks").unwrap_or_default() {
        let Ok(mark) = Object::parse(mark) else { continue };
        let channel = mark.text("ch").and_then(|name| ChannelName::parse(&name));
        if let (Some(channel), Some(epoch), Some(offset)) = (channel, mark.text("epoch"), mark.u64("offset"))
        {
            marks.push(KeptMark { channel, epoch: Epoch::from(epoch), offset: Offset(offset) });
        }
    }
    marks
}
