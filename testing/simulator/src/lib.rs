//! A simulator of Tidewire: N real client cores and the real server's decisions and log, in one
//! thread on one virtual clock, under every fault that a script names.
//!
//! A seed makes a script ([`plan`]); a script makes a run ([`run`]), always the same one. Every
//! promise is checked as it is made ([`Broken`]); then the faults end and everything must come to
//! rest in bounded time. A run that breaks a promise is cut down to the few actions that do it
//! ([`shrink`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
pub mod crowd;
mod dice;
mod figures;
mod liveness;
pub mod plan;
mod play;
mod run;
mod script;
mod server;
mod shrink;
pub mod tables;
mod watch;
mod world;

pub use dice::Dice;
pub use figures::Figures;
pub use run::{Outcome, run};
pub use script::{Action, DiskFault, FAULTS_MS, Script, Setup, Way};
pub use shrink::shrink;
pub use watch::Broken;
