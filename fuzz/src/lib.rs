//! Properties that must hold for any input. Each target is a plain function that panics if one does
//! not. An ordinary test replays the corpora, and `cargo xtask fuzz` grows them.

mod client;
mod filter;
mod history;
mod machine;
mod requests;
mod tables;
mod token;
mod wire;

pub use client::{Reached, client_reaches};
pub use tables::tables_reach;

/// A function that takes any bytes, and panics if a property does not hold for them.
pub type Target = fn(&[u8]);

/// All targets, with the names of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("wire_client", wire::wire_client),
    ("wire_server", wire::wire_server),
    ("token", token::token),
    ("client", client::client),
    ("filter", filter::filter),
    ("history", history::history),
    ("machine", machine::machine),
    ("tables", tables::tables),
];

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(other, _)| *other == name).map(|(_, target)| *target)
}

/// The input that decides what happens; zeros follow it.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::from(self.byte()) % most
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Some bytes, with their number in front of them.
    pub(crate) fn some(&mut self) -> &'a [u8] {
        let length = usize::from(self.short()).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some
    }
}
