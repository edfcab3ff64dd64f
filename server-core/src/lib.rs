//! Tidewire's server without I/O scheduling: what `docs/protocol.md` demands, decided by state machines in one place.
//!
//! Nothing here starts a thread, waits, reads a clock or draws randomness: time comes with every call, ids and tokens come from
//! the driver, and so do the reads and commits of the log. `server-reference` drives it with sockets and threads.
//!
//! How a message flows: [`Session::message`] decodes and checks, and hands an op to [`log::Submit`]. The driver applies
//! it by [`log::begin`], commits, and calls its `done`: that gives the event to the [`Channel`], which queues the same bytes for
//! every subscriber, and answers the sender. A [`Run`] is one answer of a model.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod answers;
mod channel;
mod connections;
mod engine;
mod hub;
mod identity;
mod limiter;
pub mod log;
mod outgoing;
mod pages;
mod reconcile;
mod revocations;
mod seats;
mod session;
mod settings;
mod signals;
mod submit;
mod subscribing;
mod sync;
pub mod tables;
mod text;
mod turns;
mod window;

pub use admission::TurnedAway;
pub use answers::{AI_NAME, Answering, Ids, Publish, Run, Step, left_ended, want};
pub use channel::{Channel, Extent, Seat, Stop};
pub use connections::{Connections, Counted, Place};
pub use engine::{Engine, counted};
pub use hub::Hub;
pub use identity::{AuthError, Identity, LEEWAY_S, Verify};
pub use limiter::Limiter;
pub use outgoing::{Close, Outgoing, Signal, ToWrite, Wake};
pub use reconcile::publish_late;
pub use revocations::{Revocation, Revocations};
pub use session::{Answer, Ask, Flow, Peer, Session};
pub use settings::{Budget, ServerLimits, Timeouts};
pub use text::Text;
pub use tidewire_core::{Now, Time};
pub use turns::{ModelError, Role, Turn, matters};
