//! Why a database can't be used.

use thiserror::Error;
use tidewire_server_sqlite::log::{SCHEMA_VERSION, SchemaError};

/// Why the database could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A newer server wrote it.
    #[error(
        "the database has schema version {found}, this server knows {SCHEMA_VERSION}; start the newer server, or use another --database"
    )]
    Newer {
        /// The version in the file.
        found: u32,
    },
    /// The path leads to another database than the one that was opened first.
    #[error("the database file was replaced while the server ran; restart the server")]
    Replaced,
    /// Another server has it open.
    #[error("another server uses this database; stop it first, or use another --database")]
    InUse,
    /// SQLite's error.
    #[error("can't open the database: {0}; check that the folder exists and is writable")]
    Sqlite(#[from] rusqlite::Error),
    /// The small file beside the database can't be written.
    #[error("can't write the file beside the database: {0}; check that the folder is writable")]
    Incarnation(std::io::Error),
    /// The database's files can't be made readable by the server alone.
    #[error(
        "can't make {path} a file of the server's own: {reason}; check whose it is, and that the folder is writable"
    )]
    Rights {
        /// The file.
        path: String,
        /// The system's error.
        reason: String,
    },
    /// The key for guests' tokens can't be read or is not usable.
    #[error("can't use the guests' key in {path}: {reason}; make one with: openssl rand -base64 32")]
    GuestKey {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The system's random numbers are not available.
    #[error("the system gives no random numbers")]
    Random,
}

impl OpenError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::Newer { .. } => "database_newer",
            OpenError::Replaced => "database_replaced",
            OpenError::InUse => "database_in_use",
            OpenError::Sqlite(_) | OpenError::Incarnation(_) | OpenError::Rights { .. } => {
                "database_unavailable"
            }
            OpenError::GuestKey { .. } => "guest_key_unreadable",
            OpenError::Random => "no_randomness",
        }
    }
}

impl From<SchemaError> for OpenError {
    fn from(error: SchemaError) -> OpenError {
        match error {
            SchemaError::Newer { found } => OpenError::Newer { found },
            SchemaError::Sqlite(error) => OpenError::Sqlite(error),
            other => OpenError::Sqlite(rusqlite::Error::ToSqlConversionFailure(other.into())),
        }
    }
}
