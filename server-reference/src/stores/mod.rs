//! Where the log is kept.

mod async_store;
mod sqlite;

pub(crate) use async_store::AsyncStore;
pub(crate) use sqlite::Sqlite;
pub use sqlite::{Flush, OpenError};
