//! How frames travel: over a WebSocket, or over plain requests where none gets through.

mod activity;
pub(crate) mod fallback;
mod flow;
mod pace;
pub(crate) mod single;
pub(crate) mod socket;
mod writing;

pub(crate) use activity::{Activity, Watched};
pub(crate) use pace::Pace;
