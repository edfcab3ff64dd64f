//! The section of tables in the TOML file.

use crate::config::{Config, ConfigError};
use crate::tables::{PostgresConfig, SourceConfig, TablesConfig, WatchConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tidewire_core::wire::UserKind;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    source: Option<String>,
    publication: Option<String>,
    slot: Option<String>,
    ca: Option<PathBuf>,
    /// By the names that clients use.
    #[serde(default)]
    watch: BTreeMap<String, Watch>,
    max_rows: Option<usize>,
    max_subscriptions: Option<usize>,
    log_minutes: Option<u64>,
    log_mb: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    table: Option<String>,
    columns: Option<Vec<String>>,
    #[serde(default)]
    filters: Vec<String>,
    #[serde(default)]
    access: Access,
}

/// Which rows each kind of user may see.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Access {
    user: Option<String>,
    guest: Option<String>,
    operator: Option<String>,
}

/// Merges the settings of tables: `source` is the flag's and wins over the file. With `leaving`, a
/// source without tables is no mistake.
pub(super) fn read(
    source: Option<String>,
    section: Option<Section>,
    leaving: bool,
) -> Result<TablesConfig, ConfigError> {
    let section = section.unwrap_or_default();
    let source = match source.or(section.source) {
        None => None,
        Some(source) if source.starts_with("postgres://") || source.starts_with("postgresql://") => {
            Some(SourceConfig::Postgres(PostgresConfig {
                address: source,
                ca: section.ca,
                publication: section.publication.unwrap_or_else(|| "tidewire".to_owned()),
                slot: section.slot.unwrap_or_else(|| "tidewire".to_owned()),
            }))
        }
        Some(source) => Some(read_sqlite(&source)?),
    };
    let mut tables = TablesConfig { source, ..TablesConfig::default() };
    let least = |name, value: Option<usize>| match value {
        Some(0) => Err(ConfigError::Value { name, reason: "must be at least 1".to_owned() }),
        value => Ok(value),
    };
    if let Some(rows) = least("tables.max_rows", section.max_rows)? {
        tables.limits.rows = rows;
    }
    if let Some(most) = least("tables.max_subscriptions", section.max_subscriptions)? {
        tables.limits.subscriptions = most;
    }
    match section.log_minutes {
        Some(minutes @ 1..=1_440) => tables.limits.log_ms = minutes * 60_000,
        Some(minutes) => {
            let reason = format!("is {minutes}, but must be 1 to 1440");
            return Err(ConfigError::Value { name: "tables.log_minutes", reason });
        }
        None => {}
    }
    match section.log_mb {
        Some(megabytes @ 1..=4_096) => tables.limits.log_bytes = megabytes << 20,
        Some(megabytes) => {
            let reason = format!("is {megabytes}, but must be 1 to 4096");
            return Err(ConfigError::Value { name: "tables.log_mb", reason });
        }
        None => {}
    }
    for (name, Watch { table, columns, filters, access }) in section.watch {
        let kinds = [
            (UserKind::User, access.user),
            (UserKind::Guest, access.guest),
            (UserKind::Operator, access.operator),
        ];
        let access: Vec<(UserKind, String)> =
            kinds.into_iter().filter_map(|(kind, text)| Some((kind, text?))).collect();
        if access.is_empty() {
            let reason = format!("`{name}` lets nobody see a row; add access = {{ user = \"…\" }}");
            return Err(ConfigError::Value { name: "tables.watch", reason });
        }
        tables.watch.push(WatchConfig { name, table, columns, filters, access });
    }
    if tables.source.is_some() && tables.watch.is_empty() && !leaving {
        let reason =
            "names no table; add [tables.watch.NAME] to the file, or leave the source out".to_owned();
        return Err(ConfigError::Value { name: "tables", reason });
    }
    Ok(tables)
}

fn read_sqlite(source: &str) -> Result<SourceConfig, ConfigError> {
    match source.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(SourceConfig::Sqlite(PathBuf::from(path))),
        _ => {
            let reason = "must be sqlite: and a file, such as sqlite:app.db, or postgres://…".to_owned();
            Err(ConfigError::Value { name: "tables-source", reason })
        }
    }
}

/// The tables and their database, for the start-up summary.
pub(super) fn summary(config: &Config) -> String {
    if config.tables.watch.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = config.tables.watch.iter().map(|watch| watch.name.as_str()).collect();
    let place = match &config.tables.source {
        None => config.database.display().to_string(),
        Some(SourceConfig::Sqlite(path)) => path.display().to_string(),
        Some(SourceConfig::Postgres(settings)) => super::without_credentials(&settings.address),
    };
    format!("{} in {place}", names.join(", "))
}
