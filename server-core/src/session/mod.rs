//! One client's connection, from its first frame to its close code.

mod admission;
mod earlier;
mod hello;
mod idle;
mod inflight;
mod marks;
mod pages;
mod people;
mod signals;
mod state;
mod submit;
mod subscribe;
mod tables;
mod waiting;

pub use state::{Answer, Flow, Session};
