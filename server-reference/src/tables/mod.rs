//! Live tables: the databases that they are in, and what is configured of them.

pub mod postgres;
pub mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::wire::UserKind;
use tidewire_server_core::tables::sqlite::Watch;
use tidewire_server_core::tables::{Schema, TableConfig, TableError, TableLimits, Tables};

/// What is configured of tables.
#[derive(Clone, Default)]
pub struct TablesConfig {
    /// Where they are; none for the server's own database file.
    pub source: Option<SourceConfig>,
    /// Which.
    pub watch: Vec<WatchConfig>,
    /// What subscriptions may take. [`TableLimits::frame_bytes`] follows from what may wait for a client.
    pub limits: TableLimits,
}

/// A database with tables.
#[derive(Clone)]
#[non_exhaustive]
pub enum SourceConfig {
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// A table that clients may subscribe to.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// What clients call it.
    pub name: String,
    /// What the database calls it; none for the same.
    pub table: Option<String>,
    /// The columns that clients may see; none for all.
    pub columns: Option<Vec<String>>,
    /// Who may see which rows: see [`TableConfig::access`].
    pub access: Vec<(UserKind, String)>,
}

/// Why tables can't be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TablesError {
    /// One of them can't, as it is configured.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Their SQLite file can't be watched.
    #[error(transparent)]
    Sqlite(#[from] sqlite::SourceError),
    /// The system gives no thread.
    #[error("can't start a thread for tables: {0}")]
    Thread(#[from] std::io::Error),
}

impl TablesError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            TablesError::Table(_) => "bad_table",
            TablesError::Sqlite(_) => "tables_unavailable",
            TablesError::Thread(_) => "internal",
        }
    }
}

/// Tables that are being served; dropping it ends that.
pub(crate) struct Serving {
    pub(crate) tables: Arc<Tables>,
    _source: sqlite::Running,
}

/// Serves the configured tables; none if there are none. Blocks until the source has begun. A frame may have at most half of
/// `queue_bytes`.
pub(crate) fn serve(
    config: &TablesConfig,
    database: &Path,
    queue_bytes: usize,
) -> Result<Option<Serving>, TablesError> {
    if config.watch.is_empty() {
        return Ok(None);
    }
    let limits = TableLimits { frame_bytes: queue_bytes / 2, ..config.limits.clone() };
    let path = match &config.source {
        None => database,
        Some(SourceConfig::Sqlite(path)) => path,
    };
    let watches = config.watch.iter().map(|watch| Watch {
        table: watch.table.clone().unwrap_or_else(|| watch.name.clone()),
        columns: watch.columns.clone(),
    });
    let source = sqlite::Source::start(path, watches.collect())?;
    let (wake, woken) = sqlite::bell();
    let tables = Arc::new(Tables::new(named(&config.watch, source.schemas()), limits, wake)?);
    let running = source.run(tables.clone(), woken)?;
    Ok(Some(Serving { tables, _source: running }))
}

/// The tables as clients call them.
fn named(watch: &[WatchConfig], schemas: Vec<Schema>) -> Vec<TableConfig> {
    let both = watch.iter().zip(schemas);
    both.map(|(watch, schema)| TableConfig { name: watch.name.clone(), schema, access: watch.access.clone() })
        .collect()
}
