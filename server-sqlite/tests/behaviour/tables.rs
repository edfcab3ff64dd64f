//! Live tables, protocol section 12: what a client is sent.

use crate::rig::tables::{Source, View, rig, row, sub, tables, tables_with, welcome};
use crate::rig::{Client, Rig};
use serde_json::{Value, json};
use tidewire_core::wire::UserKind;
use tidewire_server_core::tables::{Cell, Change, SourceError, SourceRequest, TableLimits};

#[test]
fn a_subscription_gets_its_rows_and_then_every_change_of_them() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    source.put(row(1, 7, "ada", "a")).put(row(2, 8, "ada", "b")).commit();
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    assert!(ada.heard_nothing());
    source.answer();
    let ok = ada.next("tbl.ok");
    assert_eq!(
        (&ok["mode"], &ok["key"], &ok["rows"]),
        (&json!("snapshot"), &json!([0]), &json!([["1", "7", "ada", "a"]]))
    );
    assert_eq!(ok["columns"][1], json!({"name": "room", "type": "bigint"}));
    assert!(ok.get("reason").is_none() && ok.get("cursor").is_none() && ok["more"] == false);
    let live = ada.next("tbl.live");
    assert_eq!(live["prev"], ok["pos"]);
    assert!(live["cursor"].is_string());

    source.put(row(3, 7, "bob", "c")).put(row(4, 8, "bob", "elsewhere")).commit();
    let tx = ada.next("tbl.tx");
    assert_eq!((&tx["feed"], &tx["prev"]), (&live["feed"], &live["pos"]));
    let insert = json!({"op": "insert", "row": ["3", "7", "bob", "c"]});
    assert_eq!(tx["txs"], json!([["x20", 1020, [insert]]]));

    source.put(row(3, 7, "bob", "C")).commit();
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], json!([{"op": "update", "row": ["3", "7", "bob", "C"]}]));
    source.put(row(3, 8, "bob", "secret")).commit();
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], json!([{"op": "delete", "key": ["3"], "moved": true}]));
    source.put(row(3, 7, "bob", "back")).commit();
    let changes = json!([{"op": "insert", "row": ["3", "7", "bob", "back"], "moved": true}]);
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], changes);
    source.delete(1).delete(2).commit();
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], json!([{"op": "delete", "key": ["1"]}]));
    source.replace(3, row(9, 7, "bob", "renamed")).commit();
    let changes = json!([
        {"op": "delete", "key": ["3"]},
        {"op": "insert", "row": ["9", "7", "bob", "renamed"]},
    ]);
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], changes);
    source.put(row(5, 1, "x", "not hers")).commit();
    assert!(ada.heard_nothing());
    ada.send(&rig, &json!({"t": "tbl.unsub", "sid": "s"}));
    source.put(row(6, 7, "x", "y")).commit();
    assert!(ada.heard_nothing());
    assert_eq!(tables.counts().groups, 0);
}

#[test]
fn what_was_committed_while_a_snapshot_was_read_follows_the_last_page() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    for id in 0..600 {
        source.put(row(id, 7, "ada", "x"));
    }
    source.commit();
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    source.answer();
    let ok = ada.next("tbl.ok");
    assert_eq!((ok["rows"].as_array().unwrap().len(), &ok["more"]), (256, &json!(true)));
    source.put(row(1, 7, "ada", "y")).commit();
    assert!(ada.heard_nothing());
    ada.send(&rig, &json!({"t": "tbl.next", "sid": "s"}));
    assert_eq!(ada.next("tbl.page")["more"], true);
    ada.send(&rig, &json!({"t": "tbl.next", "sid": "s"}));
    let page = ada.next("tbl.page");
    assert_eq!((page["rows"].as_array().unwrap().len(), &page["more"]), (88, &json!(false)));
    let tx = ada.next("tbl.tx");
    assert_eq!((&tx["sid"], &tx["prev"]), (&json!("s"), &ok["pos"]));
    assert_eq!(tx["txs"][0][2][0]["op"], "update");
    assert_eq!(ada.next("tbl.live")["prev"], tx["pos"]);
    ada.send(&rig, &json!({"t": "tbl.next", "sid": "s"}));
    assert!(ada.heard_nothing());
    assert_eq!(tables.counts().snapshot_bytes, 0);
}

#[test]
fn a_page_has_at_most_so_many_bytes() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    for id in 0..6 {
        source.put(row(id, 7, "ada", &"x".repeat(100_000)));
    }
    source.commit();
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    source.answer();
    let mut sizes = vec![ada.next("tbl.ok")["rows"].as_array().unwrap().len()];
    for _ in 0..2 {
        ada.send(&rig, &json!({"t": "tbl.next", "sid": "s"}));
        sizes.push(ada.next("tbl.page")["rows"].as_array().unwrap().len());
    }
    ada.next("tbl.live");
    assert_eq!(sizes, [2, 2, 2]);
}

#[test]
fn a_permission_is_part_of_the_filter_and_a_claim_is_never_more_than_a_value() {
    let tables =
        tables_with(&[(UserKind::User, "owner=eq.{sub}&room=eq.{claim:room}")], TableLimits::default());
    assert_eq!(tables.claims().into_iter().collect::<Vec<_>>(), ["room"]);
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let evil = "x&or=(owner.eq.ada,owner.neq.ada)";
    source.put(row(1, 7, "ada", "a")).put(row(2, 8, "ada", "b")).put(row(3, 7, evil, "c")).commit();
    let mut ada = welcome(&rig, "ada|0|room=7");
    ada.send(&rig, &sub("or=(owner.eq.ada,owner.neq.ada)"));
    source.answer();
    assert_eq!(ada.next("tbl.ok")["rows"], json!([["1", "7", "ada", "a"]]));
    ada.next("tbl.live");
    let mut eve = welcome(&rig, &format!("{evil}|0|room=7"));
    eve.send(&rig, &sub(""));
    source.answer();
    assert_eq!(eve.next("tbl.ok")["rows"], json!([["3", "7", evil, "c"]]));
    eve.next("tbl.live");
    source.delete(2).delete(1).commit();
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], json!([{"op": "delete", "key": ["1"]}]));
    assert!(eve.heard_nothing());
    for token in ["bob|0", "bob|0|room=seven", "bob|0|room=7 or 1"] {
        let mut bob = welcome(&rig, token);
        bob.send(&rig, &sub(""));
        assert_eq!(bob.next("tbl.err")["code"], "forbidden", "{token}");
    }
    let mut guest = welcome(&rig, "guest|0|room=7");
    guest.send(&rig, &sub(""));
    let err = guest.next("tbl.err");
    assert_eq!((&err["code"], &err["retryable"]), (&json!("forbidden"), &json!(false)));
}

#[test]
fn a_claim_may_be_a_list_where_the_permission_has_one() {
    let tables = tables_with(
        &[(UserKind::User, "room=in.({claim:rooms},1)"), (UserKind::Guest, "room=eq.{claim:rooms}")],
        TableLimits::default(),
    );
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    source
        .put(row(1, 7, "x", "a"))
        .put(row(2, 8, "x", "b"))
        .put(row(3, 9, "x", "c"))
        .put(row(4, 1, "x", "d"));
    source.commit();
    let mut ada = welcome(&rig, "ada|0|rooms=7+8");
    ada.send(&rig, &sub(""));
    source.answer();
    let rows = ada.next("tbl.ok")["rows"].clone();
    let ids: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "4"]);
    ada.next("tbl.live");
    source.put(row(3, 8, "x", "comes in")).delete(2).commit();
    let changes = ada.next("tbl.tx")["txs"][0][2].clone();
    assert_eq!(changes[0]["moved"], true);
    assert_eq!(changes[1], json!({"op": "delete", "key": ["2"]}));
    // More than a filter may have, and a list where one value is compared.
    let many = (0..101).map(|room| room.to_string()).collect::<Vec<_>>().join("+");
    for token in [format!("bob|0|rooms={many}"), "guest-bob|0|rooms=7+8".to_owned()] {
        let mut bob = welcome(&rig, &token);
        bob.send(&rig, &sub(""));
        assert_eq!(bob.next("tbl.err")["code"], "forbidden", "{token}");
    }
    let mut one = welcome(&rig, "guest-bob|0|rooms=8");
    one.send(&rig, &sub(""));
    source.answer();
    assert_eq!(one.next("tbl.ok")["rows"], json!([["3", "8", "x", "comes in"]]));
}

#[test]
fn new_claims_end_the_subscriptions_that_may_see_other_rows() {
    let tables = tables_with(&[(UserKind::User, "room=eq.{claim:room}")], TableLimits::default());
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada|0|room=7");
    ada.send(&rig, &sub(""));
    source.answer();
    ada.next("tbl.ok");
    ada.next("tbl.live");
    ada.send(&rig, &json!({"t": "auth", "token": "ada|0|room=7"}));
    ada.next("auth_ok");
    source.put(row(1, 7, "x", "seen")).commit();
    let cursor = ada.next("tbl.tx")["cursor"].as_str().unwrap().to_owned();
    ada.send(&rig, &json!({"t": "auth", "token": "ada|0|room=8"}));
    ada.next("auth_ok");
    let reset = ada.next("tbl.reset");
    assert_eq!((&reset["sid"], &reset["reason"]), (&json!("s"), &json!("access")));
    source.put(row(2, 7, "x", "unseen")).commit();
    assert!(ada.heard_nothing());
    ada.send(&rig, &crate::rig::tables::resume("", &cursor));
    source.answer();
    let ok = ada.next("tbl.ok");
    assert_eq!(
        (&ok["mode"], &ok["reason"], &ok["rows"]),
        (&json!("snapshot"), &json!("changed"), &json!([]))
    );
}

#[test]
fn selected_columns_come_with_the_key_and_in_the_tables_order() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    source.put(row(1, 7, "ada", "a")).commit();
    let mut ada = welcome(&rig, "ada");
    ada.send(
        &rig,
        &json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "select": ["body", "room", "body"]}),
    );
    source.answer();
    let ok = ada.next("tbl.ok");
    assert_eq!(ok["rows"], json!([["1", "7", "a"]]));
    let names: Vec<&Value> = ok["columns"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["id", "room", "body"]);
}

#[test]
fn cells_that_the_database_did_not_say_are_the_same_or_a_reason_to_begin_anew() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    source.put(row(1, 7, "ada", "long")).put(row(2, 8, "ada", "long")).commit();
    source.answer();
    ada.next("tbl.ok");
    ada.next("tbl.live");
    let unsaid = |id: i64, room: i64| {
        let mut cells = row(id, room, "ada", "").to_vec();
        cells[3] = Cell::Unchanged;
        cells.into()
    };
    source.push(Change::Row { table: 0, old: Some(unsaid(1, 7)), new: Some(unsaid(1, 7)) }).commit();
    let change = json!([{"op": "update", "row": ["1", "7", "ada", null], "same": [3]}]);
    assert_eq!(ada.next("tbl.tx")["txs"][0][2], change);
    // It comes in, and nobody knows with which body.
    source.push(Change::Row { table: 0, old: Some(unsaid(2, 8)), new: Some(unsaid(2, 7)) }).commit();
    assert_eq!(ada.next("tbl.reset")["reason"], "missed");
    assert_eq!(tables.counts().subscriptions, 0);
}

#[test]
fn an_update_of_which_the_old_row_is_not_said_is_known_by_the_schema() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    source.put(row(1, 7, "ada", "a")).commit();
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    source.answer();
    ada.next("tbl.ok");
    ada.next("tbl.live");
    let new = row(1, 7, "ada", "b");
    let old = crate::rig::tables::tasks().before(&new);
    assert_eq!(old[3], Cell::Unchanged);
    source.push(Change::Row { table: 0, old: Some(old), new: Some(new) }).commit();
    assert_eq!(ada.next("tbl.tx")["txs"][0][2][0]["op"], "update");
}

#[test]
fn all_equal_subscriptions_of_a_connection_share_one_frame() {
    let tables = tables();
    let (rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    for sid in ["s", "t"] {
        ada.send(&rig, &json!({"t": "tbl.sub", "sid": sid, "table": "tasks", "filter": "room = 7"}));
    }
    assert_eq!(tables.counts().pending, 1);
    source.answer();
    let mut feeds = Vec::new();
    for _ in 0..2 {
        ada.next("tbl.ok");
        feeds.push(ada.next("tbl.live")["feed"].clone());
    }
    assert_eq!(feeds[0], feeds[1]);
    source.put(row(1, 7, "ada", "a")).commit();
    ada.next("tbl.tx");
    assert!(ada.heard_nothing());
    ada.send(&rig, &json!({"t": "tbl.unsub", "sid": "s"}));
    source.put(row(2, 7, "ada", "a")).commit();
    ada.next("tbl.tx");
    ada.send(&rig, &json!({"t": "tbl.unsub", "sid": "t"}));
    assert_eq!(tables.counts().subscriptions, 0);
}

#[test]
fn a_quiet_subscription_is_told_how_far_it_is() {
    let tables = tables();
    let (mut rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    source.answer();
    ada.next("tbl.ok");
    let live = ada.next("tbl.live");
    source.put(row(1, 8, "x", "y")).commit();
    let mut waited = 0;
    let mark = loop {
        rig.pass(1_000);
        waited += 1;
        tables.tick(rig.now.mono);
        if let Some(frame) = ada.try_next() {
            break frame;
        }
        assert!(waited < 10);
    };
    assert_eq!((&mark["t"], &mark["feed"], &mark["prev"]), (&json!("tbl.mark"), &live["feed"], &live["pos"]));
    assert_ne!(mark["cursor"], live["cursor"]);
    for _ in 0..20 {
        rig.pass(1_000);
        tables.tick(rig.now.mono);
    }
    assert!(ada.heard_nothing(), "nothing moved");
}

#[test]
fn a_transaction_that_is_waited_for_is_told_after_its_changes() {
    let tables = tables();
    let (mut rig, mut source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub("room=eq.7"));
    source.answer();
    ada.next("tbl.ok");
    ada.next("tbl.live");
    let wait = |tx: &str| json!({"t": "tbl.wait", "sid": "s", "tx": tx});
    // It comes while it is waited for.
    ada.send(&rig, &wait("x10"));
    source.put(row(1, 7, "ada", "a")).commit();
    ada.next("tbl.tx");
    assert_eq!(ada.next("tbl.seen"), json!({"t": "tbl.seen", "sid": "s", "tx": "x10"}));
    assert_eq!(tables.counts().pending, 0);
    // It was there, and is nothing to this subscription.
    source.put(row(2, 8, "ada", "a")).commit();
    ada.send(&rig, &wait("x20"));
    assert_eq!(ada.next("tbl.seen")["tx"], "x20");
    // Only the source knows it.
    ada.send(&rig, &wait("nonsense"));
    source.answer();
    assert_eq!(ada.next("tbl.seen")["code"], "unknown_tx");
    ada.send(&rig, &wait("x40"));
    source.answer();
    assert!(ada.heard_nothing());
    tables.advance(40);
    assert_eq!(ada.next("tbl.seen")["tx"], "x40");
    ada.send(&rig, &wait("gone"));
    for wanted in tables.take_requests() {
        let SourceRequest::Locate { id, .. } = wanted else { panic!("a snapshot") };
        tables.finish_locate(id, Err(SourceError::AbortedTx));
    }
    assert_eq!(ada.next("tbl.seen")["code"], "aborted_tx");
    ada.send(&rig, &wait("x99990"));
    rig.pass(10_000);
    tables.tick(rig.now.mono);
    ada.next("tbl.mark");
    assert_eq!(ada.next("tbl.seen")["code"], "timeout");
    ada.send(&rig, &json!({"t": "tbl.wait", "sid": "none", "tx": "x"}));
    assert_eq!(ada.next("tbl.err")["code"], "not_subscribed");
    assert_eq!(tables.counts().waits, 0);
}

#[test]
fn what_is_asked_wrongly_is_refused_with_its_reason() {
    let tables = tables();
    let (rig, source) = (rig(&tables), Source::new(&tables));
    let mut ada = welcome(&rig, "ada");
    let many = vec!["id=neq.1"; 17].join("&");
    let deep = "and=(or(and(or(and(id.eq.1,id.eq.2),id.eq.1),id.eq.1),id.eq.1),id.eq.1)";
    for (filter, code, at) in [
        ("nonsense", "bad_filter", json!(8)),
        ("hidden=eq.1", "bad_column", json!(0)),
        ("room=eq.seven", "bad_literal", json!(8)),
        ("room=like.7*", "bad_filter", json!(5)),
        (&*many, "too_many_terms", Value::Null),
        (deep, "too_deep", Value::Null),
        (&*format!("owner=eq.{}", "x".repeat(5_000)), "filter_too_long", Value::Null),
        // Not tracked: nobody would know when a row left.
        ("body=eq.x", "bad_column", Value::Null),
    ] {
        ada.send(&rig, &sub(filter));
        let err = ada.next("tbl.err");
        assert_eq!(
            (&err["code"], &err["sid"], &err["retryable"]),
            (&json!(code), &json!("s"), &json!(false)),
            "{err}"
        );
        assert!(at.is_null() || err["at"] == at, "{err}");
    }
    ada.send(&rig, &json!({"t": "tbl.sub", "sid": "s", "table": "secrets"}));
    assert_eq!(ada.next("tbl.err")["code"], "unknown_table");
    ada.send(&rig, &json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "select": ["nothing"]}));
    assert_eq!(ada.next("tbl.err")["code"], "bad_column");
    ada.send(&rig, &json!({"t": "tbl.next", "sid": "s"}));
    assert_eq!(ada.next("tbl.err")["code"], "not_subscribed");
    ada.send(&rig, &json!({"t": "tbl.unsub", "sid": "s"}));
    assert!(ada.heard_nothing());
    for bad in [
        json!({"t": "tbl.sub", "table": "tasks"}),
        json!({"t": "tbl.sub", "sid": "", "table": "tasks"}),
        json!({"t": "tbl.sub", "sid": "x".repeat(65), "table": "tasks"}),
        json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "cursor": "x".repeat(257)}),
        json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "select": [1]}),
        json!({"t": "tbl.wait", "sid": "s", "tx": "x".repeat(65)}),
        json!({"t": "tbl.next"}),
    ] {
        ada.send(&rig, &bad);
        assert_eq!(ada.next("error")["code"], "bad_frame", "{bad}");
    }
    ada.send(&rig, &json!({"t": "tbl.whatever", "sid": 1}));
    assert!(ada.heard_nothing());
    source.answer();
    let counts = tables.counts();
    assert_eq!((counts.subscriptions, counts.groups, counts.pending, counts.unindexed), (0, 0, 0, 0));
}

#[test]
fn a_server_without_tables_says_so() {
    let rig = crate::rig::Rig::new();
    let mut ada = welcome(&rig, "ada");
    ada.send(&rig, &sub(""));
    assert_eq!(ada.next("tbl.err")["code"], "unknown_table");
    ada.send(&rig, &json!({"t": "tbl.unsub", "sid": "s"}));
    assert!(ada.heard_nothing());
}

#[test]
fn a_source_that_fails_refuses_the_subscription() {
    let tables = tables();
    let rig = rig(&tables);
    let mut ada = welcome(&rig, "ada");
    for (error, code, retryable) in [
        (SourceError::TooManyRows, "too_many_rows", false),
        (SourceError::Unavailable, "table_unavailable", true),
    ] {
        ada.send(&rig, &sub(""));
        let [SourceRequest::Snapshot(wanted)] = &tables.take_requests()[..] else { panic!("one snapshot") };
        tables.finish_snapshot(wanted.id, Err(error));
        let err = ada.next("tbl.err");
        assert_eq!((&err["code"], &err["retryable"]), (&json!(code), &json!(retryable)));
        assert_eq!(err["retry_after_ms"].is_u64(), retryable);
    }
    assert_eq!(tables.counts().subscriptions, 0);
}

#[test]
fn a_user_has_a_share_of_the_filters_that_no_index_finds_and_gives_up_what_is_more_than_others_have() {
    let limits = TableLimits { unindexed: 4, unindexed_each: 3, ..TableLimits::default() };
    let tables = tables_with(&[(UserKind::User, "*"), (UserKind::Guest, "*")], limits);
    // Addresses are counted.
    let rig = Rig::with(|engine| (engine.tables, engine.handshakes) = (Some(tables.clone()), Some(1_000)));
    let source = Source::new(&tables);
    let named = |n: usize| json!({"t": "tbl.sub", "sid": n.to_string(), "table": "tasks", "filter": format!("room=gt.{n}")});
    let (mut ada, mut bob, mut eve) = (welcome(&rig, "ada"), welcome(&rig, "bob"), welcome(&rig, "eve"));
    for n in 0..4 {
        ada.send(&rig, &named(n));
    }
    assert_eq!(ada.next("tbl.err")["sid"], "3");
    bob.send(&rig, &named(10));
    eve.send(&rig, &named(20));
    let err = ada.next("tbl.err");
    assert_eq!(
        (&err["sid"], &err["code"], &err["retryable"]),
        (&json!("2"), &json!("too_many_subscriptions"), &json!(true))
    );
    // Now nobody has so much more that it would help to take it.
    bob.send(&rig, &named(11));
    assert_eq!(bob.next("tbl.err")["sid"], "11");
    // Equal ones are one.
    eve.send(&rig, &named(0));
    source.answer();
    assert_eq!(tables.counts().subscriptions, 5);
    // Guests of an address share, whoever they are.
    let mut guests: Vec<_> = (0..5).map(|n| welcome(&rig, &format!("guest{n}"))).collect();
    drop((ada, bob, eve));
    let refused = guests.iter_mut().enumerate().filter_map(|(n, guest)| {
        guest.send(&rig, &named(n));
        guest.try_next()
    });
    assert_eq!(refused.count(), 2);
}

#[test]
fn what_is_much_work_is_told_later_and_all_of_it() {
    let tables = tables();
    let rig = rig(&tables);
    let mut source = Source::new(&tables);
    let (mut ada, mut mallory) = (welcome(&rig, "ada"), welcome(&rig, "mallory"));
    let (mut plain, mut heavy) = (View::default(), View::default());
    ada.send(&rig, &sub("room=eq.1"));
    mallory.send(&rig, &sub("owner=ilike.*b*"));
    source.answer();
    let take = |client: &mut Client, view: &mut View| {
        while let Some(frame) = client.try_next() {
            view.take("s", &frame);
        }
    };
    let long = "a".repeat(300_000);
    for id in 0..30 {
        let owner = if id % 2 == 0 { format!("{long}b") } else { long.clone() };
        source.put(row(id, 1, &owner, "")).commit();
        take(&mut ada, &mut plain);
        take(&mut mallory, &mut heavy);
        assert_eq!(plain.rows.len(), usize::try_from(id).unwrap() + 1);
        assert!(heavy.rows.is_empty(), "it is left to the driver");
    }
    let mut slices = 0;
    while tables.catch_up() {
        slices += 1;
        take(&mut mallory, &mut heavy);
    }
    take(&mut mallory, &mut heavy);
    assert!(slices > 3, "{slices}");
    assert_eq!(heavy.rows.len(), 15);
    // It is in its feed again.
    source.put(row(100, 1, "b", "")).commit();
    take(&mut mallory, &mut heavy);
    assert_eq!(heavy.rows.len(), 16);
}

#[test]
fn configurations_that_cannot_be_served_are_refused() {
    use crate::rig::tables::config;
    use std::sync::Arc;
    use tidewire_server_core::tables::Tables;
    let refused = |text: &str| {
        let configs = vec![config(&[(UserKind::User, text)])];
        Tables::new(configs, TableLimits::default(), Arc::new(|_| ())).err().map(|error| error.to_string())
    };
    for (text, part) in [
        ("", "for all rows say \"*\""),
        ("hidden=eq.{sub}", "no column `hidden`"),
        ("body=eq.{sub}", "track the column"),
        ("owner=eq.{user}", "{claim:NAME}"),
        ("owner=like.{sub}", "a pattern can't come from a token"),
        ("room=eq.x", "expected a whole number"),
    ] {
        let error = refused(text).unwrap_or_else(|| panic!("{text} was taken"));
        assert!(error.starts_with("table `tasks`: access of user: ") && error.contains(part), "{error}");
    }
    for text in ["*", "owner=eq.{sub}", "or=(owner.eq.\"{sub}\",room.in.(1,\"{claim:a}\"))", "owner=eq.sub}"]
    {
        assert_eq!(refused(text), None);
    }
    // Guests call themselves what they like.
    for text in ["owner=eq.{name}", "room=eq.1&or=(owner.eq.x,owner.in.(a,{claim:name}))"] {
        let configs = vec![config(&[(UserKind::User, text), (UserKind::Guest, text)])];
        let error = Tables::new(configs, TableLimits::default(), Arc::new(|_| ())).err().unwrap().to_string();
        assert!(error.contains("access of guest: ") && error.contains("use {sub}"), "{error}");
        assert_eq!(refused(text), None);
    }
    let configs = vec![config(&[(UserKind::Guest, "owner=in.({sub},{claim:org})")])];
    assert!(Tables::new(configs, TableLimits::default(), Arc::new(|_| ())).is_ok());
    let configs = vec![config(&[]), config(&[])];
    assert!(Tables::new(configs, TableLimits::default(), Arc::new(|_| ())).is_err());
    let mut keyless = config(&[]);
    keyless.schema.key.clear();
    assert!(Tables::new(vec![keyless], TableLimits::default(), Arc::new(|_| ())).is_err());
}
