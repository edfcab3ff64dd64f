//! The core's behaviour through its public surface, in virtual time: one program, so that it links
//! once.

#![allow(clippy::disallowed_types, reason = "no page loads this")]

mod channels;
mod codes;
mod connection;
mod explain;
#[cfg(not(target_family = "wasm"))]
mod filter;
mod handoff;
mod handover;
mod holders;
mod idle;
#[cfg(not(target_family = "wasm"))]
mod imports;
mod kinds;
mod lanes;
mod liveness;
mod metrics;
mod older;
mod outbox;
mod people;
mod predicate;
#[cfg(not(target_family = "wasm"))]
mod protocol;
mod readable;
mod reads;
mod requests;
mod restart;
mod rig;
mod store;
mod store_cases;
mod table_lists;
mod tables;
mod timeline;
mod token;
mod waits;
mod wire;
mod words;
