//! The log in SQLite, written and read on connections of the caller.
//!
//! [`begin`] applies a batch of writes inside a transaction, which the caller commits or rolls
//! back. Outcomes may be published only after the commit, in the order of the commits. Readers need
//! a connection of their own, otherwise they see uncommitted writes.

mod columns;
mod dialogs;
mod handing;
mod members;
mod ops;
mod positions;
mod read;
mod retention;
mod schema;
mod sessions;
mod sites;
mod transaction;

pub use read::read;
pub use schema::{SCHEMA_VERSION, SchemaError, migrate, read_meta, tune, write_meta};
pub use transaction::{Applied, begin, commit, rollback};

use tidewire_server_core::store::StoreError;

/// What the log needs from its driver.
pub trait Outside {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// A keyed digest that stays the same as long as the database exists; `None` if it can't be
    /// made.
    fn digest(&self, text: &str) -> Option<String>;
    /// Whether the trim in this batch has delayed other writes for long enough.
    fn enough(&self) -> bool;
}

/// The store's error for an error of SQLite.
pub fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Unavailable,
    }
}
