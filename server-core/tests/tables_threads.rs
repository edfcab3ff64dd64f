//! Tables under threads: one publishes, one a table works, and clients come and go. Nobody misses a
//! commit, and nobody gets one twice.

#![allow(clippy::unwrap_used)]

mod rig;

use rig::counter::Counter;
use rig::{NOW, config, connect, count_up, engine, frames, row};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use tidewire_server_core::tables::{Seen, Snapshot, SourceRequest, TableLimits, Tables, Wake, Woken};
use tidewire_server_core::{Engine, Session};

/// How often each client comes.
const VISITS: usize = 150;
/// All rows meet them, some without being judged.
const FILTERS: [&str; 4] = ["", "id=eq.0", "n=gte.0", "id=eq.0&n=not.eq.7000000"];

/// A client that comes and goes; how often it was live.
fn visit(engine: &Arc<Engine>, who: usize, table: &str) -> usize {
    let mut dice = who as u64 + 1;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let mut counter = Counter::default();
    let mut session: Option<Session> = None;
    for visit in 0..VISITS {
        let session = session.get_or_insert_with(|| connect(engine, &format!("u{who}"), Arc::new(|_| ())));
        frames(session);
        let mut sub = json!({"t": "tbl.sub", "sid": "s", "table": table});
        sub["filter"] = json!(FILTERS[who % FILTERS.len()]);
        let live = counter.live;
        match counter.cursor.take().filter(|_| roll(4) > 0 && !counter.over) {
            Some(cursor) => sub["cursor"] = json!(cursor),
            None => counter = Counter { live, ..Counter::default() },
        }
        session.message(NOW, &sub.to_string());
        let until = 1 + roll(40);
        let (mut got, mut looked) = (0, 0_u32);
        while got < until && !counter.over && looked < 20_000 {
            looked += 1;
            let some = frames(session);
            got += some.len() as u64;
            some.iter().for_each(|frame| counter.take("s", frame));
            thread::yield_now();
        }
        session.message(NOW, r#"{"t":"tbl.unsub","sid":"s"}"#);
        // What was sent before belongs to it.
        frames(session).iter().for_each(|frame| counter.take("s", frame));
        counter.over = false;
        if visit % 7 == 6 {
            drop(std::mem::take(&mut counter.feed));
        }
    }
    counter.live
}

fn run(at_once: usize, queue_bytes: usize) {
    let (bells, ears): (Vec<_>, Vec<_>) = (0..2).map(|_| sync_channel(1)).unzip();
    let wake: Wake = Arc::new(move |why| {
        if let Woken::Work(table) = why {
            let _ = bells[table].try_send(());
        }
    });
    let limits = TableLimits { at_once, log_commits: 5_000, ..TableLimits::default() };
    let tables = Arc::new(Tables::new(vec![config("a"), config("b")], limits, wake).unwrap());
    tables.restart("e1", 0, &[]);
    let engine = engine(&tables, queue_bytes, Box::new(|| ()));
    let over = Arc::new(AtomicBool::new(false));
    let (written, published) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    for (table, ear) in ears.into_iter().enumerate() {
        let tables = Arc::downgrade(&tables);
        thread::spawn(move || {
            while ear.recv().is_ok() {
                let Some(tables) = tables.upgrade() else { return };
                while tables.work(table) {}
            }
        });
    }
    let source = {
        let (tables, over, written, published) =
            (tables.clone(), over.clone(), written.clone(), published.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // A snapshot may have a commit before it is told.
                let position = written.fetch_add(1, Ordering::SeqCst) + 1;
                tables.publish(count_up(&[0, 1], position));
                published.fetch_add(1, Ordering::Relaxed);
                if position % 50 == 0 {
                    tables.tick(NOW.mono);
                }
                for _ in 0..position % 5 {
                    thread::yield_now();
                }
            }
        })
    };
    let answers = {
        let (tables, over) = (tables.clone(), over.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for wanted in tables.take_requests() {
                    let SourceRequest::Snapshot(wanted) = wanted else { continue };
                    let position = written.load(Ordering::SeqCst);
                    let (rows, seen) = (vec![row(0, position)], Seen::UpTo(position));
                    tables.finish_snapshot(wanted.id, Ok(Snapshot { rows, seen }));
                }
                thread::yield_now();
            }
        })
    };
    let clients: Vec<_> = (0..4)
        .map(|who| {
            let engine = engine.clone();
            thread::spawn(move || visit(&engine, who, ["a", "b"][who % 2]))
        })
        .collect();
    let live: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    over.store(true, Ordering::Relaxed);
    source.join().unwrap();
    answers.join().unwrap();
    assert!(live.iter().all(|times| *times > VISITS / 10), "{live:?} times live");
    assert!(published.load(Ordering::Relaxed) > VISITS);
}

#[test]
fn what_is_told_at_once_is_told_once() {
    run(TableLimits::default().at_once, 1 << 20);
}

#[test]
fn what_is_left_to_the_tables_threads_is_told_once() {
    run(0, 1 << 20);
}

#[test]
fn whoever_falls_out_of_a_feed_gets_each_commit_once() {
    run(2_000, 4_000);
}
