//! One connection's wires: what is on its way, how long it takes, and what the network does to it.

use crate::script::Way;
use tidewire_core::Transport;

/// A connection between a client and the server.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) transport: Transport,
    pub(crate) up: Wire,
    pub(crate) down: Wire,
    /// Whether the client still counts it as its own.
    pub(crate) held: bool,
    pub(crate) opened: bool,
    /// When the client heard its last byte, by its own clock.
    pub(crate) heard: u64,
    /// A request of it broke: the client must make no other one.
    pub(crate) is_broken: bool,
    /// When the client asked last, where nothing is held open, by its own clock.
    pub(crate) polled: Option<u64>,
    /// When the server looks again whether the wire takes more.
    pub(crate) flush_at: u64,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// When the last message arrives: none overtakes another.
    last: u64,
    /// Until then what has arrived waits for a client that sleeps. A client that is woken earlier
    /// gets nothing that came later before it.
    waits_until: u64,
    pub(crate) lost: bool,
    pub(crate) twice: bool,
    pub(crate) truncate: bool,
    /// The next piece of an answer is left out.
    pub(crate) miss_piece: bool,
}

/// How a message arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arrival {
    Never,
    Whole { at: u64 },
    Twice { at: u64 },
    Half { at: u64 },
}

impl Wire {
    /// When what arrives now is delivered, if not at once. `asleep` says until when the client sleeps.
    pub(crate) fn holds_back(&mut self, now: u64, asleep: Option<u64>) -> Option<u64> {
        self.waits_until = self.waits_until.max(asleep.unwrap_or_default());
        (self.waits_until > now).then_some(self.waits_until)
    }

    /// Sends a message that takes so long on its own.
    pub(crate) fn send(&mut self, now: u64, takes: u64) -> Arrival {
        if self.lost {
            return Arrival::Never;
        }
        let at = self.arrival(now, takes);
        if std::mem::take(&mut self.truncate) {
            Arrival::Half { at }
        } else if std::mem::take(&mut self.twice) {
            Arrival::Twice { at }
        } else {
            Arrival::Whole { at }
        }
    }

    /// When something sent now arrives, after everything sent before.
    pub(crate) fn arrival(&mut self, now: u64, takes: u64) -> u64 {
        self.last = self.last.max(now + takes);
        self.last
    }

    /// How long what is on its way still takes.
    pub(crate) fn backlog(&self, now: u64) -> u64 {
        self.last.saturating_sub(now)
    }
}

impl Link {
    pub(crate) fn new(transport: Transport, mono: u64) -> Link {
        Link {
            transport,
            up: Wire::default(),
            down: Wire::default(),
            held: true,
            opened: false,
            heard: mono,
            flush_at: 0,
            is_broken: false,
            polled: None,
        }
    }

    /// Does something to the wires of a direction.
    pub(crate) fn on(&mut self, way: Way, act: impl Fn(&mut Wire)) {
        if way != Way::Down {
            act(&mut self.up);
        }
        if way != Way::Up {
            act(&mut self.down);
        }
    }
}

/// The first half of a message.
pub(crate) fn half(text: &str) -> &str {
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..middle]
}
