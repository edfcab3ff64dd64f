//! What a client has besides channels and dialogs, across the boundary.

use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::{Client, Config, Now, Part, Restored};

/// How what a client has besides channels and dialogs is made, asked and told of in JSON. A module
/// has one, and carries the code of no other.
pub trait Crossing: Part {
    /// A client that has it.
    fn client(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client<Self>;

    /// Carries out a command of its own; nothing if there is none of this name, or if it can't be
    /// read.
    fn command(client: &mut Client<Self>, name: &str, given: &Object<'_>, now: Now) -> Option<String>;

    /// Writes what it tells the application; `frame` begins an object of a kind.
    fn event(frame: impl FnOnce(&str) -> Writer, event: &Self::Event) -> Writer;
}

/// Nothing besides them.
impl Crossing for () {
    fn client(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client {
        Client::new(config, seed, now, restored)
    }

    fn command(_client: &mut Client, _name: &str, _given: &Object<'_>, _now: Now) -> Option<String> {
        None
    }

    fn event(_frame: impl FnOnce(&str) -> Writer, event: &Self::Event) -> Writer {
        match *event {}
    }
}
