//! A dialog's rows, the same for every platform. Each kind of event has a file in `kinds`, which
//! says how it changes the rows.

mod kinds;
mod rows;
mod timeline;

pub(crate) use kinds::answer::read_runs;
pub(crate) use timeline::Timeline;
