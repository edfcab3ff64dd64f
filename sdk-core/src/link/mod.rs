//! The link to the server: when to dial, with which token, and whether the peer is alive.

mod backoff;
mod connection;
mod heartbeat;

pub(crate) use connection::{Connection, Context};
