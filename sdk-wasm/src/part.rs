//! The optional part of a client, across the boundary.

use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::{Client, Config, Now, Part, Restored};

/// How the optional part of a client is created, commanded and encoded. A module has one, and
/// contains no code of others.
pub trait Crossing: Part {
    /// Makes a client with this part.
    fn client(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client<Self>;

    /// Carries out a command of this part. None if there is no command with this name, or if it
    /// can't be read.
    fn command(client: &mut Client<Self>, name: &str, given: &Object<'_>, now: Now) -> Option<String>;

    /// Writes an event of this part; `frame` begins an object with a `t`.
    fn event(frame: impl FnOnce(&str) -> Writer, event: &Self::Event) -> Writer;
}

/// A client with channels and dialogs only.
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
