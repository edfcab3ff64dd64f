//! The optional part of a client besides channels and dialogs, chosen by type.

use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::wire::DecodeError;
use std::convert::Infallible;

/// The optional part of a client besides channels and dialogs: nothing, `()`, or live tables,
/// [`crate::tables::Tables`]. It is chosen by type, so that a program contains no code for parts
/// that it does not use. Only the core implements it.
pub trait Part: sealed::Sealed + Sized {
    /// The events of this part.
    type Event: std::fmt::Debug + Clone + PartialEq;

    /// Restores names and records from the store.
    fn restore(&mut self, kept: Vec<(String, String)>, now: Now);
    /// A session begins.
    fn connected(&mut self);
    /// The session has ended.
    fn disconnected(&mut self);
    /// Another user signed in: forgets all data of the former one.
    fn forget_user(&mut self);
    /// Handles a frame for this part.
    ///
    /// # Errors
    ///
    /// The frame can't be read.
    fn frame(&mut self, now: Time, rng: &mut Rng, text: &str) -> Result<(), DecodeError>;
    /// Does what is due; with `flush` also what is only due later.
    fn tick(&mut self, now: Now, flush: bool);
    /// When something is due next.
    fn deadline(&self) -> Option<Time>;
    /// The effects of the calls before, in order.
    fn take(&mut self) -> Vec<Effect<Self::Event>>;
}

/// An effect that a part asks of its client.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<E> {
    /// Send this frame.
    Send(String),
    /// Hand this event to the application.
    Emit(E),
    /// Store a record under a name, or delete it.
    Keep {
        /// The record's name.
        name: String,
        /// The record; none to delete it.
        record: Option<String>,
    },
    /// A subscription starts again: write it into the journal.
    Again {
        /// The table.
        about: String,
        /// Whether the client missed something; otherwise the server ended the subscription.
        missed: bool,
    },
}

mod sealed {
    /// Allows only this crate to implement [`super::Part`].
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for crate::tables::Tables {}
}

/// A client with channels and dialogs only.
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
    fn take(&mut self) -> Vec<Effect<Infallible>> {
        Vec::new()
    }
}
