//! Transactions whose commit is in the log but not yet in any snapshot.
//!
//! PostgreSQL makes a commit visible after logging it: an instant later, or only when a standby has
//! confirmed it (`synchronous_standby_names`). The stream delivers the commit before that. A server
//! that starts behind such a commit does not get it from the stream again, so it must not use a
//! snapshot without it.

use super::assemble::extended;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, Error};

/// How long a commit may take to become visible if it waits for no standby, and the polling
/// interval. A transaction that takes longer is assumed to be still running; the stream will
/// deliver it.
const INSTANT: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);

/// A transaction with an id holds a lock on it until it is visible as ended. Only members of
/// `pg_read_all_stats` see what other sessions wait for, and prepared transactions have no session.
const HELD: &str = "select l.transactionid::text, current_setting('synchronous_standby_names') <> ''
    and (a.state is null or a.wait_event = 'SyncRep')
    from pg_locks l left join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted";

/// The ids of transactions that may be committed by now although snapshots may lack them. `near` is
/// an id near them all; it extends their 32 bits to 64.
pub(super) async fn unseen(client: &Client, near: u64) -> Result<Vec<u64>, Error> {
    let mut began = held(client, near).await?;
    let until = Instant::now() + INSTANT;
    // Transactions that wait for a standby may do so for long, so they are not waited for.
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

/// The transactions that are not visible as ended, and whether each may be waiting for a standby.
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
