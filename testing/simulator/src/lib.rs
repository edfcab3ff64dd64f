//! A simulator of Tidewire: N real client cores and the real server's decisions and log, in one
//! thread on one virtual clock, under every fault that a script names.
//!
//! A seed determines a script ([`plan`]), and a script a run ([`run`]). Every guarantee is checked
//! as things happen ([`Broken`]); then the faults end, and everything must come to rest in bounded
//! time. The script of a run that violates a guarantee is cut down to the few actions that it takes
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
