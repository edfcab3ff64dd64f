//! A dialog's rows, kept here so that no platform keeps them anew.

mod timeline;

pub(crate) use timeline::{Timeline, read_runs};
