//! Whether the database is set up as the stream needs it. What is not is said with what mends it.

use super::assemble::Shape;
use super::catalog::describe;
use super::{Settings, Wanted, quoted_name};
use thiserror::Error;
use tokio_postgres::Client;

/// The first PostgreSQL whose `numeric` has infinities and whose `pgoutput` is what we read.
const LEAST_VERSION: i32 = 140_000;

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

/// Checks the database as a whole, then every table; gives the tables' shapes, or all that is wrong.
pub(super) async fn check(client: &Client, settings: &Settings) -> Result<Vec<Shape>, Vec<SetupError>> {
    let role = whole(client, settings).await.map_err(|error| vec![error])?;
    let (mut shapes, mut wrong) = (Vec::new(), Vec::new());
    for wanted in &settings.tables {
        match table(client, settings, wanted, &role).await {
            Ok(shape) => shapes.push(shape),
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() { Ok(shapes) } else { Err(wrong) }
}

/// Checks what is not of one table; gives the role's name as SQL writes it.
async fn whole(client: &Client, settings: &Settings) -> Result<String, SetupError> {
    let asked = "select current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
        current_setting('wal_level'), quote_ident(current_user), r.rolreplication or r.rolsuper
        from pg_roles r where r.rolname = current_user";
    let row = client.query_one(asked, &[]).await?;
    let (version, wal_level, role): (i32, String, String) =
        (row.try_get(0)?, row.try_get(3)?, row.try_get(4)?);
    if version < LEAST_VERSION {
        return Err(SetupError::TooOld(row.try_get(1)?));
    }
    if row.try_get(2)? {
        return Err(SetupError::Standby);
    }
    if wal_level != "logical" {
        return Err(SetupError::WalLevel(wal_level));
    }
    if !row.try_get::<_, bool>(5)? {
        return Err(SetupError::NotReplication(role));
    }
    let publication = quoted_name(&settings.publication);
    let asked =
        "select pubinsert and pubupdate and pubdelete and pubtruncate from pg_publication where pubname = $1";
    match client.query_opt(asked, &[&settings.publication]).await? {
        None => {
            let tables: Vec<String> = settings.tables.iter().map(ToString::to_string).collect();
            Err(SetupError::NoPublication { publication, tables: tables.join(", ") })
        }
        Some(row) if !row.try_get::<_, bool>(0)? => Err(SetupError::Operations(publication)),
        Some(_) => Ok(role),
    }
}

/// Checks one table; gives its shape.
pub(super) async fn table(
    client: &Client,
    settings: &Settings,
    wanted: &Wanted,
    role: &str,
) -> Result<Shape, SetupError> {
    let (table, role) = (wanted.to_string(), role.to_owned());
    let described = describe(client, wanted).await?;
    if described.relkind != "r" {
        return Err(SetupError::NotOrdinary { table });
    }
    let shape = described.shape(wanted)?;
    if !described.selectable {
        return Err(SetupError::NotReadable { table, role });
    }
    if described.secured {
        return Err(SetupError::RowSecurity { table, role });
    }
    published(client, settings, wanted, &shape).await?;
    let lacking = described.lacking(wanted);
    if lacking.is_empty() {
        return Ok(shape);
    }
    Err(SetupError::Identity { table, columns: lacking.join(", ") })
}

/// Whether the publication has the table with all its rows and the columns of the shape.
async fn published(
    client: &Client,
    settings: &Settings,
    wanted: &Wanted,
    shape: &Shape,
) -> Result<(), SetupError> {
    let (table, publication) = (wanted.to_string(), quoted_name(&settings.publication));
    // The columns and the condition are there since PostgreSQL 15.
    let asked = "select to_jsonb(p)->>'rowfilter' is not null,
        (select array_agg(name) from jsonb_array_elements_text(to_jsonb(p)->'attnames') name)
        from pg_publication_tables p where pubname = $1 and schemaname = $2 and tablename = $3";
    let row = client.query_opt(asked, &[&settings.publication, &wanted.namespace, &wanted.name]).await?;
    let Some(row) = row else { return Err(SetupError::NotPublished { table, publication }) };
    if row.try_get(0)? {
        return Err(SetupError::RowFilter { table, publication });
    }
    let names: Option<Vec<String>> = row.try_get(1)?;
    let has = |column: &str| names.as_ref().is_none_or(|names| names.iter().any(|name| name == column));
    if shape.schema.columns.iter().all(|column| has(&column.name)) {
        return Ok(());
    }
    let columns: Vec<String> = shape.schema.columns.iter().map(|column| quoted_name(&column.name)).collect();
    Err(SetupError::ColumnsNotPublished { table, publication, columns: columns.join(", ") })
}
