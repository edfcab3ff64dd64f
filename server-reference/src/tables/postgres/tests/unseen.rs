//! Commits that are in the log, but not visible because they wait for a standby.

use super::*;
use std::collections::BTreeSet;
use tidewire_server_core::tables::Seen;

/// The transactions that snapshots may lack, as reported when a stream connects.
async fn unseen(rig: &Rig) -> BTreeSet<u64> {
    // An earlier stream may still be using the slot.
    let (mut stream, _released) = rig.stream();
    let connected = async {
        loop {
            if let Event::Up { unseen, .. } = stream.next().await {
                return unseen.into_iter().collect();
            }
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("connected in time")
}

#[tokio::test]
async fn a_commit_that_waits_for_a_standby_is_given_and_known_to_be_unseen() {
    let settings = [("synchronous_standby_names", "nobody"), ("synchronous_commit", "local")];
    let rig = Rig::ready(&settings).await;
    let (mut stream, _released) = rig.stream();
    let (_, shapes) = up(&mut stream).await;
    let waiting = connect(&rig.cluster, "postgres").await;
    let cancel = waiting.cancel_token();
    waiting.batch_execute("set synchronous_commit = on").await.unwrap();
    let waits = tokio::spawn(async move {
        waiting.batch_execute("insert into item values (1, 'open', 1, null)").await.unwrap();
    });
    let given = commit(&mut stream).await;
    let snapshot = rig.reader().snapshot(&shapes[0], &[], (10, usize::MAX), |_| true).await.unwrap();
    assert!(snapshot.rows.is_empty() && !snapshot.seen.contains(&given), "{:?}", snapshot.seen);
    drop(stream);

    let xid = given.xid.unwrap();
    let running = connect(&rig.cluster, "postgres").await;
    let begin = "begin; insert into item values (2, 'open', 1, null)";
    running.batch_execute(begin).await.unwrap();
    let now = "select pg_current_xact_id()::text";
    let other: u64 = running.query_one(now, &[]).await.unwrap().get::<_, String>(0).parse().unwrap();
    // A role that can't see what others wait for assumes that they all may wait for a standby.
    assert_eq!(unseen(&rig).await, BTreeSet::from([xid, other]));
    rig.run("grant pg_read_all_stats to tidewire").await;
    assert_eq!(unseen(&rig).await, BTreeSet::from([xid]));

    // This ends the wait, so the commit is visible.
    cancel.cancel_query(NoTls).await.unwrap();
    waits.await.unwrap();
    assert_eq!(unseen(&rig).await, BTreeSet::new());
    let snapshot = rig.reader().snapshot(&shapes[0], &[], (10, usize::MAX), |_| true).await.unwrap();
    assert!(matches!(snapshot.seen, Seen::Transactions { .. }) && snapshot.seen.contains(&given));
    assert_eq!(snapshot.rows.len(), 1);
}
