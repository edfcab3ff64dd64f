//! The replication slot, which keeps the database's log until we have read it.

use super::quoted_text;
use super::setup_error::SetupError;
use pgwire_replication::Lsn;
use tokio_postgres::Client;

/// A slot that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: String,
    /// The end of its name, unique for each slot.
    pub(super) generation: String,
    /// The position up to which it was read. Later commits are sent again.
    pub(super) confirmed: u64,
}

/// The server whose stream is read. A copy of it, such as a promoted standby, has other slots or at
/// least another timeline. A former primary still has the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    pub(super) slot: String,
    pub(super) timeline: u32,
}

/// The state of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `reserved`, `extended`, `unreserved` or `lost`, as in `pg_replication_slots`.
    pub status: String,
    /// Bytes of log that it keeps and that are not confirmed.
    pub behind: u64,
    /// Bytes that may still be written before it is lost; `None` without a limit, when it would
    /// fill the disk.
    pub left: Option<u64>,
}

/// The newest slot whose name has this prefix and that still has its log; `None` if there is none.
/// Others that nobody is reading are dropped: they lost their log or were replaced.
pub(super) async fn find(client: &Client, prefix: &str) -> Result<Option<Slot>, SetupError> {
    // Each version of PostgreSQL reports the reason in other columns.
    let asked = "select slot_name::text, confirmed_flush_lsn::text, active,
        coalesce(wal_status = 'lost' or (to_jsonb(s)->>'conflicting')::boolean or to_jsonb(s)->>'invalidation_reason' is not null, false)
        from pg_replication_slots s
        where plugin = 'pgoutput' and database = current_database() and left(slot_name, length($1)) = $1 order by slot_name desc";
    let prefix = format!("{prefix}_");
    let mut found = None;
    for row in client.query(asked, &[&prefix]).await? {
        let (name, confirmed): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let (active, lost): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
        if found.is_none() && !lost {
            let generation = name.get(prefix.len()..).unwrap_or("").to_owned();
            found = Some(Slot { name, generation, confirmed: position(confirmed.as_deref()) });
        } else if !active {
            tracing::warn!(slot = %name, "dropping a replication slot that lost its log or was replaced");
            remove(client, &name).await?;
        }
    }
    Ok(found)
}

/// Drops a slot that is not being read.
pub(super) async fn remove(client: &Client, name: &str) -> Result<(), SetupError> {
    client.batch_execute(&format!("select pg_drop_replication_slot({})", quoted_text(name))).await?;
    Ok(())
}

/// Creates a slot. This waits for all running transactions.
pub(super) async fn create(client: &Client, prefix: &str) -> Result<Slot, SetupError> {
    // By the database's clock, so that a newer slot has a greater name. Microseconds have 13 digits
    // in this base until 2112.
    let asked = "select lpad(to_hex((extract(epoch from clock_timestamp()) * 1000000)::bigint), 14, '0')";
    let generation: String = client.query_one(asked, &[]).await?.try_get(0)?;
    let name = format!("{prefix}_{generation}");
    let asked = "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')";
    let at: Option<String> = client.query_one(asked, &[&name]).await?.try_get(0)?;
    Ok(Slot { name, generation, confirmed: position(at.as_deref()) })
}

/// Whether a connection is to that server, and if so whether the slot is being read.
pub(super) async fn reading(client: &Client, primary: &Primary) -> Result<Option<bool>, SetupError> {
    let asked = "select active from pg_replication_slots where slot_name = $1 and case when pg_is_in_recovery() then false
        else left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) = $2 end";
    let timeline = format!("{:08X}", primary.timeline);
    match client.query_opt(asked, &[&primary.slot, &timeline]).await? {
        Some(row) => Ok(Some(row.try_get(0)?)),
        None => Ok(None),
    }
}

/// The state of the newest slot; `None` if there is none.
pub(super) async fn health(client: &Client, prefix: &str) -> Result<Option<Health>, SetupError> {
    let asked = "select coalesce(wal_status, 'lost'), greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn))::bigint,
        safe_wal_size from pg_replication_slots
        where plugin = 'pgoutput' and database = current_database() and left(slot_name, length($1)) = $1
        order by slot_name desc limit 1";
    let Some(row) = client.query_opt(asked, &[&format!("{prefix}_")]).await? else { return Ok(None) };
    let (behind, left): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Some(Health {
        status: row.try_get(0)?,
        behind: behind.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        left: left.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
    }))
}

/// A position from its text; 0, which is before all others, without a text.
pub(super) fn position(text: Option<&str>) -> u64 {
    text.and_then(|text| Lsn::parse(text).ok()).map_or(0, Lsn::as_u64)
}
