//! Tidewire's log and live tables in SQLite.
//!
//! Nothing here starts a thread or waits for anything but the database: [`log`] applies writes to a
//! connection of the caller's and reads from one, [`tables`] sets up triggers in an application's
//! database and reads what they log. The reference server runs both on threads, the simulator on
//! its virtual clock, and [`Inline`] in the caller's thread.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod inline;
pub mod log;
pub mod tables;

pub use inline::Inline;
