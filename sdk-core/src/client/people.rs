//! Who is in a channel, and what this client's user is doing there.

use super::Client;
use super::drafts::check_body;
use crate::error::{SendError, SubscribeError};
use crate::event::{Event, PeopleStatus};
use crate::part::Part;
use crate::time::Now;
use crate::wire::{ChannelName, ClientFrame, HERE, MAX_LEASE_BODY, MAX_LEASE_KIND, People, Person, TYPING};

impl<T: Part> Client<T> {
    /// Follows who is in an open channel; it comes as [`Event::People`], first those who are known
    /// already ([`Client::people`]). Each call adds a watcher. All end with the channel.
    ///
    /// # Errors
    ///
    /// The channel is not open.
    pub fn watch_people(&mut self, now: Now, channel: &str) -> Result<(), SubscribeError> {
        self.clamp(now);
        let name = ChannelName::parse(channel).ok_or(SubscribeError::BadChannel)?;
        let at = self.place(&name).ok_or(SubscribeError::NotOpen)?;
        self.channels[at].people.watch();
        Ok(())
    }

    /// Removes a watcher of a channel's people.
    pub fn unwatch_people(&mut self, now: Now, channel: &str) {
        self.clamp(now);
        let Some(ch) = ChannelName::parse(channel) else { return };
        let Some(at) = self.place(&ch) else { return };
        if self.channels[at].people.unwatch()
            && let Some(conn) = self.session
        {
            self.transmit(conn, &ClientFrame::Unwatch { ch });
        }
    }

    /// Holds a lease in an open channel: something that this client's user is or does there, which
    /// others see until it is given up (`None`), or until all the user's clients that hold it are
    /// gone. It is said again on each connection. A newer body replaces the older one.
    ///
    /// `kind` has 1 to 64 bytes and is neither `here` nor `typing`; `body` is the JSON text of an
    /// object of up to 1,024 bytes.
    pub fn set_lease(
        &mut self,
        now: Now,
        channel: &str,
        kind: &str,
        body: Option<&str>,
    ) -> Result<(), SendError> {
        let now = self.acts(now);
        let name = ChannelName::parse(channel).ok_or(SendError::BadChannel)?;
        if let Some(body) = body {
            check_body(body)?;
        }
        if body.is_some_and(|body| body.len() > MAX_LEASE_BODY) || kind.len() > MAX_LEASE_KIND {
            return Err(SendError::TooLarge);
        }
        if kind.is_empty() || kind == HERE || kind == TYPING {
            return Err(SendError::BadKind);
        }
        let at = self.place(&name).ok_or(SendError::NotOpen)?;
        self.channels[at].leases.set(now.mono, kind, body)
    }

    /// Says that this client's user is writing in an open channel, or has stopped. Call it with each
    /// change of the text: others are told at most every 3 s, and after 6 s without another call,
    /// or with the user's next message, they are told of the end.
    pub fn typing(&mut self, now: Now, channel: &str, on: bool) -> Result<(), SendError> {
        let now = self.acts(now);
        let name = ChannelName::parse(channel).ok_or(SendError::BadChannel)?;
        let at = self.place(&name).ok_or(SendError::NotOpen)?;
        let live = self.session.is_some() && self.channels[at].is_live();
        self.channels[at].leases.typing(now.mono, live, on);
        Ok(())
    }

    /// Who is known to be in a channel, with how far that can be relied on, and how many they are;
    /// none if the channel is not open. Without a watcher nobody is known.
    pub fn people(&self, channel: &str) -> Option<(Vec<Person>, PeopleStatus, u64)> {
        let people = &self.channels[self.place(&ChannelName::parse(channel)?)?].people;
        Some((people.people(), people.status().clone(), people.count()))
    }

    pub(super) fn people_frame(&mut self, now: Now, frame: &People) {
        if let Some(at) = self.place(&frame.ch) {
            self.channels[at].people.apply(now.mono, frame);
        }
    }

    /// Asks who is in the live channels, and says what this client's user is doing there.
    pub(super) fn pump_people(&mut self, now: Now, frames: &mut Vec<String>) {
        let Client { channels, signals, .. } = self;
        for channel in channels.iter_mut().filter(|channel| channel.is_live()) {
            if channel.people.ask(now.mono) {
                frames.push(ClientFrame::Watch { ch: channel.name.clone() }.encode());
            }
            while channel.leases.wait() && signals.may_send(now.mono) {
                let lease = channel.leases.next(now.mono, &channel.name);
                frames.extend(lease.map(|lease| ClientFrame::Lease(lease).encode()));
            }
        }
    }

    /// Emits what changed about people.
    pub(super) fn emit_people(&mut self, now: Now) {
        for at in 0..self.channels.len() {
            let channel = &mut self.channels[at];
            channel.people.tick(now.mono);
            if let Some((changes, status, count)) = channel.people.take_changes() {
                let channel = channel.name.clone();
                self.emit(Event::People { channel, changes, status, count });
            }
        }
    }
}
