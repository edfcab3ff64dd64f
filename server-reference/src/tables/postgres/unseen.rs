//! Transactions whose commit is in the log, and that no snapshot contains yet.
//!
//! PostgreSQL shows a commit after it has logged it: an instant later, or for as long as it waits
//! for a standby (`synchronous_standby_names`). The stream gives it meanwhile. A server that begins
//! behind it is not told of it again, so it must not take a snapshot without it for the whole
//! table.

use super::assemble::extended;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, Error};

/// How long a commit may take to be seen if it waits for no standby, and how often that is looked
/// at. Transactions that take longer are taken for running, and are told when they are committed.
const INSTANT: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);

/// Whoever has a number holds it until the transaction is seen to be over. What others wait for is
/// told to members of `pg_read_all_stats` only, and of what is prepared to nobody.
const HELD: &str = "select l.transactionid::text, current_setting('synchronous_standby_names') <> ''
    and (a.state is null or a.wait_event = 'SyncRep')
    from pg_locks l left join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted";

/// The numbers of those that may be committed by now and that snapshots may lack. `near` is a
/// number near them all.
pub(super) async fn unseen(client: &Client, near: u64) -> Result<Vec<u64>, Error> {
    let mut began = held(client, near).await?;
    let until = Instant::now() + INSTANT;
    // Those that wait for a standby may do so for long.
    while began.values().any(|waits| !waits) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        let now = held(client, near).await?;
        began = began.into_keys().filter_map(|xid| Some((xid, *now.get(&xid)?))).collect();
    }
    let unseen: Vec<u64> = began.into_iter().filter(|(_, waits)| *waits).map(|(xid, _)| xid).collect();
    if !unseen.is_empty() {
        tracing::warn!(
            transactions = unseen.len(),
            "transactions may be waiting for a standby: tables have no snapshots until these are over"
        );
    }
    Ok(unseen)
}

/// Who is not seen to be over, and whether it may be waiting for a standby.
async fn held(client: &Client, near: u64) -> Result<BTreeMap<u64, bool>, Error> {
    let mut held = BTreeMap::new();
    for row in client.query(HELD, &[]).await? {
        let (xid, waits): (String, Option<bool>) = (row.try_get(0)?, row.try_get(1)?);
        if let Ok(xid) = xid.parse() {
            held.insert(extended(near, xid), waits.unwrap_or(false));
        }
    }
    Ok(held)
}
