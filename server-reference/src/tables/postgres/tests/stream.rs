//! What the stream reports of events in a database.

use super::super::{ReadError, SetupError, StreamError};
use super::*;
use tidewire_core::tables::Value;
use tidewire_core::tables::filter::{Column, Filter};
use tidewire_fault_proxy::{Direction, Faults, Proxy};

/// The reason why the stream is not connected, after any positions that it reports before.
async fn down(stream: &mut Stream) -> StreamError {
    loop {
        match next(stream).await {
            Event::Down { error, .. } => return error,
            Event::Idle { .. } => {}
            other => panic!("{other:?} while nothing is there"),
        }
    }
}

/// Stops a database on another thread, because the database waits for readers of its log.
fn stop(mut cluster: Cluster) -> tokio::task::JoinHandle<Cluster> {
    tokio::task::spawn_blocking(move || {
        cluster.stop().unwrap();
        cluster
    })
}

#[tokio::test]
async fn commits_come_with_what_their_rows_were_as_far_as_filters_ask() {
    let rig = Rig::ready(&[]).await;
    let (mut stream, _released) = rig.stream();
    up(&mut stream).await;
    rig.run("insert into item values (1, 'open', null, 'a'), (2, 'open', 7, 'é')").await;
    assert_eq!(told(&commit(&mut stream).await), ["- > 1 open null a", "- > 2 open 7 é"]);
    rig.run("update item set n = 8 where id = 1").await;
    assert_eq!(told(&commit(&mut stream).await), ["1 open ? ? > 1 open 8 a"]);
    rig.run("begin; update item set state = 'closed' where id = 1; delete from item where id = 2; commit")
        .await;
    assert_eq!(told(&commit(&mut stream).await), ["1 open ? ? > 1 closed 8 a", "2 open ? ? > -"]);
    rig.run("begin; insert into item values (3, 'open', 1, null); rollback").await;
    rig.run("insert into other (body) values ('x')").await;
    let before: std::time::SystemTime = std::time::SystemTime::now();
    rig.run("update item set id = 5 where id = 1").await;
    let last = commit(&mut stream).await;
    assert_eq!(told(&last), ["1 closed ? ? > 5 closed 8 a"]);
    let now = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(now.abs_diff(last.at.into()) < 10_000, "at {} ms", last.at);
}

#[tokio::test]
async fn a_long_value_that_did_not_change_is_not_sent_again() {
    let rig = Rig::ready(&[]).await;
    let (mut stream, _released) = rig.stream();
    up(&mut stream).await;
    let long = "select string_agg(md5(i::text), '') from generate_series(1, 1000) i";
    rig.run(&format!("insert into item values (1, 'open', 1, ({long}))")).await;
    assert_eq!(told(&commit(&mut stream).await), ["- > 1 open 1 32000 bytes"]);
    rig.run("update item set n = 2").await;
    assert_eq!(told(&commit(&mut stream).await), ["1 open ? ? > 1 open 2 ?"]);
    rig.run("update item set state = 'closed'").await;
    assert_eq!(told(&commit(&mut stream).await), ["1 open ? ? > 1 closed 2 ?"]);
    // With a full identity the value is sent, as the old one.
    rig.run("alter publication tidewire set table item; alter table item replica identity full").await;
    rig.run("update item set n = 3").await;
    assert_eq!(told(&commit(&mut stream).await), ["1 closed 2 32000 bytes > 1 closed 3 32000 bytes"]);
}

#[tokio::test]
async fn a_truncated_table_and_a_commit_that_is_too_big_are_to_be_read_anew() {
    let mut rig = Rig::ready(&[]).await;
    rig.settings.commit_bytes = 50_000;
    let (mut stream, _released) = rig.stream();
    up(&mut stream).await;
    rig.run("insert into item select i, 'open', i, repeat('x', 100) from generate_series(1, 20000) i").await;
    assert_eq!(told(&commit(&mut stream).await), ["too_big"]);
    rig.run("update item set n = 0 where id = 1").await;
    assert_eq!(told(&commit(&mut stream).await).len(), 1);
    rig.run("begin; update item set n = 1 where id = 1; truncate item, other; commit").await;
    assert_eq!(told(&commit(&mut stream).await), ["truncated"]);
}

#[tokio::test]
async fn a_table_that_changes_is_described_anew_and_goes_on() {
    let rig = Rig::ready(&[]).await;
    let (mut stream, _released) = rig.stream();
    let (_, shapes) = up(&mut stream).await;
    rig.run("insert into item values (1, 'open', 1, 'a')").await;
    commit(&mut stream).await;
    // A new column alone changes nothing yet.
    rig.run("alter table item add extra int default 5").await;
    rig.run("update item set n = 2").await;
    assert_eq!(told(&commit(&mut stream).await), ["1 open ? ? > 1 open 2 a"]);
    rig.run("alter table item alter n type text").await;
    let read = rig.reader().snapshot(&shapes[0], &[], (10, usize::MAX), |_| true).await;
    assert!(matches!(read, Err(ReadError::Changed)), "{read:?}");
    rig.run("update item set n = 'three'").await;
    assert_eq!(told(&commit(&mut stream).await), ["schema"]);
    let Event::Table { table: 0, shape: Ok(shape) } = next(&mut stream).await else { panic!("no table") };
    assert_eq!(shape.schema.columns[2].declared, "text");
    assert_eq!(shape.schema.columns.len(), 5);
    let read = rig.reader().snapshot(&shape, &[], (10, usize::MAX), |_| true).await.unwrap();
    assert_eq!(cells(read.rows.first()), "1 open three a 5");
    rig.run("update item set n = 'four'").await;
    assert_eq!(told(&commit(&mut stream).await), ["1 open ? ? ? > 1 open four a 5"]);
    // A table that can't be watched any more is reported with the reason, and other tables are not
    // affected. It is described again only at intervals.
    rig.run("alter table item replica identity default").await;
    let error = loop {
        rig.run("update item set n = n || '!'").await;
        match next(&mut stream).await {
            Event::Commit(commit) => assert_eq!(told(&commit), ["schema"]),
            Event::Table { table: 0, shape: Err(error) } => break error,
            Event::Idle { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(error, SetupError::Identity { .. }), "{error}");
}

#[tokio::test]
async fn a_killed_database_is_gone_on_with_where_it_was() {
    let mut rig = Rig::ready(&[]).await;
    let (mut stream, released) = rig.stream();
    let (epoch, _) = up(&mut stream).await;
    let mut positions = Vec::new();
    for round in 0..4 {
        for id in 0..25 {
            rig.run(&format!("insert into item values ({}, 'open', 1, null)", round * 25 + id)).await;
        }
        // Some commits are read before the database is killed, some are not.
        for _ in 0..10 {
            positions.push(commit(&mut stream).await.position);
        }
        if round == 1 {
            released.up_to(&epoch, positions[4]);
        }
        rig.cluster.kill_hard().unwrap();
        rig.cluster.start_again().unwrap();
        rig.admin = connect(&rig.cluster, "postgres").await;
        loop {
            match next(&mut stream).await {
                Event::Commit(commit) => positions.push(commit.position),
                Event::Down { .. } => break,
                _ => {}
            }
        }
        assert_eq!(up(&mut stream).await.0, epoch, "the slot survived");
        while positions.len() < (round + 1) * 25 {
            positions.push(commit(&mut stream).await.position);
        }
    }
    assert!(positions.is_sorted_by(|one, other| one < other), "a commit came twice");
    // Another server, or this one after a restart, gets all commits that were not released.
    drop(stream);
    let (mut again, _released) = rig.stream();
    assert_eq!(up(&mut again).await.0, epoch);
    let first = commit(&mut again).await.position;
    assert!(positions.contains(&first) && first <= positions[5], "{first} of {positions:?}");
    let mut rest = vec![first];
    while rest.last() != positions.last() {
        rest.push(commit(&mut again).await.position);
    }
    assert!(positions.ends_with(&rest), "a commit is missing");
}

#[tokio::test]
async fn a_slot_that_lost_its_log_is_replaced_and_the_epoch_is_new() {
    let rig = Rig::ready(&[]).await;
    // The plan sets a limit that is too high for a test.
    rig.run("alter system set max_slot_wal_keep_size = '1MB'").await;
    rig.run("select pg_reload_conf()").await;
    let (mut stream, released) = rig.stream();
    let (epoch, _) = up(&mut stream).await;
    rig.run("insert into item values (1, 'open', 1, null)").await;
    // The commit is not released, so the slot must keep it.
    commit(&mut stream).await;
    for _ in 0..6 {
        rig.run("insert into other (body) values ('x'); select pg_switch_wal()").await;
    }
    rig.run("checkpoint").await;
    let health = rig.reader().health().await.unwrap().expect("a slot");
    assert_eq!((health.status.as_str(), health.left), ("lost", None));
    let (new, _) = up(&mut stream).await;
    assert_ne!(new, epoch);
    rig.run("insert into item values (2, 'open', 1, null)").await;
    let given = commit(&mut stream).await;
    assert_eq!(told(&given), ["- > 2 open 1 null"]);
    // A release of the old epoch has no effect on the new one.
    released.up_to(&epoch, given.position);
    let _ = tokio::time::timeout(Duration::from_secs(3), stream.next()).await;
    let asked = "select (confirmed_flush_lsn - '0/0')::text from pg_replication_slots where active";
    let confirmed: String = rig.admin.query_one(asked, &[]).await.unwrap().get(0);
    assert!(confirmed.parse::<u64>().unwrap() < given.position, "{confirmed} of {}", given.position);
    let asked = "select count(*) from pg_replication_slots";
    assert_eq!(
        rig.admin.query_one(asked, &[]).await.unwrap().get::<_, i64>(0),
        1,
        "the old one is still there"
    );
}

#[tokio::test]
async fn a_quiet_publication_keeps_no_log_of_a_busy_database() {
    let rig = Rig::ready(&[]).await;
    let (mut stream, released) = rig.stream();
    let (epoch, _) = up(&mut stream).await;
    rig.run("insert into item values (1, 'open', 1, null)").await;
    let given = commit(&mut stream).await;
    let reader = rig.reader();
    let busy = "insert into other (body) select repeat('x', 1000) from generate_series(1, 5000)";
    rig.run(busy).await;
    let behind = async |stream: &mut Stream, least: u64, most: u64| {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
            let health = reader.health().await.unwrap().expect("a slot");
            if (least..=most).contains(&health.behind) {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "{health:?}");
        }
    };
    // The commit is not released, so the log is kept for a restart, however long that takes.
    for _ in 0..20 {
        behind(&mut stream, 5_000_000, u64::MAX).await;
    }
    released.up_to(&epoch, given.position);
    rig.run(busy).await;
    behind(&mut stream, 0, 100_000).await;
}

#[tokio::test]
async fn a_filter_narrows_what_is_read_and_changes_nothing_of_what_is_found() {
    let rig = Rig::ready(&[]).await;
    let values = ["open", "Open", "OPEN", "", "a%b", "a_b", r"a\b", "é", "É", "o'x", "\u{ffee}", "😀"];
    for (id, value) in values.iter().enumerate() {
        let n = if id % 3 == 0 { String::from("null") } else { id.to_string() };
        let value = value.replace('\'', "''");
        rig.run(&format!("insert into item values ({id}, '{value}', {n}, '{value}')")).await;
    }
    let (mut stream, _released) = rig.stream();
    let (_, shapes) = up(&mut stream).await;
    let columns: Vec<Column<'_>> = shapes[0]
        .schema
        .columns
        .iter()
        .map(|column| Column { name: &column.name, kind: column.kind })
        .collect();
    let reader = rig.reader();
    for text in [
        "state=eq.open",
        "state=neq.open",
        "state=not.eq.open",
        "state=gt.O",
        "state=lte.é",
        "state=ilike.É",
        "state=not.ilike.o*",
        r"state=like.a\\%b",
        "state=in.(open,é,\"\")",
        "state=not.in.(open)",
        "state=in.()",
        "state=eq.o'x",
        "n=gt.4&state=neq.Open",
        "or=(n.is.null,state.gt.a)",
        "not.or=(n.is.null,state.gt.a)",
        "not.and=(n.gt.2,state.in.(é,open))",
        "n=not.is.null&body=like.*_*",
        "n=in.(1, 2 ,+4)",
    ] {
        let filter = Filter::parse(text).expect(text);
        let predicate = filter.bind(&columns).expect(text);
        let mut read = [0, 0];
        let mut ids = Vec::new();
        for (round, filters) in [[].as_slice(), [filter].as_slice()].into_iter().enumerate() {
            let keep = |row: &[Cell]| {
                read[round] += 1;
                let value = |(cell, column): (&Cell, &Column<'_>)| match cell {
                    Cell::Text(text) => Value::parse(text, column.kind).unwrap(),
                    _ => Value::Null,
                };
                predicate.holds(&row.iter().zip(&columns).map(value).collect::<Vec<_>>())
            };
            let found = reader.snapshot(&shapes[0], filters, (100, usize::MAX), keep).await.unwrap();
            let mut found: Vec<String> = found.rows.iter().map(|row| cells(Some(row))).collect();
            found.sort();
            ids.push(found);
        }
        assert_eq!(ids[0], ids[1], "{text}");
        assert_eq!(read, [values.len(), ids[0].len()], "{text} did not narrow exactly");
    }
    let read = reader.snapshot(&shapes[0], &[], (5, usize::MAX), |_| true).await;
    assert!(matches!(read, Err(ReadError::TooManyRows(5))), "{read:?}");
    let read = reader.snapshot(&shapes[0], &[], (1_000, 3), |_| true).await;
    assert!(matches!(read, Err(ReadError::TooBig(3))), "{read:?}");
    assert_eq!(
        reader.snapshot(&shapes[0], &[], (values.len(), usize::MAX), |_| true).await.unwrap().rows.len(),
        values.len()
    );
}

#[tokio::test]
async fn a_database_that_vanishes_without_a_word_is_noticed_and_a_quiet_one_is_not() {
    let mut rig = Rig::ready(&[]).await;
    let proxy = Proxy::start(&format!("127.0.0.1:{}", rig.cluster.port())).await.unwrap();
    rig.settings.address = format!("postgres://tidewire@{}/postgres", proxy.address());
    let (mut stream, _released) = rig.stream();
    let (epoch, _) = up(&mut stream).await;
    let quiet = async { while matches!(stream.next().await, Event::Idle { .. }) {} };
    assert!(tokio::time::timeout(Duration::from_secs(7), quiet).await.is_err(), "it was only quiet");
    let hole = Direction { black_hole: true, ..Direction::default() };
    proxy.set(Faults { up: hole.clone(), down: hole, ..Faults::default() });
    rig.run("insert into item values (1, 'open', 1, null)").await;
    let error = down(&mut stream).await;
    assert!(matches!(error, StreamError::Silent) && error.is_retryable(), "{error}");
    proxy.set(Faults::default());
    assert_eq!(up(&mut stream).await.0, epoch);
    assert_eq!(told(&commit(&mut stream).await), ["- > 1 open 1 null"]);
}

#[tokio::test]
async fn a_database_that_was_put_back_to_earlier_has_a_new_epoch() {
    let mut rig = Rig::ready(&[]).await;
    let (mut stream, _released) = rig.stream();
    let (epoch, _) = up(&mut stream).await;
    let stopping = stop(rig.cluster);
    down(&mut stream).await;
    rig.cluster = stopping.await.unwrap();
    rig.cluster.save().unwrap();
    rig.cluster.start_again().unwrap();
    rig.admin = connect(&rig.cluster, "postgres").await;
    assert_eq!(up(&mut stream).await.0, epoch, "it was only stopped");
    rig.run("insert into item select i, 'open', i, repeat('x', 1000) from generate_series(1, 200) i").await;
    let given = commit(&mut stream).await;

    let stopping = stop(rig.cluster);
    down(&mut stream).await;
    rig.cluster = stopping.await.unwrap();
    rig.cluster.restore().unwrap();
    rig.cluster.start_again().unwrap();
    rig.admin = connect(&rig.cluster, "postgres").await;
    rig.run("insert into item values (1, 'open', 1, 'before')").await;
    assert_ne!(up(&mut stream).await.0, epoch);
    rig.run("insert into item values (2, 'open', 1, 'behind')").await;
    let first = commit(&mut stream).await;
    assert_eq!(told(&first), ["- > 2 open 1 behind"]);
    assert!(first.position < given.position, "it was put back to nothing earlier");
}

#[tokio::test]
async fn a_database_that_is_to_stop_does_not_wait_for_us() {
    let mut rig = Rig::ready(&[]).await;
    let (mut stream, _released) = rig.stream();
    let (epoch, _) = up(&mut stream).await;
    rig.run("insert into item values (1, 'open', 1, null)").await;
    // The commit is not released, and must not be lost.
    let given = commit(&mut stream).await;
    let started = std::time::Instant::now();
    let stopping = stop(rig.cluster);
    let error = down(&mut stream).await;
    rig.cluster = stopping.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}, {error}", started.elapsed());
    rig.cluster.start_again().unwrap();
    drop(stream);
    let (mut again, _released) = Stream::new(rig.settings.clone()).unwrap();
    assert_eq!(up(&mut again).await.0, epoch);
    assert_eq!(commit(&mut again).await.position, given.position);
}
