//! Live tables: their configuration, and the databases that they are in.

pub mod postgres;
pub mod sqlite;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tidewire_core::tables::filter::{Filter, Node};
use tidewire_core::wire::UserKind;
use tidewire_server_core::tables::{Schema, TableConfig, TableError, TableLimits, Tables};
use tidewire_server_sqlite::tables::Watch;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use workers::{Wakers, Workers};

/// How long a start waits for PostgreSQL. The previous server may still be reading its slot.
const PATIENCE: Duration = Duration::from_secs(30);

/// The configuration of live tables.
#[derive(Clone, Default)]
pub struct TablesConfig {
    /// The database that they are in; `None` for the server's own file.
    pub source: Option<SourceConfig>,
    /// The tables.
    pub watch: Vec<WatchConfig>,
    /// Limits of subscriptions. [`TableLimits::frame_bytes`] is derived from the limit of a
    /// client's queue.
    pub limits: TableLimits,
}

/// A database with tables.
#[derive(Clone)]
#[non_exhaustive]
pub enum SourceConfig {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database. There is no `Debug`, because the address contains a password.
    Postgres(PostgresConfig),
}

/// How to reach a PostgreSQL database; see [`postgres::Settings`].
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host/database`.
    pub address: String,
    /// A PEM file with the certificate authority of the database; none for the public ones.
    pub ca: Option<PathBuf>,
    /// The publication with the tables.
    pub publication: String,
    /// The beginning of the replication slot's name.
    pub slot: String,
}

/// A table that clients may subscribe to.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// The name that clients use.
    pub name: String,
    /// The name in the database, if it is another.
    pub table: Option<String>,
    /// The columns that clients may see; none for all.
    pub columns: Option<Vec<String>>,
    /// The columns that clients' filters may use, besides the key's and those of permissions. For
    /// PostgreSQL only, which has to report their old values.
    pub filters: Vec<String>,
    /// Who may see which rows: see [`TableConfig::access`].
    pub access: Vec<(UserKind, String)>,
}

/// Why tables can't be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TablesError {
    /// A table's configuration is wrong.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Their SQLite file can't be watched.
    #[error(transparent)]
    Sqlite(#[from] sqlite::SourceError),
    /// Their PostgreSQL can't be watched.
    #[error(transparent)]
    Postgres(#[from] postgres::StreamError),
    /// The set-up can't be planned.
    #[error(transparent)]
    Plan(#[from] postgres::PlanError),
    /// No tables are configured.
    #[error("no tables are configured; add [tables.watch.NAME] to the file that --config names")]
    Unplanned,
    /// The system can't start a thread.
    #[error("can't start a thread for tables: {0}")]
    Thread(#[from] std::io::Error),
}

impl TablesError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            TablesError::Table(_) => "bad_table",
            TablesError::Sqlite(_) => "tables_unavailable",
            TablesError::Postgres(error) => error.code(),
            TablesError::Plan(_) => "tables_unavailable",
            TablesError::Unplanned => "no_tables",
            TablesError::Thread(_) => "internal",
        }
    }
}

/// Tables that are being served. Dropping this ends it, and blocks until it has ended.
pub(crate) struct Serving {
    pub(crate) tables: Arc<Tables>,
    // Dropped first.
    _source: Running,
    _workers: Workers,
}

/// The driver of a source.
enum Running {
    Sqlite { _threads: sqlite::Running },
    Postgres(JoinHandle<()>),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Postgres(task) = self {
            task.abort();
        }
    }
}

/// Serves the configured tables; `None` if there are none. Returns once the source has begun. A
/// frame may have at most half of `queue_bytes`.
pub(crate) async fn serve(
    config: &TablesConfig,
    database: &Path,
    queue_bytes: usize,
) -> Result<Option<Serving>, TablesError> {
    if config.watch.is_empty() {
        // Triggers of an earlier start would still write to their log.
        let path = database.to_owned();
        let left = tokio::task::spawn_blocking(move || sqlite::unwatch(&path));
        for name in left.await.map_err(std::io::Error::other)?? {
            tracing::info!(name, "removed: no tables are watched any more");
        }
        return Ok(None);
    }
    let limits = TableLimits { frame_bytes: queue_bytes / 2, ..config.limits.clone() };
    let path = match &config.source {
        None => database.to_owned(),
        Some(SourceConfig::Sqlite(path)) => path.clone(),
        Some(SourceConfig::Postgres(settings)) => {
            return serve_postgres(settings, config.watch.clone(), limits).await.map(Some);
        }
    };
    let watch = config.watch.clone();
    let serve = tokio::task::spawn_blocking(move || serve_sqlite(&path, &watch, limits));
    serve.await.map_err(std::io::Error::other)?.map(Some)
}

fn serve_sqlite(path: &Path, watch: &[WatchConfig], limits: TableLimits) -> Result<Serving, TablesError> {
    let watches = watch.iter().map(|watch| Watch {
        table: watch.table.clone().unwrap_or_else(|| watch.name.clone()),
        columns: watch.columns.clone(),
    });
    let source = sqlite::Source::start(path, watches.collect())?;
    let (wakers, (request, woken)) = (Wakers::new(watch.len()), sqlite::waker());
    let tables = Arc::new(Tables::new(named(watch, source.schemas()), limits, wakers.wake(request))?);
    let workers = wakers.start(&tables)?;
    let threads = source.run(tables.clone(), woken)?;
    Ok(Serving { tables, _source: Running::Sqlite { _threads: threads }, _workers: workers })
}

/// The SQL that an administrator runs to set the configured database up. `role` is the role with
/// which the server will connect. A SQLite file needs no set-up, and the result is a comment that
/// says so.
///
/// # Errors
///
/// [`TablesError::Unplanned`] without tables, or the reason why PostgreSQL's set-up can't be
/// planned.
pub async fn plan(config: &TablesConfig, role: &str) -> Result<String, TablesError> {
    if config.watch.is_empty() {
        return Err(TablesError::Unplanned);
    }
    match &config.source {
        Some(SourceConfig::Postgres(settings)) => {
            Ok(postgres::plan(&settings_of(settings, &config.watch, &config.limits), role).await?)
        }
        _ => Ok("-- A SQLite file needs no set-up: the server makes its change log and triggers when it starts.\n".to_owned()),
    }
}

/// Removes what watching tables has created in their database, and says what is gone and what an
/// administrator may still remove. Watching them again begins a new epoch.
///
/// # Errors
///
/// The database can't be opened or written.
pub async fn unwatch(config: &TablesConfig, database: &Path) -> Result<String, TablesError> {
    let path = match &config.source {
        Some(SourceConfig::Postgres(settings)) => {
            let settings = settings_of(settings, &config.watch, &config.limits);
            return Ok(postgres::unwatch(&settings).await?);
        }
        Some(SourceConfig::Sqlite(path)) => path.clone(),
        None => database.to_owned(),
    };
    let gone = tokio::task::spawn_blocking(move || sqlite::unwatch(&path));
    let gone = gone.await.map_err(std::io::Error::other)??;
    match gone.is_empty() {
        true => Ok("nothing was left to remove\n".to_owned()),
        false => Ok(gone.iter().map(|name| format!("removed {name}\n")).collect()),
    }
}

fn settings_of(settings: &PostgresConfig, watch: &[WatchConfig], limits: &TableLimits) -> postgres::Settings {
    let tables = watch.iter().map(|watch| {
        let table = watch.table.as_deref().unwrap_or(&watch.name);
        let (namespace, name) = table.split_once('.').unwrap_or(("public", table));
        let mut filtered = watch.filters.clone();
        for (_, access) in &watch.access {
            if let Ok(filter) = Filter::parse(access) {
                columns_of(filter.root(), &mut filtered);
            }
        }
        postgres::WatchedTable {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            columns: watch.columns.clone(),
            filtered,
        }
    });
    postgres::Settings {
        address: settings.address.clone(),
        ca: settings.ca.clone(),
        publication: settings.publication.clone(),
        slot: settings.slot.clone(),
        tables: tables.collect(),
        commit_bytes: limits.log_bytes / 2,
    }
}

async fn serve_postgres(
    settings: &PostgresConfig,
    watch: Vec<WatchConfig>,
    limits: TableLimits,
) -> Result<Serving, TablesError> {
    let settings = settings_of(settings, &watch, &limits);
    let source = postgres::Source::start(settings, PATIENCE).await?;
    let (wakers, woken) = (Wakers::new(watch.len()), Arc::new(Notify::new()));
    let request = woken.clone();
    let wake = wakers.wake(move || request.notify_one());
    let tables = Arc::new(Tables::new(named(&watch, source.schemas()), limits, wake)?);
    let workers = wakers.start(&tables)?;
    let task = tokio::spawn(source.run(tables.clone(), woken));
    Ok(Serving { tables, _source: Running::Postgres(task), _workers: workers })
}

/// Adds the columns that a filter uses.
fn columns_of(node: &Node, into: &mut Vec<String>) {
    match node {
        Node::Group(group) => group.members.iter().for_each(|member| columns_of(member, into)),
        Node::Term(term) if into.contains(&term.column) => {}
        Node::Term(term) => into.push(term.column.clone()),
    }
}

/// The tables with the names that clients use.
fn named(watch: &[WatchConfig], schemas: Vec<Schema>) -> Vec<TableConfig> {
    let both = watch.iter().zip(schemas);
    both.map(|(watch, schema)| TableConfig { name: watch.name.clone(), schema, access: watch.access.clone() })
        .collect()
}
