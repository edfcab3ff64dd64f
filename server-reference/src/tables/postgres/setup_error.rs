//! Errors in a PostgreSQL database's set-up. The messages say how to correct them.

use thiserror::Error;

/// Why a database can't be followed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The database is older than PostgreSQL 14.
    #[error("the database is PostgreSQL {0}; live tables need 14 or later")]
    TooOld(String),
    /// The database is a standby.
    #[error(
        "the database is a standby, which can't be followed: give the address of the primary, or those of all servers, as in \
         postgres://user@one,other/database, or promote it with pg_promote()"
    )]
    Standby,
    /// The log lacks what logical replication needs.
    #[error("wal_level is {0}: run `alter system set wal_level = logical` and restart the database")]
    WalLevel(String),
    /// The role may not use replication.
    #[error("the role may not replicate: run `alter role {0} replication`")]
    NotReplication(String),
    /// The publication does not exist.
    #[error(
        "there is no publication {publication}: run `create publication {publication} for table {tables}`"
    )]
    NoPublication {
        /// Its name, as SQL writes it.
        publication: String,
        /// The tables that it must have.
        tables: String,
    },
    /// The publication leaves out kinds of changes.
    #[error(
        "the publication {0} leaves out changes: run `alter publication {0} set (publish = 'insert, update, delete, truncate')`"
    )]
    Operations(String),
    /// A table is not in the publication.
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
        /// All columns that it must have.
        columns: String,
    },
    /// A table does not exist.
    #[error("there is no table {table}: mend its name in the settings, or run `create table`")]
    NoTable {
        /// The table.
        table: String,
    },
    /// A table is not an ordinary one, but for example a view or partitioned.
    #[error("{table} is not an ordinary table: name its partitions, or the table that the view is of")]
    NotOrdinary {
        /// The table.
        table: String,
    },
    /// A column does not exist, or is not among those that clients may see.
    #[error(
        "{table} has no column {column:?} that clients may see: mend the table's settings, or add the column"
    )]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column is generated, and therefore not in the log.
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
    /// The role may not read a table.
    #[error("the role may not read {table}: run `grant select on {table} to {role}`")]
    NotReadable {
        /// The table.
        table: String,
        /// The role.
        role: String,
    },
    /// Row level security applies to the role, so snapshots would lack rows that the stream has.
    #[error("row level security hides rows of {table} from the role: run `alter role {role} bypassrls`")]
    RowSecurity {
        /// The table.
        table: String,
        /// The role.
        role: String,
    },
    /// The replica identity leaves out columns, so old rows would lack them.
    #[error(
        "changes of {table} don't say the old values of {columns}: `tidewire-server tables plan` says how to give it a replica identity \
         that has them"
    )]
    Identity {
        /// The table.
        table: String,
        /// The columns that it leaves out.
        columns: String,
    },
    /// The database did not answer in time.
    #[error("the database does not answer")]
    Silent,
    /// A connection or a query failed.
    #[error("PostgreSQL: {}", told(.0))]
    Database(#[from] tokio_postgres::Error),
}

impl SetupError {
    /// The stable code.
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

/// The text and code of the database's error, which the error's own text leaves out.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => error.to_string(),
    }
}
