//! The HTTP side: the routes, the endpoints of protocol section 7, health and static files.

mod channels;
mod connections;
mod dialogs;
pub(crate) mod error;
mod guard;
mod guests;
mod members;
mod metrics;
mod people;
mod queue;
mod reads;
pub(crate) mod request;
mod revoke;
mod router;
mod session;
mod sessions;
mod sites;
mod statics;
mod tickets;

pub use router::websocket_settings;
pub(crate) use router::{below, router};
