//! Live tables: going on from a cursor, slow readers, and what ends a subscription.

use crate::rig::tables::{Source, View, resume, rig, row, schema, sub, tables, tables_with, welcome};
use crate::rig::{Client, Rig};
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::UserKind;
use tidewire_server_core::ServerLimits;
use tidewire_server_core::tables::{Change, RequestId, Seen, Snapshot, SourceRequest, TableLimits, Tables};

fn all() -> Vec<(UserKind, &'static str)> {
    vec![(UserKind::User, "*")]
}

fn fold(client: &mut Client, view: &mut View) {
    while let Some(frame) = client.try_next() {
        view.take("s", &frame);
    }
}

/// A client that has followed `room=eq.7` from a snapshot on, and is gone; its view.
fn followed(rig: &Rig, source: &Source) -> View {
    let (mut client, mut view) = (welcome(rig, "ada"), View::default());
    client.send(rig, &sub("room=eq.7"));
    source.answer();
    fold(&mut client, &mut view);
    assert!(view.feed.is_some() && view.cursor.is_some());
    view
}

fn resumed(rig: &Rig, filter: &str, cursor: &str) -> (Client, Value) {
    let mut client = welcome(rig, "ada");
    client.send(rig, &resume(filter, cursor));
    let ok = client.try_next().unwrap_or(Value::Null);
    (client, ok)
}

#[test]
fn a_cursor_goes_on_without_a_gap_and_without_a_snapshot() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    source.put(row(1, 7, "ada", "a")).commit();
    let mut view = followed(&rig, &source);
    assert_eq!(tables.counts().subscriptions, 0, "the session is gone");
    source.put(row(2, 7, "ada", "b")).commit();
    source.put(row(3, 8, "ada", "c")).commit();
    source.delete(1).commit();
    let (mut client, ok) = resumed(&rig, "room=eq.7", &view.cursor.clone().unwrap());
    assert_eq!((&ok["mode"], &ok["rows"]), (&json!("resumed"), &json!([])));
    view.take("s", &ok);
    fold(&mut client, &mut view);
    assert_eq!(view.rows.keys().collect::<Vec<_>>(), ["[\"2\"]"]);
    assert!(view.feed.is_some() && tables.take_requests().is_empty());
    // Another spelling of the same filter.
    let (_, ok) = resumed(&rig, " room = 7 ", &view.cursor.unwrap());
    assert_eq!(ok["mode"], "resumed");
}

#[test]
fn a_cursor_that_is_not_good_any_more_gets_a_snapshot_and_the_reason() {
    let limits = TableLimits { log_commits: 3, ..TableLimits::default() };
    let tables = tables_with(&all(), limits);
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let cursor = followed(&rig, &source).cursor.unwrap();
    let reason = |filter: &str, cursor: &str| {
        let (mut client, ok) = resumed(&rig, filter, cursor);
        assert!(ok.is_null());
        source.answer();
        let ok = client.next("tbl.ok");
        assert_eq!(ok["mode"], "snapshot");
        ok["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("room=eq.8", &cursor), "changed");
    assert_eq!(reason("", &cursor), "changed");
    for nonsense in ["", "x", "e1.5", "e1.x.0", "....", "e1.5.zzzzzzzzzzzzzzzz"] {
        assert_eq!(reason("room=eq.7", nonsense), "changed", "{nonsense}");
    }
    let ahead = cursor.replacen(".0.", ".999.", 1);
    assert_ne!(ahead, cursor);
    assert_eq!(reason("room=eq.7", &ahead), "epoch");
    assert_eq!(reason("room=eq.7", &cursor.replacen("e1", "e0", 1)), "epoch");
    for id in 0..4 {
        source.put(row(id, 1, "x", "y")).commit();
    }
    let (mut client, _) = resumed(&rig, "room=eq.7", &cursor);
    source.answer();
    assert_eq!(client.next("tbl.ok")["reason"], "trimmed");
}

#[test]
fn commits_that_a_snapshot_already_has_are_not_told_again() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    let [SourceRequest::Snapshot(wanted)] = &tables.take_requests()[..] else { panic!("one snapshot") };
    // Transaction 2 is in the snapshot and 1, which the stream has told, is not; the stream has not
    // come to 2.
    source.put(row(1, 7, "a", "first"));
    let first = source.next_commit();
    source.put(row(2, 7, "a", "second"));
    let second = source.next_commit();
    source.put(row(3, 7, "a", "third"));
    let third = source.next_commit();
    tables.publish(first);
    let seen = Seen::Transactions { xmin: 1, xmax: 3, running: vec![1], until: 25 };
    tables.finish_snapshot(wanted.id, Ok(Snapshot { rows: vec![row(2, 7, "a", "second")], seen }));
    assert_eq!(ada.next("tbl.ok")["rows"], json!([["2", "7", "a", "second"]]));
    let tx = ada.next("tbl.tx");
    assert_eq!(
        (&tx["txs"][0][0], tx.get("cursor")),
        (&json!("x10"), None),
        "what is between would be lost with it"
    );
    assert!(ada.heard_nothing(), "it is not live before the snapshot is passed");
    tables.publish(second);
    assert!(ada.heard_nothing());
    tables.advance(24);
    ada.next("tbl.live");
    tables.publish(third);
    assert_eq!(ada.next("tbl.tx")["txs"][0][2][0]["row"][0], "3");
}

#[test]
fn a_snapshot_may_lie_between_two_transactions_that_come_as_one() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    let [SourceRequest::Snapshot(wanted)] = &tables.take_requests()[..] else { panic!("one snapshot") };
    source.put(row(1, 7, "a", "in it")).put(row(2, 7, "a", "not in it"));
    let mut commit = source.next_commit();
    commit.places = vec![9, 10];
    tables.finish_snapshot(
        wanted.id,
        Ok(Snapshot { rows: vec![row(1, 7, "a", "in it")], seen: Seen::UpTo(9) }),
    );
    ada.next("tbl.ok");
    assert!(ada.heard_nothing());
    tables.publish(commit);
    let tx = ada.next("tbl.tx");
    assert_eq!(tx["txs"][0][2], json!([{"op": "insert", "row": ["2", "7", "a", "not in it"]}]));
    ada.next("tbl.live");
}

#[test]
fn who_reads_slowly_falls_out_of_the_feed_and_loses_nothing() {
    let tables = tables();
    let limits = ServerLimits { queue_bytes: 20_000, ..ServerLimits::default() };
    let rig = Rig::with(|engine| {
        (engine.tables, engine.limits) = (Some(tables.clone()), limits);
    });
    let mut source = Source::new(&tables);
    let (mut slow, mut quick) = (welcome(&rig, "ada"), welcome(&rig, "bob"));
    let (mut slow_view, mut quick_view) = (View::default(), View::default());
    for client in [&mut slow, &mut quick] {
        client.send(&rig, &sub("room=eq.7"));
        source.answer();
    }
    fold(&mut slow, &mut slow_view);
    for id in 0..200 {
        source.put(row(id, 7, "a", &"x".repeat(500))).commit();
        fold(&mut quick, &mut quick_view);
        assert!(!slow.session.outgoing().is_closing());
    }
    // Chat gets through while a table waits.
    slow.send(&rig, &json!({"t": "ping", "n": "1"}));
    let mut by_sid = 0;
    let mut pong = false;
    while let Some(frame) = slow.try_next() {
        by_sid += frame["txs"].as_array().filter(|_| frame["sid"] == "s").map_or(0, Vec::len);
        pong |= frame["t"] == "pong";
        slow_view.take("s", &frame);
    }
    assert!(pong && by_sid > 100, "{by_sid}");
    assert_eq!((slow_view.rows.len(), quick_view.rows.len()), (200, 200));
    source.delete(0).commit();
    fold(&mut slow, &mut slow_view);
    fold(&mut quick, &mut quick_view);
    assert_eq!(slow_view.rows, quick_view.rows);
    assert!(slow_view.feed == quick_view.feed && slow_view.reset.is_none());
}

#[test]
fn who_is_slower_than_the_log_is_long_begins_anew() {
    let tables = tables_with(&all(), TableLimits { log_commits: 10, ..TableLimits::default() });
    let limits = ServerLimits { queue_bytes: 20_000, ..ServerLimits::default() };
    let mut rig = Rig::with(|engine| {
        (engine.tables, engine.limits) = (Some(tables.clone()), limits);
    });
    let mut source = Source::new(&tables);
    let (mut slow, mut view) = (welcome(&rig, "ada"), View::default());
    slow.send(&rig, &sub(""));
    source.answer();
    fold(&mut slow, &mut view);
    for id in 0..100 {
        source.put(row(id, 7, "a", &"x".repeat(500))).commit();
    }
    fold(&mut slow, &mut view);
    assert_eq!(view.reset.as_deref(), Some("trimmed"));
    // Also if it reads nothing at all: its snapshot is not kept for ever.
    slow.send(&rig, &sub(""));
    let mut other = welcome(&rig, "bob");
    for id in 0..600 {
        source.put(row(id, 8, "a", "x"));
    }
    source.commit();
    other.send(&rig, &sub("room=eq.8"));
    source.answer();
    other.next("tbl.ok");
    assert!(tables.counts().snapshot_bytes > 0);
    for _ in 0..11 {
        source.put(row(1, 1, "x", "y")).commit();
    }
    rig.pass(1_000);
    tables.tick(rig.now.mono);
    assert_eq!(other.next("tbl.reset")["reason"], "trimmed");
    drop(slow);
    assert_eq!(tables.counts().snapshot_bytes, 0);
}

/// A client that is live, after this happened.
fn after(limits: TableLimits, happens: impl FnOnce(&Tables, &mut Source)) -> Value {
    let tables = tables_with(&all(), limits);
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    source.put(row(1, 7, "ada", "a")).commit();
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    source.answer();
    ada.next("tbl.ok");
    let live = ada.next("tbl.live");
    happens(&tables, &mut source);
    let reset = ada.next("tbl.reset");
    assert!(reset["feed"] == live["feed"] && reset["spread_ms"].is_u64(), "{reset}");
    assert!(ada.heard_nothing());
    let counts = tables.counts();
    assert_eq!((counts.subscriptions, counts.groups, counts.pending), (0, 0, 0));
    // It comes back with what it had.
    ada.send(&rig, &resume("", live["cursor"].as_str().unwrap()));
    source.answer();
    let ok = ada.next("tbl.ok");
    assert_eq!(ok["mode"], "snapshot");
    assert!(matches!(ok["reason"].as_str(), Some("epoch" | "trimmed" | "changed")), "{ok}");
    reset["reason"].clone()
}

#[test]
fn a_subscription_that_cannot_go_on_is_told_why() {
    let limits = TableLimits::default;
    assert_eq!(
        after(limits(), |tables, source| {
            source.position = 5;
            tables.restart("e2", 5, &[]);
        }),
        "epoch"
    );
    assert_eq!(
        after(limits(), |tables, _| tables.reshape(0, schema(&[("id", "bigint"), ("new", "text")]))),
        "schema"
    );
    for reason in ["truncated", "too_big"] {
        let lost = after(limits(), |_, source| source.push(Change::Lost { table: 0, reason }).commit());
        assert_eq!(lost, reason);
    }
}

#[test]
fn a_transaction_that_is_greater_than_a_frame_is_a_reason_to_begin_anew() {
    let tables = tables_with(&all(), TableLimits { frame_bytes: 10_000, ..TableLimits::default() });
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let (mut ada, mut bob) = (welcome(&rig, "ada"), welcome(&rig, "bob"));
    for (client, filter) in [(&mut ada, ""), (&mut bob, "id=eq.1")] {
        client.send(&rig, &sub(filter));
        source.answer();
        client.next("tbl.ok");
        client.next("tbl.live");
    }
    for id in 0..100 {
        source.put(row(id, 7, "ada", &"x".repeat(200)));
    }
    source.commit();
    assert_eq!(ada.next("tbl.reset")["reason"], "too_big");
    assert_eq!(bob.next("tbl.tx")["txs"][0][2].as_array().unwrap().len(), 1);
    source.put(row(100, 7, "ada", &"x".repeat(20_000))).commit();
    ada.send(&rig, &sub(""));
    source.answer();
    assert_eq!(ada.next("tbl.err")["code"], "too_big");
}

#[test]
fn what_was_missed_comes_many_transactions_in_a_frame() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    source.answer();
    ada.next("tbl.ok");
    let cursor = ada.next("tbl.live")["cursor"].clone();
    drop(ada);
    for id in 0..300 {
        source.put(row(id, 7, "a", &"x".repeat(200))).put(row(1_000 + id, 8, "b", "elsewhere")).commit();
    }
    source.put(row(300, 7, "a", &"x".repeat(40_000))).commit();
    let mut again = welcome(&rig, "ada");
    let mut resume = sub("room=eq.7");
    resume["cursor"] = cursor;
    again.send(&rig, &resume);
    assert_eq!(again.next("tbl.ok")["mode"], "resumed");
    let (mut all, mut sizes, mut prev) = (Vec::new(), Vec::new(), json!(0));
    let live = loop {
        let frame = again.try_next().unwrap();
        if frame["t"] == "tbl.live" {
            break frame;
        }
        assert_eq!(frame["prev"], prev);
        prev = frame["pos"].clone();
        let txs = frame["txs"].as_array().unwrap().clone();
        sizes.push(frame["txs"].to_string().len());
        all.extend(txs.into_iter().map(|tx| tx[2][0]["row"][0].clone()));
    };
    assert_eq!(live["prev"], prev);
    assert_eq!(all, (0..=300).map(|id| json!(id.to_string())).collect::<Vec<_>>());
    let (last, others) = sizes.split_last().unwrap();
    assert!(*last > 40_000 && (2..5).contains(&others.len()), "{sizes:?}");
    assert!(others.iter().all(|size| *size < 34_000), "{sizes:?}");
}

#[test]
fn the_same_source_coming_back_changes_nothing() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    source.answer();
    ada.next("tbl.ok");
    ada.next("tbl.live");
    source.put(row(1, 7, "a", "b"));
    let commit = source.next_commit();
    tables.publish(commit.clone());
    ada.next("tbl.tx");
    tables.restart("e1", tables.oldest(), &[]);
    tables.publish(commit);
    assert!(ada.heard_nothing());
}

#[test]
fn limits_hold_and_say_so() {
    let limits = TableLimits { subscriptions: 2, total: 3, unindexed: 1, waits: 1, ..TableLimits::default() };
    let tables = tables_with(&all(), limits);
    let (rig, source) = (rig(&tables), Source::new(&tables));
    let named =
        |sid: &str, filter: &str| json!({"t": "tbl.sub", "sid": sid, "table": "tasks", "filter": filter});
    let (mut ada, mut bob) = (welcome(&rig, "ada"), welcome(&rig, "bob"));
    ada.send(&rig, &named("a", "room=gt.1"));
    ada.send(&rig, &named("b", "room=gt.2"));
    let err = ada.next("tbl.err");
    assert_eq!((&err["code"], &err["retryable"]), (&json!("too_many_subscriptions"), &json!(true)));
    ada.send(&rig, &named("b", "room=gt.1"));
    ada.send(&rig, &named("c", "room=eq.1"));
    let err = ada.next("tbl.err");
    assert_eq!((&err["code"], &err["retryable"]), (&json!("too_many_subscriptions"), &json!(false)));
    bob.send(&rig, &named("a", "room=eq.1"));
    bob.send(&rig, &named("b", "room=eq.1"));
    assert_eq!(bob.next("tbl.err")["retryable"], true);
    source.answer();
    bob.next("tbl.ok");
    bob.next("tbl.live");
    for tx in ["x990", "x991"] {
        bob.send(&rig, &json!({"t": "tbl.wait", "sid": "a", "tx": tx}));
    }
    assert_eq!(bob.next("tbl.seen"), json!({"t": "tbl.seen", "sid": "a", "tx": "x991", "code": "timeout"}));
    drop(ada);
    let counts = tables.counts();
    assert_eq!((counts.subscriptions, counts.groups, counts.unindexed, counts.pending), (1, 1, 0, 1));
    bob.session.end();
    let counts = tables.counts();
    assert_eq!((counts.subscriptions, counts.groups, counts.pending, counts.waits), (0, 0, 0, 0));
    // A client that was sent away begins nothing.
    bob.send(&rig, &named("a", "room=eq.1"));
    assert_eq!(tables.counts().subscriptions, 0);
}

#[test]
fn subscriptions_are_not_begun_faster_than_the_budget() {
    let tables = tables();
    let mut rig = Rig::with(|engine| engine.tables = Some(tables.clone()));
    let mut ada = welcome(&rig, "ada");
    let mut refused = 0;
    for _ in 0..201 {
        ada.send(&rig, &sub("room=eq.7"));
        refused += usize::from(ada.try_next().is_some_and(|frame| frame["code"] == "rate_limited"));
    }
    assert_eq!((refused, tables.counts().subscriptions), (1, 0));
    rig.pass(1_000);
    ada.send(&rig, &sub("room=eq.7"));
    assert!(ada.heard_nothing());
}

#[test]
fn a_subscription_before_the_source_is_there_is_told_to_come_again() {
    let tables =
        Tables::new(vec![crate::rig::tables::config(&all())], TableLimits::default(), Arc::new(|_| ()))
            .unwrap();
    let tables = Arc::new(tables);
    let rig = rig(&tables);
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    let err = ada.next("tbl.err");
    assert_eq!((&err["code"], &err["retryable"]), (&json!("table_unavailable"), &json!(true)));
    assert!(err["retry_after_ms"].is_u64());
}

#[test]
fn a_second_subscription_of_one_name_takes_the_place_of_the_first() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    for filter in ["room=eq.7", "room=eq.8"] {
        ada.send(&rig, &sub(filter));
        source.answer();
        ada.next("tbl.ok");
        ada.next("tbl.live");
    }
    source.put(row(1, 7, "a", "b")).put(row(2, 8, "a", "b")).commit();
    assert_eq!(ada.next("tbl.tx")["txs"][0][2][0]["row"][0], "2");
    assert!(ada.heard_nothing());
    assert_eq!(tables.counts().groups, 1);
}

/// Rows as a snapshot of PostgreSQL gives them that was taken while transaction `running` was
/// running, of `next - 1` in all.
fn seen_while(running: &[u64], next: u64, rows: Vec<tidewire_server_core::tables::Row>) -> Snapshot {
    let xmin = running.first().copied().unwrap_or(next);
    Snapshot { rows, seen: Seen::Transactions { xmin, xmax: next, running: running.to_vec(), until: 1_000 } }
}

fn wanted(tables: &Tables) -> RequestId {
    let [SourceRequest::Snapshot(wanted)] = &tables.take_requests()[..] else { panic!("one snapshot") };
    wanted.id
}

#[test]
fn what_was_committed_before_the_source_began_and_is_not_seen_yet_is_waited_for() {
    for (running, next) in [(vec![3], 5), (vec![], 3)] {
        let tables = tables();
        let rig = rig(&tables);
        tables.restart("e2", 30, &[3, 4]);
        let (mut ada, mut view) = (welcome(&rig, "ada"), View::default());
        ada.send(&rig, &sub(""));
        // Number 3 was committed before, and is never told; number 4 was still running, and is
        // told.
        tables
            .finish_snapshot(wanted(&tables), Ok(seen_while(&running, next, vec![row(1, 7, "a", "before")])));
        assert!(ada.heard_nothing(), "a snapshot without number 3");
        let mut source = Source::new(&tables);
        source.position = 30;
        source.put(row(4, 7, "a", "told"));
        tables.publish(source.next_commit());
        let rows = vec![row(1, 7, "a", "before"), row(3, 7, "a", "not told")];
        tables.finish_snapshot(wanted(&tables), Ok(seen_while(&[4], 5, rows)));
        tables.advance(1_000);
        fold(&mut ada, &mut view);
        assert!(view.feed.is_some());
        let keys: Vec<&String> = view.rows.keys().collect();
        assert_eq!(keys, ["[\"1\"]", "[\"3\"]", "[\"4\"]"]);
    }
}

#[test]
fn while_what_is_not_told_is_not_seen_the_table_is_unavailable() {
    let tables = tables();
    let rig = rig(&tables);
    tables.restart("e2", 30, &[3]);
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    for _ in 0..3 {
        tables.finish_snapshot(wanted(&tables), Ok(seen_while(&[3], 5, Vec::new())));
    }
    let error = ada.next("tbl.err");
    assert_eq!((&error["code"], &error["retryable"]), (&json!("table_unavailable"), &json!(true)));
    ada.send(&rig, &sub(""));
    tables.finish_snapshot(wanted(&tables), Ok(seen_while(&[], 5, Vec::new())));
    assert_eq!(ada.next("tbl.ok")["mode"], "snapshot");
}

#[test]
fn a_commit_that_left_the_log_before_snapshots_see_it_is_waited_for() {
    let tables = tables_with(&all(), TableLimits { log_commits: 1, ..TableLimits::default() });
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    for id in 1..=3 {
        source.put(row(id, 7, "a", "b")).commit();
    }
    let (mut ada, mut bob) = (welcome(&rig, "ada"), welcome(&rig, "bob"));
    ada.send(&rig, &sub(""));
    let first = wanted(&tables);
    bob.send(&rig, &sub("room=eq.7"));
    let second = wanted(&tables);
    let rows = |ids: &[i64]| ids.iter().map(|id| row(*id, 7, "a", "b")).collect::<Vec<_>>();
    // The one that was asked for later was taken later, and is here earlier.
    tables.finish_snapshot(second, Ok(seen_while(&[], 4, rows(&[1, 2, 3]))));
    assert_eq!(bob.next("tbl.ok")["rows"].as_array().map(Vec::len), Some(3));
    tables.finish_snapshot(first, Ok(seen_while(&[1], 4, rows(&[2, 3]))));
    assert!(ada.heard_nothing(), "number 1 is neither in the snapshot nor in the log");
    tables.finish_snapshot(wanted(&tables), Ok(seen_while(&[3], 4, rows(&[1, 2]))));
    assert_eq!(ada.next("tbl.ok")["rows"].as_array().map(Vec::len), Some(2));
    tables.advance(1_000);
    assert_eq!(ada.next("tbl.tx")["txs"][0][2][0]["row"][0], "3");
}
