//! The log in an SQLite file: one writer that commits in groups, readers beside it.
//!
//! A write is answered after its transaction is on disk. Answers come on one thread, in the order
//! of the commits, so that events published from them are in the log's order.

mod checkpoint;
mod error;
mod flush;
mod in_doubt;
mod incarnation;
mod metrics;
mod private;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod transaction;
mod writer;

pub use error::OpenError;
pub use flush::Flush;
pub(crate) use writer::Sqlite;
