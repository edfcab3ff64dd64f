//! The log in an SQLite file: one writer that commits in groups, readers beside it.
//!
//! A write is answered after its transaction is on disk. Answers come in the order of the commits,
//! on one thread, so whoever publishes from them publishes in log order.

mod checkpoint;
mod error;
mod in_doubt;
mod incarnation;
mod private;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod transaction;
mod writer;

pub use error::OpenError;
pub(crate) use writer::Sqlite;
