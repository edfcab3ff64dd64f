//! Checks whether the database is set up for the stream. Each error says how to correct it.

use super::assemble::Shape;
use super::catalog::describe;
use super::setup_error::SetupError;
use super::{Settings, WatchedTable, quoted_name};
use tokio_postgres::Client;

/// The first PostgreSQL version with infinities in `numeric` and with the `pgoutput` that we read.
const LEAST_VERSION: i32 = 140_000;

/// Checks the database, then every table. Returns the tables' shapes, or all errors.
pub(super) async fn check(client: &Client, settings: &Settings) -> Result<Vec<Shape>, Vec<SetupError>> {
    let role = whole(client, settings).await.map_err(|error| vec![error])?;
    let (mut shapes, mut wrong) = (Vec::new(), Vec::new());
    for watched in &settings.tables {
        match table(client, settings, watched, &role).await {
            Ok(shape) => shapes.push(shape),
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() { Ok(shapes) } else { Err(wrong) }
}

/// Checks everything but the tables. Returns the role's name as SQL writes it.
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

/// Checks one table, and returns its shape.
pub(super) async fn table(
    client: &Client,
    settings: &Settings,
    watched: &WatchedTable,
    role: &str,
) -> Result<Shape, SetupError> {
    let (table, role) = (watched.to_string(), role.to_owned());
    let described = describe(client, watched).await?;
    if described.relkind != "r" {
        return Err(SetupError::NotOrdinary { table });
    }
    let shape = described.shape(watched)?;
    if !described.selectable {
        return Err(SetupError::NotReadable { table, role });
    }
    if described.secured {
        return Err(SetupError::RowSecurity { table, role });
    }
    published(client, settings, watched, &shape).await?;
    let lacking = described.lacking(watched);
    if lacking.is_empty() {
        return Ok(shape);
    }
    Err(SetupError::Identity { table, columns: lacking.join(", ") })
}

/// Whether the publication includes all rows of the table and the shape's columns.
async fn published(
    client: &Client,
    settings: &Settings,
    watched: &WatchedTable,
    shape: &Shape,
) -> Result<(), SetupError> {
    let (table, publication) = (watched.to_string(), quoted_name(&settings.publication));
    // Column lists and row filters exist since PostgreSQL 15.
    let asked = "select to_jsonb(p)->>'rowfilter' is not null,
        (select array_agg(name) from jsonb_array_elements_text(to_jsonb(p)->'attnames') name)
        from pg_publication_tables p where pubname = $1 and schemaname = $2 and tablename = $3";
    let row = client.query_opt(asked, &[&settings.publication, &watched.namespace, &watched.name]).await?;
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
