//! Delivery: what waits to be sent, how fast it may go, and where each channel stands.

mod channel;
mod keeping;
mod limiter;
mod outbox;
mod signals;

pub(crate) use channel::{Applied, Channel, Step};
pub(crate) use limiter::Limiter;
pub(crate) use outbox::{Delay, Entry, EntryState, NewOp, Next, Outbox, Wait};
pub use outbox::{Draft, Lane};
pub(crate) use signals::Signals;
