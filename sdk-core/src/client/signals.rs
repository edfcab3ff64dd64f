//! Signals: ephemeral messages that are neither stored nor acknowledged.

use super::Client;
use super::drafts::check_body;
use crate::error::SendError;
use crate::event::Event;
use crate::part::Part;
use crate::time::Now;
use crate::wire::{ChannelName, MAX_SIGNAL_BODY, MAX_SIGNAL_NAME, Signal, User};

impl<T: Part> Client<T> {
    /// Sends an ephemeral signal to the current subscribers of a channel, such as a typing notice
    /// or the position of a cursor. A newer signal of the same kind and key replaces one that still
    /// waits. A signal is sent once the channel is live, within 3 s, or dropped.
    ///
    /// `kind` and `key` have up to 64 bytes, `body` is the JSON text of an object of up to 1,024.
    pub fn signal(
        &mut self,
        now: Now,
        channel: &str,
        kind: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<(), SendError> {
        let now = self.acts(now);
        let ch = ChannelName::parse(channel).ok_or(SendError::BadChannel)?;
        check_body(body)?;
        let longest = kind.len().max(key.map_or(0, str::len));
        if body.len() > MAX_SIGNAL_BODY || longest > MAX_SIGNAL_NAME {
            return Err(SendError::TooLarge);
        }
        let signal = Signal { ch, kind: kind.to_owned(), key: key.map(str::to_owned), body: body.to_owned() };
        self.signals.put(now.mono, signal)
    }

    pub(super) fn signalled(&mut self, signal: Signal, by: User) {
        if self.place(&signal.ch).is_some() {
            self.emit(Event::Signal { signal, by });
        }
    }
}
