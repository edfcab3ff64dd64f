//! What a client has besides channels and dialogs, chosen by its type.

use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::wire::DecodeError;
use std::convert::Infallible;

/// What a client has besides channels and dialogs: nothing, `()`, or live tables,
/// [`crate::tables::Tables`]. It is chosen by type, so that a program does not carry the code of
/// what its clients don't have. Only the core implements it.
pub trait Part: sealed::Sealed + Sized {
    /// What it tells the application.
    type Event: std::fmt::Debug + Clone + PartialEq;

    /// Takes over what the store held, as names and records.
    fn restore(&mut self, kept: Vec<(String, String)>, now: Now);
    /// A session begins.
    fn connected(&mut self);
    /// The session is over.
    fn disconnected(&mut self);
    /// Another user signed in: nothing of the former one's may stay.
    fn forget_user(&mut self);
    /// A frame of this session that is for it.
    ///
    /// # Errors
    ///
    /// The frame can't be read.
    fn frame(&mut self, now: Time, rng: &mut Rng, text: &str) -> Result<(), DecodeError>;
    /// Does what is due; with `flush` also what could wait.
    fn tick(&mut self, now: Now, flush: bool);
    /// When something is due next.
    fn deadline(&self) -> Option<Time>;
    /// What is to be done next because of the calls before.
    fn take(&mut self) -> Option<Effect<Self::Event>>;
}

/// What a part asks of its client.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<E> {
    /// Send this frame.
    Send(String),
    /// Hand this event to the application.
    Emit(E),
    /// Keep this record under this name, or forget what is kept.
    Keep {
        /// The record's name.
        name: String,
        /// The record; none to forget it.
        record: Option<String>,
    },
    /// Something is asked for again: write it into the journal.
    Again {
        /// What.
        about: String,
        /// Whether something was missed, or the server ended it.
        missed: bool,
    },
}

mod sealed {
    /// Keeps [`super::Part`] to the core.
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for crate::tables::Tables {}
}

/// A client with channels and dialogs alone.
impl Part for () {
    type Event = Infallible;

    fn restore(&mut self, _kept: Vec<(String, String)>, _now: Now) {}
    fn connected(&mut self) {}
    fn disconnected(&mut self) {}
    fn forget_user(&mut self) {}
    fn frame(&mut self, _now: Time, _rng: &mut Rng, _text: &str) -> Result<(), DecodeError> {
        Ok(())
    }
    fn tick(&mut self, _now: Now, _flush: bool) {}
    fn deadline(&self) -> Option<Time> {
        None
    }
    fn take(&mut self) -> Option<Effect<Infallible>> {
        None
    }
}
