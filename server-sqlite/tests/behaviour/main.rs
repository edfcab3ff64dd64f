//! What the server's core does over SQLite, a file for each behaviour, in one program, because each
//! program more is compiled and linked with all of SQLite for itself.

#![allow(clippy::unwrap_used)]

mod accounts;
mod driving;
mod earlier;
mod kinds;
mod members;
mod people;
mod revocation;
mod rig;
mod rules;
mod services;
mod signals;
mod tables;
mod tables_model;
mod tables_resume;
mod tables_sqlite;
mod tables_sqlite_live;
mod takeover;
