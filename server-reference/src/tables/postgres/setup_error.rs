//! What is wrong with a PostgreSQL's set-up.

use thiserror::Error;

/// What is wrong with the database's set-up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// It is too old.
    #[error("the database is PostgreSQL {0}; live tables need 14 or later")]
    TooOld(String),
    /// It follows another one.
    #[error(
        "the database is a standby, which can't be followed: give the address of the primary, or those of all servers, as in \
         postgres://user@one,other/database, or promote it with pg_promote()"
    )]
    Standby,
    /// Its log has too little in it.
    #[error("wal_level is {0}: run `alter system set wal_level = logical` and restart the database")]
    WalLevel(String),
    /// The role may not read the log.
    #[error("the role may not replicate: run `alter role {0} replication`")]
    NotReplication(String),
    /// There is no such publication.
    #[error(
        "there is no publication {publication}: run `create publication {publication} for table {tables}`"
    )]
    NoPublication {
        /// Its name, as SQL writes it.
        publication: String,
        /// The tables that it should have.
        tables: String,
    },
    /// It leaves out some kinds of changes.
    #[error(
        "the publication {0} leaves out changes: run `alter publication {0} set (publish = 'insert, update, delete, truncate')`"
    )]
    Operations(String),
    /// A table is not in it.
    #[error(
        "{table} is not in the publication {publication}: run `alter publication {publication} add table {table}`"
    )]
    NotPublished {
        /// The table.
        table: String,
        /// The publication.
        publication: String,
    },
    /// The publication leaves out rows.
    #[error(
        "the publication {publication} has a condition on {table}, so rows that stop meeting it would vanish unnoticed: run `alter \
         publication {publication} drop table {table}`, then `add table {table}` without it"
    )]
    RowFilter {
        /// The table.
        table: String,
        /// The publication.
        publication: String,
    },
    /// The publication leaves out columns.
    #[error(
        "the publication {publication} lacks columns of {table}: run `alter publication {publication} drop table {table}`, then `add \
         table {table} ({columns})`"
    )]
    ColumnsNotPublished {
        /// The table.
        table: String,
        /// The publication.
        publication: String,
        /// All that are needed.
        columns: String,
    },
    /// There is no such table.
    #[error("there is no table {table}: mend its name in the settings, or run `create table`")]
    NoTable {
        /// The table.
        table: String,
    },
    /// It is a view, or has partitions.
    #[error("{table} is not an ordinary table: name its partitions, or the table that the view is of")]
    NotOrdinary {
        /// The table.
        table: String,
    },
    /// A column is not there, or not among those that clients may see.
    #[error(
        "{table} has no column {column:?} that clients may see: mend the table's settings, or add the column"
    )]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column is computed, and so not in the log.
    #[error(
        "the column {column:?} of {table} is generated, which replication leaves out: take it out of the settings"
    )]
    Generated {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A table has no primary key.
    #[error("{table} has no primary key: run `alter table {table} add primary key (…)`")]
    NoKey {
        /// The table.
        table: String,
    },
    /// The role may not read it.
    #[error("the role may not read {table}: run `grant select on {table} to {role}`")]
    NotReadable {
        /// The table.
        table: String,
        /// The role.
        role: String,
    },
    /// Snapshots would lack rows that the stream has.
    #[error("row level security hides rows of {table} from the role: run `alter role {role} bypassrls`")]
    RowSecurity {
        /// The table.
        table: String,
        /// The role.
        role: String,
    },
    /// Old rows would lack columns.
    #[error(
        "changes of {table} don't say the old values of {columns}: `tidewire-server tables plan` says how to give it a replica identity \
         that has them"
    )]
    Identity {
        /// The table.
        table: String,
        /// What they lack.
        columns: String,
    },
    /// It says nothing.
    #[error("the database does not answer")]
    Silent,
    /// The database can't be asked.
    #[error("PostgreSQL: {}", told(.0))]
    Database(#[from] tokio_postgres::Error),
}

impl SetupError {
    /// The code.
    pub fn code(&self) -> &'static str {
        match self {
            SetupError::TooOld(_) => "postgres_too_old",
            SetupError::Standby => "postgres_standby",
            SetupError::WalLevel(_) => "wal_level",
            SetupError::NotReplication(_) => "not_replication",
            SetupError::NoPublication { .. } => "no_publication",
            SetupError::Operations(_) => "publication_operations",
            SetupError::NotPublished { .. } => "not_published",
            SetupError::RowFilter { .. } => "publication_row_filter",
            SetupError::ColumnsNotPublished { .. } => "publication_columns",
            SetupError::NoTable { .. } => "no_table",
            SetupError::NotOrdinary { .. } => "not_ordinary_table",
            SetupError::NoColumn { .. } => "no_column",
            SetupError::Generated { .. } => "generated_column",
            SetupError::NoKey { .. } => "no_key",
            SetupError::NotReadable { .. } => "not_readable",
            SetupError::RowSecurity { .. } => "row_security",
            SetupError::Identity { .. } => "replica_identity",
            SetupError::Silent | SetupError::Database(_) => "postgres",
        }
    }
}

/// What a failure of the database says; by itself it only says that there was one.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => error.to_string(),
    }
}
