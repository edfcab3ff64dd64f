//! What stands in for live tables in the module whose clients have none: nothing, so that a page
//! with a chat does not load them.

use tidewire_core::tables::TableUpdate;
use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::{Client, Config, Now, Restored, StoreChange};

pub(crate) fn client(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client {
    Client::new(config, seed, now, restored)
}

pub(crate) fn config(_given: &Object<'_>, _config: &mut Config) {}

#[allow(clippy::unnecessary_wraps, reason = "the other module's may fail")]
pub(crate) fn restored(_given: &Object<'_>) -> Option<Vec<(String, String)>> {
    Some(Vec::new())
}

pub(crate) fn run(_client: &mut Client, _name: &str, _given: &Object<'_>, _now: Now) -> Option<String> {
    None
}

pub(crate) fn event(frame: Writer, _view: u32, _update: &TableUpdate) -> Writer {
    frame
}

pub(crate) fn change(frame: impl FnOnce(&str) -> Writer, _change: &StoreChange) -> Writer {
    frame("unknown")
}
