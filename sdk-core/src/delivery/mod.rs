//! Delivery: the outbox, the op budget, and each channel's subscription and cursor.

mod channel;
mod limiter;
mod outbox;
mod persistence;
mod signals;

pub(crate) use channel::{Applied, Channel, Step};
pub(crate) use limiter::Limiter;
pub(crate) use outbox::{Delay, Entry, EntryState, NewOp, Next, Outbox, Wait};
pub use outbox::{Draft, Lane};
pub(crate) use signals::Signals;
