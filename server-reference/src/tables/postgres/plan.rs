//! Writes the SQL that an administrator has to run once.

use super::catalog::{Described, DescribedColumn, describe, usable_index};
use super::session::{Address, AddressError};
use super::setup_error::SetupError;
use super::{Settings, WatchedTable, quoted_name, slot};
use std::fmt::Write;
use thiserror::Error;

/// Why there is no plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The address is not valid.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// A table can't be planned for.
    #[error("{0}")]
    Setup(#[from] SetupError),
}

/// SQL that sets the database up for live tables: role, rights, replica identities and publication,
/// as far as they are missing. `role` is the dedicated role. The settings' address may use any role
/// that can see the tables.
///
/// # Errors
///
/// The database can't be reached, a table or column does not exist, or a table has no primary key.
pub async fn plan(settings: &Settings, role: &str) -> Result<String, PlanError> {
    let address = Address::parse(settings)?;
    let (client, _) = address.connect().await?;
    let mut tables = Vec::new();
    for watched in &settings.tables {
        let described = describe(&client, watched).await?;
        let index = usable_index(&client, watched, &described).await?;
        tables.push(Table { watched, described, index });
    }
    let asked = "select current_setting('server_version_num')::int >= 150000";
    let lists =
        client.query_one(asked, &[]).await.and_then(|row| row.try_get(0)).map_err(SetupError::from)?;
    Ok(written(settings, role, &tables, lists)?)
}

/// Drops the slots of this server, so that the database no longer keeps its log for them, and says
/// what else an administrator may remove.
///
/// # Errors
///
/// The database can't be reached, or a server is still reading the slot.
pub async fn unwatch(settings: &Settings) -> Result<String, PlanError> {
    let address = Address::parse(settings)?;
    let (client, _) = address.connect().await?;
    let mut out = String::new();
    while let Some(slot) = slot::find(&client, &settings.slot).await? {
        slot::remove(&client, &slot.name).await?;
        let _ = writeln!(out, "-- removed the replication slot {}", slot.name);
    }
    let _ = writeln!(out, "-- What an administrator made, and may remove:");
    let _ = writeln!(out, "drop publication if exists {};", quoted_name(&settings.publication));
    for table in &settings.tables {
        let _ = writeln!(out, "alter table {table} replica identity default;");
    }
    Ok(out)
}

/// A table that is planned for.
struct Table<'a> {
    watched: &'a WatchedTable,
    described: Described,
    /// An existing index that can be its replica identity.
    index: Option<String>,
}

/// `lists` says whether publications can have column lists, as they can since PostgreSQL 15.
fn written(settings: &Settings, role: &str, tables: &[Table<'_>], lists: bool) -> Result<String, SetupError> {
    let (role, publication) = (quoted_name(role), quoted_name(&settings.publication));
    let mut out = String::from(
        "-- Once for the server; the first needs a restart of it. The second is how much disk a stopped reader may take up.\n\
         alter system set wal_level = 'logical';\n\
         alter system set max_slot_wal_keep_size = '16GB';\n\n\
         -- Whoever replicates reads all rows of all published tables, so nobody else should have this role.\n",
    );
    put(&mut out, format_args!("create role {role} login replication password '…';\n"));
    let mut published = Vec::new();
    for Table { watched, described, index } in tables {
        let shape = described.shape(watched)?;
        let columns: Vec<String> =
            shape.schema.columns.iter().map(|column| quoted_name(&column.name)).collect();
        let columns = columns.join(", ");
        put(&mut out, format_args!("\n-- {watched}\n"));
        put(&mut out, format_args!("grant usage on schema {} to {role};\n", quoted_name(&watched.namespace)));
        put(&mut out, format_args!("grant select on {watched} to {role};\n"));
        let names: Vec<&str> = shape.schema.columns.iter().map(|column| column.name.as_str()).collect();
        let lacks = !described.lacking(watched).is_empty();
        let full = if lacks {
            identity(&mut out, watched, described, index.as_deref())
        } else {
            described.replident == "f"
        };
        // A column list keeps hidden columns out of the stream. But the types of its columns can't
        // be changed, and updates fail if it lacks a column of the replica identity. So it is used
        // only where something is hidden.
        let hidden: Vec<&DescribedColumn> = described
            .columns
            .iter()
            .filter(|column| !column.generated && !names.contains(&column.name.as_str()))
            .collect();
        let identifies = |column: &&DescribedColumn| described.identifies(column) || column.key;
        let whole =
            full || !lists || hidden.is_empty() || hidden.into_iter().any(|column| identifies(&column));
        published.push(if whole { watched.to_string() } else { format!("{watched} ({columns})") });
    }
    put(
        &mut out,
        format_args!(
            "\n-- By the tables' owner, who needs the right to create in the database.\ncreate publication {publication} for table {};\n",
            published.join(", ")
        ),
    );
    Ok(out)
}

/// Writes the cheapest replica identity with the columns: the primary key, an index, or whole rows.
/// True if it is whole rows.
fn identity(out: &mut String, watched: &WatchedTable, described: &Described, index: Option<&str>) -> bool {
    let columns = described.needed(watched);
    let names = |columns: &[&DescribedColumn]| {
        let names: Vec<String> = columns.iter().map(|column| quoted_name(&column.name)).collect();
        names.join(", ")
    };
    let nullable: Vec<&DescribedColumn> = columns.iter().filter(|column| !column.not_null).copied().collect();
    if columns.iter().all(|column| column.key) {
        put(out, format_args!("alter table {watched} replica identity default;\n"));
    } else if let Some(index) = index {
        put(out, format_args!("-- This index has every column that old rows must say.\n"));
        put(
            out,
            format_args!("alter table {watched} replica identity using index {};\n", quoted_name(index)),
        );
    } else if nullable.is_empty() {
        // Filtered columns come first, so that the index serves queries too, those of snapshots
        // among them.
        let (key, filtered): (Vec<_>, Vec<_>) = columns.iter().partition(|column| column.key);
        let columns = [filtered.as_slice(), key.as_slice()].concat();
        // Names have 63 bytes at most.
        let end = (0..=40).rev().find(|end| watched.name.is_char_boundary(*end)).unwrap_or(0);
        let index = quoted_name(&format!("{}_tidewire", watched.name.get(..end).unwrap_or(&watched.name)));
        // `cargo xtask bench tables` measures it as `pg_wal`.
        put(
            out,
            format_args!(
                "-- Not inside a transaction. An update that changes one of these columns then takes about 200 bytes more log, an \
                 insert 100. It serves queries by {} too: an index that was made for them is needed no more.\n",
                names(&filtered)
            ),
        );
        put(
            out,
            format_args!("create unique index concurrently {index} on {watched} ({});\n", names(&columns)),
        );
        put(out, format_args!("alter table {watched} replica identity using index {index};\n"));
    } else {
        let nullable = names(&nullable);
        put(
            out,
            format_args!(
                "-- Only because {nullable} may be null: made not null and planned again, an index does, with less log.\n"
            ),
        );
        put(out, format_args!("alter table {watched} replica identity full;\n"));
        return true;
    }
    false
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // A text takes all that is written to it.
    let _ = out.write_fmt(what);
}
