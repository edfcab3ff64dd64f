//! The log in SQLite: what is written to it and read from it, on a connection of the caller's.
//!
//! A batch of writes is applied by [`begin`] inside a transaction that the caller commits or rolls
//! back. Only then may anybody hear of it, in the order of the commits. Readers need a connection
//! of their own, or they see what is not committed yet.

mod dialogs;
mod ops;
mod read;
mod retention;
mod schema;
mod transaction;

pub use read::read;
pub use schema::{SCHEMA_VERSION, SchemaError, migrate, read_meta, tune, write_meta};
pub use transaction::{Applied, begin, commit, rollback};

use tidewire_server_core::store::StoreError;

/// What the log takes from outside.
pub trait Outside {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// A keyed digest, the same for the same text in all lives of the database; none when it can't
    /// be made.
    fn digest(&self, text: &str) -> Option<String>;
    /// Whether the trimming that began with this batch has kept everybody else's writes waiting for
    /// long enough.
    fn enough(&self) -> bool;
}

/// What SQLite's error is to those who use the store.
pub fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Unavailable,
    }
}
