//! A dialog's rows, kept here so that no platform keeps them anew. What the events of a kind make of
//! them is one file in `kinds`.

mod kinds;
mod rows;
mod timeline;

pub(crate) use kinds::answer::read_runs;
pub(crate) use timeline::Timeline;
