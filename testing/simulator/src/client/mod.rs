//! The clients: what a machine keeps, and what a process on it has in memory.

mod device;
mod disk;
mod process;

pub(crate) use device::Device;
pub(crate) use process::{Bucket, Process};
