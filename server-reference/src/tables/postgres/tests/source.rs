//! The tables of the server's core, driven by a PostgreSQL database.

use super::super::{Source, StreamError};
use super::*;
use std::sync::Arc;
use tidewire_core::wire::UserKind;
use tidewire_server_core::tables::{TableConfig, TableLimits, Tables};
use tokio::sync::Notify;

/// Tables that a database drives, with a log of at most this many commits.
async fn driven(rig: &Rig, log_commits: usize) -> (Arc<Tables>, tokio::task::JoinHandle<()>) {
    let source = Source::start(rig.settings.clone(), PATIENCE).await.unwrap();
    let schema = source.schemas().remove(0);
    let access = vec![(UserKind::User, String::from("state=eq.open"))];
    let config = TableConfig { name: "items".into(), schema, access };
    let woken = Arc::new(Notify::new());
    let wake = woken.clone();
    let limits = TableLimits { log_commits, ..TableLimits::default() };
    let tables = Arc::new(Tables::new(vec![config], limits, Arc::new(move |_| wake.notify_one())).unwrap());
    let running = tokio::spawn(source.run(tables.clone(), woken));
    (tables, running)
}

async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !met().await {
        assert!(tokio::time::Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn confirmed(rig: &Rig) -> u64 {
    let asked = "select (confirmed_flush_lsn - '0/0')::text from pg_replication_slots";
    rig.admin.query_one(asked, &[]).await.unwrap().get::<_, String>(0).parse().unwrap()
}

#[tokio::test]
async fn the_slot_keeps_what_the_log_has_and_a_restart_refills_it() {
    let rig = Rig::ready(&[]).await;
    let (tables, running) = driven(&rig, 5).await;
    let empty = tables.counts().log_bytes;
    for id in 0..20 {
        rig.run(&format!("insert into item values ({id}, 'open', 1, null)")).await;
    }
    until("the log is kept", async || tables.counts().log_bytes > empty).await;
    let first = confirmed(&rig).await;
    until("the slot follows the log", async || {
        tables.oldest() > first && confirmed(&rig).await == tables.oldest()
    })
    .await;
    let (log, oldest) = (tables.counts().log_bytes, tables.oldest());
    running.abort();
    let _ = running.await;
    let (again, _running) = driven(&rig, 5).await;
    until("the log is refilled", async || again.counts().log_bytes == log).await;
    assert_eq!(again.oldest(), oldest);
}

#[tokio::test]
async fn a_set_up_that_is_wrong_ends_the_start_at_once() {
    let rig = Rig::ready(&[]).await;
    rig.run("alter publication tidewire drop table item").await;
    let started = std::time::Instant::now();
    let error = Source::start(rig.settings.clone(), PATIENCE).await.err().expect("an error");
    assert!(matches!(&error, StreamError::Setup(_)) && error.code() == "not_published", "{error}");
    assert!(started.elapsed() < PATIENCE / 2);
}
