//! The reference server of Tidewire: durable dialogs over WebSocket, with answers that stream.
//!
//! It speaks `docs/protocol.md` and keeps everything in one SQLite file. The binary `tidewire-server` reads its settings from
//! flags, environment and a file ([`cli`]); tests and other programs start a [`Server`] from a [`Config`] themselves.
//!
//! How a message flows: [`Server`] accepts, `session` decodes and checks, `submit` hands the op to the store's writer, which
//! commits in groups; the publisher then gives the event to the channel, which queues the same bytes for every
//! subscriber, and answers the sender. `answers` follows the dialogs with a [`responder::Responder`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod activity;
mod address;
mod answers;
mod app;
mod auth;
mod channel;
pub mod cli;
mod clock;
pub mod config;
mod connections;
mod guest;
mod http;
mod hub;
mod limiter;
mod origin;
mod outgoing;
mod pages;
mod reconcile;
pub mod responder;
mod retention;
mod server;
mod session;
mod statics;
mod store;
mod submit;
mod sync;

pub use config::Config;
pub use server::{Server, StartError};
pub use store::{OpenError, SCHEMA_VERSION, StoreError};
