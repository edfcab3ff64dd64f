//! The link to the server: when to dial, with which token, and whether the peer is alive.

mod backoff;
mod cause;
mod connection;
mod credential;
mod heartbeat;
mod lines;
mod requests;
mod transport;

pub(crate) use cause::Cause;
pub(crate) use connection::Connection;
pub(crate) use requests::{ABNORMAL, Heard, Requests};

use crate::io::Output;
use crate::rng::Rng;
use crate::time::Now;
use std::collections::VecDeque;

/// What a transition needs from outside. The link makes no event of the client's part, `E`.
pub(crate) struct Context<'a, E> {
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) out: &'a mut VecDeque<Output<E>>,
    pub(crate) requests: &'a mut Requests,
}
