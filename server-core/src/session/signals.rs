//! Signals: they go to the live subscribers of a channel and are not stored (protocol section 3).

use super::state::{Flow, Session};
use crate::access::Identity;
use tidewire_core::Now;
use tidewire_core::wire::{
    MAX_BODY_DEPTH, MAX_SIGNAL_BODY, MAX_SIGNAL_NAME, ServerFrame, Signal, codes, json,
};

/// Why a signal is refused: a code and a message.
fn fault(signal: &Signal) -> Option<(&'static str, String)> {
    if signal.kind.is_empty() {
        return Some((codes::BAD_FRAME, "`kind` of a signal must not be empty".to_owned()));
    }
    if json::depth(&signal.body) > MAX_BODY_DEPTH {
        let message = format!("`body` of a signal may be nested {MAX_BODY_DEPTH} levels deep");
        return Some((codes::TOO_DEEP, message));
    }
    let sizes = [
        ("kind", signal.kind.len(), MAX_SIGNAL_NAME),
        ("key", signal.key.as_ref().map_or(0, String::len), MAX_SIGNAL_NAME),
        ("body", signal.body.len(), MAX_SIGNAL_BODY),
    ];
    let (member, _, most) = sizes.into_iter().find(|(_, size, most)| size > most)?;
    Some((codes::TOO_LARGE, format!("`{member}` of a signal may have at most {most} bytes")))
}

impl Session {
    /// Sends a signal to the other subscribers, encoded once for all of them. A signal beyond the
    /// budget is dropped.
    pub(super) fn signal(&mut self, now: Now, identity: &Identity, mut signal: Signal) -> Flow {
        if let Some((code, message)) = fault(&signal) {
            return self.bad_frame(now, code, &message);
        }
        if !self.may_signal(now) {
            return self.flooded(now).unwrap_or(Flow::Ready);
        }
        match self.subscribed(&signal.ch) {
            Some(channel) if !self.engine().access.may_signal(identity, &channel) => {
                self.complain(codes::FORBIDDEN, "this user may not send signals to this channel", None);
            }
            Some(channel) => {
                self.engine().metrics.signals.count();
                signal.body = json::on_one_line(&signal.body).into_owned();
                let frame = ServerFrame::Signal { signal, by: identity.shown() };
                channel.signal(self.outgoing().id(), &frame.encode().into());
            }
            None => {
                let message = "subscribe to a channel before sending signals to it";
                self.complain(codes::NOT_SUBSCRIBED, message, None);
            }
        }
        Flow::Ready
    }
}
