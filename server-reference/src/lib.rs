//! The reference server of Tidewire: durable dialogs over WebSocket, with answers that stream.
//!
//! It speaks `docs/protocol.md` and keeps its log in one SQLite file. The binary `tidewire-server`
//! reads its settings from flags, environment and a file ([`cli`]); tests and other programs start
//! a [`Server`] from a [`Config`].
//!
//! Decisions are made in `tidewire-server-core`; here are the sockets, threads and timers that
//! carry them out. The path of a message: [`Server`] accepts a connection, and `transport` passes
//! what it reads to the connection's session. Ops go to the store's writer (`stores/sqlite`), which
//! commits in groups. The publisher then queues the event for every subscriber, and `transport`
//! writes the queues to the sockets. `answers` has a [`responder::Responder`] answer messages.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod address_limiter;
mod answers;
mod app;
mod auth;
pub mod cli;
mod clock;
pub mod config;
mod cookie;
mod guest;
mod http;
mod loader;
mod metrics;
mod names;
mod origin;
mod people;
mod reconcile;
pub mod responder;
mod retention;
mod server;
mod session;
mod site;
mod stores;
pub mod tables;
mod transport;

pub use config::Config;
#[doc(hidden)]
pub use http::websocket_settings;
pub use server::{Server, StartError};
pub use stores::OpenError;
pub use tidewire_core::wire::UserKind;
pub use tidewire_server_core::store::{Account, StoreError};
pub use tidewire_server_sqlite::log::SCHEMA_VERSION;

/// For fuzzing: the check of every connection's token. Its arguments are the token and the present
/// time, in seconds since the Unix epoch.
#[doc(hidden)]
pub fn token_check(
    config: &Config,
    guest_key: &[u8],
) -> Result<
    impl Fn(&str, u64) -> Result<tidewire_server_core::Identity, tidewire_server_core::AuthError> + use<>,
    config::ConfigError,
> {
    let auth = auth::Auth::new(config, guest_key, std::collections::BTreeSet::new())?;
    Ok(move |token: &str, now_s: u64| auth.verify_at(token, now_s))
}
