//! Measures how long a quick table waits for a slow one: commits of both come at the same time, the
//! slow table's first.

use crate::Failure;
use crate::figure::{Aim, Figure, median};
use crate::world::{NOW, commit_of, engine_of, row, session, session_that_wakes, settle, tables, written};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tidewire_server_core::tables::{Commit, Tables, Wake, Woken};
use tidewire_server_core::{Engine, QueueEvent, Session};

/// Number of different filters of the slow table, which are all evaluated for each of its commits.
const FILTERS: usize = 5_000;
/// Number of subscriptions of one connection.
const TOGETHER: usize = 100;
/// Bytes of the slow table's rows.
const WIDE: usize = 1_000;
const SLOW: usize = 0;
const QUICK: usize = 1;

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let rounds = if quick { 40 } else { 200 };
    let (wakers, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| sync_channel(1)).unzip();
    let wake: Wake = Arc::new(move |why| {
        if let Woken::Work(table) = why {
            // Fails if a wake-up is pending already.
            let _ = wakers.get(table).map(|waker| waker.try_send(()));
        }
    });
    let engine = engine_of(&["slow", "quick"], wake)?;
    let slow = subscribed(&engine)?;
    let heard: Arc<Mutex<Option<Instant>>> = Arc::default();
    let mut reader = session_that_wakes(&engine, "reader", {
        let heard = heard.clone();
        Arc::new(move |signal| {
            if signal == QueueEvent::Work
                && let Ok(mut heard) = heard.lock()
            {
                *heard = Some(Instant::now());
            }
        })
    });
    reader.message(NOW, r#"{"t":"tbl.sub","sid":"q","table":"quick","filter":"owner=eq.0"}"#);
    settle(&engine, &reader)?;
    let tables = tables(&engine)?.clone();
    let told = |from: Instant| -> Result<f64, Failure> {
        loop {
            if let Some(at) = heard.lock().map_err(|_| "the reader failed")?.take() {
                written(&reader);
                return Ok((at - from).as_secs_f64() * 1e6);
            }
            std::thread::yield_now();
        }
    };
    let mut position = 0;
    let mut next = |table: usize, body: &str| {
        position += 1;
        commit_of(table, position, None, row(position, 0, body))
    };
    let wide = "w".repeat(WIDE);
    // Each by itself, in this thread.
    let (mut alone, mut work) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        tables.publish(next(QUICK, "short"));
        alone.push(told(begun)?);
        let begun = Instant::now();
        tables.publish(next(SLOW, &wide));
        while tables.catch_up() {}
        work.push(begun.elapsed().as_secs_f64() * 1e6);
        drain(&slow)?;
    }
    // Both at once, with a thread for each and one for the source.
    for (table, receiver) in receivers.into_iter().enumerate() {
        worker(&tables, table, receiver);
    }
    let (source, began) = source(&tables);
    let mut asker = session(&engine, "asker");
    let (mut beside, mut asked) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        source.send([next(SLOW, &wide), next(QUICK, "short")])?;
        let begun = began.recv()?;
        let sub = format!(r#"{{"t":"tbl.sub","sid":"s","table":"slow","filter":"owner=eq.{}"}}"#, 1 + round);
        let asks = Instant::now();
        asker.message(NOW, &sub);
        asked.push(asks.elapsed().as_secs_f64() * 1e6);
        beside.push(told(begun)?);
        drain(&slow)?;
        asker.message(NOW, r#"{"t":"tbl.unsub","sid":"s"}"#);
    }
    let (alone, work) = (median(alone)?, median(work)?);
    let most = beside.iter().copied().fold(0.0, f64::max);
    let (beside, asked) = (median(beside)?, median(asked)?);
    Ok(vec![
        Figure {
            name: "quick_beside_slow",
            value: beside / work,
            aim: Aim::Most(0.1),
            how: format!(
                "{beside:.0} us (at most {most:.0}) until a table's commit is told that comes with one of another table with \
                 {FILTERS} filters, for which that takes {work:.0} us; {alone:.1} us alone"
            ),
        },
        Figure {
            name: "subscribe_at_slow",
            value: asked / work,
            aim: Aim::Most(0.1),
            how: format!("{asked:.0} us for a request to subscribe to the slow table meanwhile"),
        },
    ])
}

/// A thread that publishes commits that come together, and says when it begins.
fn source(tables: &Arc<Tables>) -> (Sender<[Commit; 2]>, Receiver<Instant>) {
    let ((source, commits), (begins, began)) = (channel::<[Commit; 2]>(), channel());
    let tables = tables.clone();
    std::thread::spawn(move || {
        for some in commits {
            // Fails if the bench has ended.
            let _ = begins.send(Instant::now());
            some.into_iter().for_each(|commit| tables.publish(commit));
        }
    });
    (source, began)
}

/// Clients with all the filters.
fn subscribed(engine: &Arc<Engine>) -> Result<Vec<Session>, Failure> {
    let mut sessions = Vec::new();
    for first in (0..FILTERS).step_by(TOGETHER) {
        let mut session = session(engine, &format!("user{first}"));
        for filter in first..first + TOGETHER {
            let sub = format!(
                r#"{{"t":"tbl.sub","sid":"{filter}","table":"slow","filter":"owner=eq.0&id=gt.-{filter}"}}"#
            );
            session.message(NOW, &sub);
        }
        settle(engine, &session)?;
        sessions.push(session);
    }
    Ok(sessions)
}

/// Waits until all clients of the slow table have a commit.
fn drain(sessions: &[Session]) -> Result<(), Failure> {
    let (mut got, begun) = (0, Instant::now());
    while got < FILTERS {
        got += sessions.iter().flat_map(written).map(|text| text.matches("tbl.tx").count()).sum::<usize>();
        if begun.elapsed().as_secs() > 20 {
            return Err(format!("{got} deliveries of {FILTERS}").into());
        }
    }
    Ok(())
}

/// A thread that does a table's work, until the tables are gone.
fn worker(tables: &Arc<Tables>, table: usize, woken: Receiver<()>) {
    let tables = Arc::downgrade(tables);
    std::thread::spawn(move || {
        while woken.recv().is_ok() {
            let Some(tables) = tables.upgrade() else { return };
            while tables.work(table) {}
        }
    });
}
