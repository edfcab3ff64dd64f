//! Tidewire's server without I/O scheduling: what `docs/protocol.md` demands, decided by state
//! machines in one place.
//!
//! Nothing here starts a thread, waits, reads a clock or draws randomness: time comes with every
//! call, ids and tokens come from the driver, and what is kept is behind a trait.
//! `server-reference` drives it with sockets and threads.
//!
//! How a message flows: [`Session::message`] decodes and checks, and hands an op to the
//! [`store::Store`]. That commits it and calls its `done`, which applies the event to the
//! [`Channel`]: the same bytes are queued for every subscriber, and the sender is answered. A
//! [`Run`] is one answer of a model.
//!
//! A kind of event is a file in [`dialog::ops`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
mod connections;
pub mod dialog;
mod engine;
mod limits;
mod lock;
pub mod metrics;
mod outgoing;
mod people;
pub mod requests;
pub mod rules;
mod session;
pub mod store;
pub mod tables;
mod text;

pub use access::{AuthError, Identity, LEEWAY_S, Revocations, Verify};
pub use connections::{
    ConnectionFigures, ConnectionFilter, ConnectionInfo, Connections, Counted, MAX_LISTED, Whose,
};
pub use dialog::{
    AI_NAME, Answering, Channel, ChannelFigures, Effects, Extent, Hub, Ids, ModelError, Publish, Role, Run,
    Step, Stop, Turn, left_ended, reconcile,
};
pub use engine::{Engine, Identified, Peer, TurnedAway, counted};
pub use limits::{Budget, Limiter, ServerLimits, Timeouts};
pub use outgoing::{Close, Outgoing, QueueEvent, ToWrite, Transport, Wake};
pub use people::Agenda;
pub use session::{Answer, Flow, Session};
pub use text::Text;
pub use tidewire_core::{Now, Time};
