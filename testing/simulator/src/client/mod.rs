//! The clients: the state of a machine, and of a process on it.

mod device;
mod disk;
mod process;

pub(crate) use device::Device;
pub(crate) use process::{Bucket, LinkId, Process};
