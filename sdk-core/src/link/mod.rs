//! The link to the server: when to dial, with which token, and whether the peer is alive.

mod backoff;
mod connection;
mod credential;
mod heartbeat;
mod transport;

pub(crate) use connection::Connection;

use crate::io::Output;
use crate::rng::Rng;
use crate::time::Now;
use std::collections::VecDeque;

/// Why the connection is not there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Stable code.
    pub(crate) code: String,
    /// For people; may be empty.
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn new(code: &str, message: &str) -> Cause {
        Cause { code: code.to_owned(), message: message.to_owned() }
    }
}

impl From<&str> for Cause {
    fn from(code: &str) -> Cause {
        Cause::new(code, "")
    }
}

/// What a transition needs from outside.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) out: &'a mut VecDeque<Output>,
}
