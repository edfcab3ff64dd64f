//! A snapshot and the commits that it does not contain make up the table, even if others write
//! meanwhile.

use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewire_server_core::tables::{Seen, Snapshot};

const WRITERS: u32 = 6;
const SNAPSHOTS: usize = 80;
const KEYS: u32 = 60;

type Rows = BTreeMap<String, String>;

fn key(row: &Row) -> String {
    cells(Some(row)).split(' ').next().unwrap_or_default().to_owned()
}

/// The table after a snapshot and all commits that it does not contain, and how many changes did
/// not fit: inserts of rows that existed, changes of rows that did not.
fn replayed(snapshot: &Snapshot, seen: &Seen, commits: &[Commit]) -> (Rows, usize) {
    let mut rows: Rows = snapshot.rows.iter().map(|row| (key(row), cells(Some(row)))).collect();
    let mut unfit = 0;
    for commit in commits.iter().filter(|commit| !seen.contains(commit)) {
        for change in &commit.changes {
            let Change::Row { old, new, .. } = change else { panic!("{change:?}") };
            let was_there = old.as_ref().is_none_or(|old| rows.remove(&key(old)).is_some());
            unfit += usize::from(!was_there);
            if let Some(new) = new {
                unfit += usize::from(rows.insert(key(new), cells(Some(new))).is_some());
            }
        }
    }
    (rows, unfit)
}

async fn write(client: Client, seed: u32, stop: Arc<AtomicBool>) -> u64 {
    let mut state = seed;
    let mut random = |end: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % end
    };
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut statements = String::from("begin;");
        // In the order of keys, so that no two transactions wait for each other.
        let mut keys: Vec<u32> = (0..=random(2)).map(|_| random(KEYS)).collect();
        keys.sort_unstable();
        for id in keys {
            let n = random(1_000_000);
            statements.push_str(&match random(4) {
                0 => format!("insert into item values ({id}, 'fresh', {n}, null) on conflict do nothing;"),
                1 => format!("delete from item where id = {id};"),
                2 => format!("update item set state = 's{}', n = {n} where id = {id};", random(3)),
                _ => format!("update item set state = 'same', n = {n} where id = {id};"),
            });
        }
        statements.push_str("commit");
        client.batch_execute(&statements).await.unwrap();
        written += 1;
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_among_writers_and_the_stream_make_the_table() {
    // Commits become visible only after they are logged and synced, which makes gaps possible.
    let rig = Rig::ready(&[("fsync", "on")]).await;
    let (mut stream, _released) = rig.stream();
    let (_, shapes) = up(&mut stream).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for seed in 0..WRITERS {
        let client = connect(&rig.cluster, "postgres").await;
        writers.push(tokio::spawn(write(client, seed, stop.clone())));
    }
    let (until, until_known) = tokio::sync::oneshot::channel::<u64>();
    let reading = tokio::spawn(async move {
        let (mut commits, mut end) = (Vec::new(), None);
        let mut until_known = until_known;
        while end.is_none_or(|end| commits.last().is_none_or(|last: &Commit| last.position < end)) {
            tokio::select! {
                event = stream.next() => match event {
                    Event::Commit(commit) => commits.push(commit),
                    Event::Idle { .. } => {}
                    other => panic!("{other:?}"),
                },
                known = &mut until_known, if end.is_none() => end = Some(known.unwrap()),
            }
        }
        commits
    });
    let reader = rig.reader();
    let mut snapshots = Vec::new();
    while snapshots.len() < SNAPSHOTS {
        let (one, other, third) = tokio::join!(
            reader.snapshot(&shapes[0], &[], (1_000, usize::MAX), |_| true),
            reader.snapshot(&shapes[0], &[], (1_000, usize::MAX), |_| true),
            tokio::time::sleep(Duration::from_millis(7)),
        );
        let () = third;
        snapshots.extend([one.unwrap(), other.unwrap()]);
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    // One more, so that there is a commit after all others.
    rig.run("insert into item values (1000, 'fresh', 1, null)").await;
    let asked = "select pg_current_xact_id()::text";
    let _: String = rig.admin.query_one(asked, &[]).await.unwrap().get(0);
    let last = reader.snapshot(&shapes[0], &[], (1_000, usize::MAX), |_| true).await.unwrap();
    let at: String =
        rig.admin.query_one("select (pg_current_wal_insert_lsn() - '0/0')::text", &[]).await.unwrap().get(0);
    rig.run("insert into item values (1001, 'fresh', 1, null)").await;
    until.send(at.parse().unwrap()).unwrap();
    let commits = tokio::time::timeout(PATIENCE, reading).await.expect("all commits").unwrap();
    assert!(commits.is_sorted_by(|one, other| one.position < other.position));

    let mut end: Rows = last.rows.iter().map(|row| (key(row), cells(Some(row)))).collect();
    end.insert("1001".into(), "1001 fresh 1 null".into());
    let mut by_position = 0;
    let mut within = 0;
    for snapshot in &snapshots {
        let (rows, unfit) = replayed(snapshot, &snapshot.seen, &commits);
        assert_eq!(rows, end, "{:?}", snapshot.seen);
        assert_eq!(unfit, 0, "{:?}", snapshot.seen);
        let Seen::Transactions { until, running, .. } = &snapshot.seen else { panic!("{:?}", snapshot.seen) };
        within += usize::from(!running.is_empty());
        let (rows, unfit) = replayed(snapshot, &Seen::UpTo(until - 1), &commits);
        by_position += usize::from(rows != end || unfit > 0);
    }
    println!(
        "figures: {} snapshots among {WRITERS} writers with {written} transactions, {within} with some running: 0 wrong; by positions alone {by_position}",
        snapshots.len()
    );
    assert!(within > 0, "no snapshot was taken among writers");
}
