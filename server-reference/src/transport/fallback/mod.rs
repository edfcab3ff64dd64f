//! Connections over plain requests, for networks that let no WebSocket through (protocol section
//! 11).
//!
//! The session behind one is the same as behind a socket: messages come up as the bodies of
//! requests, and go down as the lines of a response that stays open, or of one that waits until
//! there is something to say.

mod down;
mod drive;
mod link;
mod links;
mod requests;
mod routes;
mod up;

pub(crate) use links::Links;
pub(crate) use routes::routes;
