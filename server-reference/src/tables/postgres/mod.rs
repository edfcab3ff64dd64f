//! Live tables of a PostgreSQL database, by logical replication.
//!
//! [`Source`] drives the tables of the server's core. It uses [`Stream`] for commits in their
//! order, and [`Reader`] for snapshots of a table. [`plan`] writes the SQL with which an
//! administrator sets the database up, and the stream checks the set-up whenever it connects. The
//! parts in the database:
//!
//! - A slot keeps the log until we have read it. The server creates it. Its name ends with the time
//!   of its creation, which tells a new slot from an old one and is part of the epoch.
//! - A publication says which tables are in the stream. An administrator creates it, because only
//!   the tables' owner can.
//! - A table's replica identity says which columns of old rows are in the stream. It must include
//!   the key and the columns of filters and permissions; without them it would be unknown which
//!   subscriptions a row has left.

mod assemble;
mod catalog;
mod check;
mod condition;
mod pgoutput;
mod plan;
mod reader;
mod session;
mod setup_error;
mod slot;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod unseen;

pub use assemble::{AssembleError, Shape};
pub use pgoutput::DecodeError;
pub use plan::{PlanError, plan, unwatch};
pub use reader::{ReadError, Reader};
pub use session::AddressError;
pub use setup_error::SetupError;
pub use slot::{Health, Primary};
pub use source::Source;
pub use stream::{Event, Released, Stream, StreamError};

use std::path::PathBuf;

/// How to reach a PostgreSQL database, and what to watch in it.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`, or `host=… user=… dbname=…`. The user is the
    /// dedicated role. Connections are plain on this machine and TLS with a checked certificate
    /// elsewhere, unless `sslmode` is `disable` or `require`. Of several hosts,
    /// `host:port,host:port`, each connection is to the first that is no standby.
    pub address: String,
    /// A PEM file with the certificate authority of the database; none for the public ones.
    pub ca: Option<PathBuf>,
    /// The publication.
    pub publication: String,
    /// The beginning of the slot's name.
    pub slot: String,
    /// The tables, in the order of the registry.
    pub tables: Vec<WatchedTable>,
    /// Roughly the largest commit whose changes are kept, in bytes. Of a larger one only the table
    /// names are kept, and the rows are read again.
    pub commit_bytes: usize,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may contain a password.
        out.debug_struct("Settings")
            .field("publication", &self.publication)
            .field("slot", &self.slot)
            .field("tables", &self.tables)
            .field("commit_bytes", &self.commit_bytes)
            .finish_non_exhaustive()
    }
}

/// A table to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedTable {
    /// The schema that the table is in.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
    /// The columns that clients may see; none for all. The primary key's must be among them.
    pub columns: Option<Vec<String>>,
    /// The columns that filters and permissions may look at, besides the key's.
    pub filtered: Vec<String>,
}

/// A name as SQL writes it.
fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it, with `standard_conforming_strings`.
fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table's name with its schema, as SQL writes it.
fn table_name(namespace: &str, name: &str) -> String {
    format!("{}.{}", quoted_name(namespace), quoted_name(name))
}
