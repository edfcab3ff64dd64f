//! A PostgreSQL whose tables are watched, by logical replication.
//!
//! [`Source`] drives the tables of the server's core with two parts: [`Stream`] gives commits in their order, [`Reader`] a table's rows at
//! one moment. [`plan`] says what an administrator has to
//! set up, and the stream checks it whenever it connects. How a database's parts hang together:
//!
//! - A slot keeps the log from being thrown away before we have read it. We make it ourselves; its name ends with when, so a new one is
//!   told from an old one, and it is part of the epoch that cursors belong to.
//! - A publication says which tables are in the stream. It has the tables' owner, so an administrator makes it.
//! - A table's replica identity says which columns of old rows are in the stream. It must have those of the key, and those that filters and
//!   permissions look at: else nobody could say which subscriptions a row has left.

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

/// How a PostgreSQL is reached and what is watched in it.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`, or `host=… user=… dbname=…`. The user is the dedicated role. The connection is
    /// TLS with a checked certificate, except on this machine or with `sslmode=disable`. Of several hosts, `host:port,host:port`, the
    /// first that is no standby is taken, each time anew.
    pub address: String,
    /// A PEM file of who signs the database's certificate; none for who signs the web's.
    pub ca: Option<PathBuf>,
    /// The publication.
    pub publication: String,
    /// How the slot's name begins.
    pub slot: String,
    /// The tables, in the order of the registry.
    pub tables: Vec<WatchedTable>,
    /// Greatest size of a commit, in bytes, roughly: of a greater one only the tables are kept, and
    /// their rows are read anew.
    pub commit_bytes: usize,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may have a password.
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
    /// The schema that it is in.
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
