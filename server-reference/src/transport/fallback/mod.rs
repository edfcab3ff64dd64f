//! Connections over plain requests, for networks that block WebSockets (protocol section 11).
//!
//! The session is the same as over a WebSocket. A client's messages come as bodies of requests. Its
//! own come as lines of a response that stays open, or of one that waits until there is a message.

mod down;
mod drive;
mod link;
mod links;
mod requests;
mod routes;
mod up;

pub(crate) use links::Links;
pub(crate) use requests::turned_away;
pub(crate) use routes::routes;
