//! Live tables as an application sees them: rows, states and changes, whatever the connection does.

use crate::rig::{Rig, Store, WALL, welcome};
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::tables::{
    ReadyTable, RowChange, RowEvents, TableError, TableEvent, TableQuery, TableRows, TableStatus, TableUpdate,
};
use tidewire_core::*;

fn query(filter: &str) -> TableQuery {
    TableQuery { table: "rules".into(), filter: filter.into(), order: "id".into(), ..TableQuery::default() }
}

/// A client online with one view of `rules`, and what it asked.
fn opened(filter: &str) -> (Rig, u32, Value) {
    let mut rig = Rig::new();
    rig.connect();
    rig.welcome();
    rig.sent.clear();
    let view = rig.client.open_table(rig.now, &query(filter)).expect("a view");
    rig.drain();
    let asked = rig.sent.pop_back().expect("a question");
    (rig, view, asked)
}

fn ok(asked: &Value, mode: &str, pos: u64, rows: Value) -> Value {
    json!({"t":"tbl.ok","sid":asked["sid"],"mode":mode,"columns":[{"name":"id","type":"integer"},{"name":"name","type":"text"}],
        "key":[0],"pos":pos,"cursor":format!("c{pos}"),"rows":rows,"more":false})
}

fn live(asked: &Value, prev: u64, pos: u64) -> Value {
    json!({"t":"tbl.live","sid":asked["sid"],"feed":"f1","prev":prev,"pos":pos,"cursor":format!("c{pos}")})
}

fn tx(prev: u64, pos: u64, changes: Value) -> Value {
    json!({"t":"tbl.tx","feed":"f1","prev":prev,"pos":pos,"cursor":format!("c{pos}"),"txs":[[format!("x{pos}"),WALL,changes]]})
}

fn insert(id: u64, name: &str) -> Value {
    json!({"op":"insert","row":[id,name]})
}

fn update(id: u64, name: &str) -> Value {
    json!({"op":"update","row":[id,name]})
}

fn delete(id: u64) -> Value {
    json!({"op":"delete","key":[id]})
}

/// Live with these rows at place 10.
fn followed(rows: Value) -> (Rig, u32, Value) {
    let (mut rig, view, asked) = opened("");
    rig.receive(ok(&asked, "snapshot", 10, rows));
    rig.receive(live(&asked, 10, 10));
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Live));
    rig.events.clear();
    rig.sent.clear();
    (rig, view, asked)
}

fn rows(rig: &Rig, view: u32) -> Value {
    let rows = rig.client.table_rows(view).rows;
    rows.iter().map(|row| serde_json::from_str::<Value>(row).expect(row)).collect()
}

fn updates(rig: &mut Rig, view: u32) -> Vec<TableUpdate> {
    let all = std::mem::take(&mut rig.events);
    let of = |event| match event {
        Event::Part(TableEvent { view: other, update }) if other == view => Some(update),
        _ => None,
    };
    all.into_iter().filter_map(of).collect()
}

fn changes(rig: &mut Rig, view: u32) -> Vec<(String, Option<String>, Option<String>)> {
    let text = |row: Option<Arc<str>>| row.map(|row| row.to_string());
    let told = updates(rig, view).into_iter();
    let of = |update| if let TableUpdate::Changes { changes, .. } = update { changes } else { vec![] };
    told.flat_map(of)
        .map(|RowChange { event, new, old, why }| {
            (format!("{} {}", event.as_str(), why.as_str()), text(new), text(old))
        })
        .collect()
}

/// What was told, in short.
fn told(rig: &mut Rig, view: u32) -> Vec<String> {
    let brief = |update| match update {
        TableUpdate::Status(status) => status.as_str().to_owned(),
        TableUpdate::Rows(rows) => format!("rows {}", rows.rows.len()),
        TableUpdate::Changes { list, changes, .. } => format!("{} changes, {list:?}", changes.len()),
        TableUpdate::Seen { tx, .. } => format!("seen {tx}"),
    };
    updates(rig, view).into_iter().map(brief).collect()
}

fn states(rig: &mut Rig, view: u32) -> Vec<&'static str> {
    let told = updates(rig, view).into_iter();
    told.filter_map(
        |update| if let TableUpdate::Status(state) = update { Some(state.as_str()) } else { None },
    )
    .collect()
}

fn next_ask(rig: &mut Rig) -> Value {
    let asked = rig.sent.iter().rposition(|frame| frame["t"] == "tbl.sub").expect("a question");
    rig.sent.remove(asked).expect("it is there")
}

#[test]
fn a_snapshot_comes_in_pages_and_is_live_once_all_of_it_has_come() {
    let (mut rig, view, asked) = opened("name = x & id > 3");
    assert_eq!(asked, json!({"t":"tbl.sub","sid":asked["sid"],"table":"rules","filter":"name=eq.x&id=gt.3"}));
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Loading));
    let mut first = ok(&asked, "snapshot", 10, json!([[5, "five"]]));
    first["more"] = true.into();
    rig.receive(first);
    assert_eq!(rig.sent.pop_back(), Some(json!({"t":"tbl.next","sid":asked["sid"]})));
    assert_eq!(rows(&rig, view), json!([]), "half a snapshot is none");
    rig.receive(json!({"t":"tbl.page","sid":asked["sid"],"rows":[[4,"four"]],"more":false}));
    assert_eq!(rows(&rig, view), json!([{"id":4,"name":"four"},{"id":5,"name":"five"}]));
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Stale));
    rig.receive(json!({"t":"tbl.tx","sid":asked["sid"],"prev":10,"pos":12,"cursor":"c12","txs":[["x",WALL,[insert(6, "six")]]]}));
    // The feed stands below what was reached alone.
    rig.receive(live(&asked, 12, 7));
    rig.receive(tx(7, 14, json!([update(6, "sechs")])));
    let told = updates(&mut rig, view);
    assert_eq!(told[0], TableUpdate::Status(TableStatus::Loading));
    assert!(matches!(&told[1], TableUpdate::Rows(all) if all.rows.len() == 2 && all.key == ["id"]));
    assert_eq!(told[2], TableUpdate::Status(TableStatus::Stale));
    assert!(matches!(&told[3], TableUpdate::Changes { tx: Some(tx), at: Some(WALL), .. } if tx == "x"));
    assert_eq!(told[4], TableUpdate::Status(TableStatus::Live));
    assert_eq!(told.len(), 6);
    assert_eq!(rows(&rig, view)[2], json!({"id":6,"name":"sechs"}));
}

#[test]
fn changes_say_what_was_there_before_and_why() {
    let (mut rig, view, _) = followed(json!([[1, "one"], [2, "two"]]));
    let mut came = insert(3, "three");
    came["moved"] = true.into();
    let mut went = delete(2);
    went["moved"] = true.into();
    rig.receive(tx(10, 11, json!([came, update(1, "eins"), went, insert(4, "four")])));
    let text = |row: &str| Some(row.to_owned());
    assert_eq!(
        changes(&mut rig, view),
        [
            ("insert moved_in".into(), text(r#"{"id":3,"name":"three"}"#), None),
            ("update commit".into(), text(r#"{"id":1,"name":"eins"}"#), text(r#"{"id":1,"name":"one"}"#)),
            ("delete moved_out".into(), None, text(r#"{"id":2,"name":"two"}"#)),
            ("insert commit".into(), text(r#"{"id":4,"name":"four"}"#), None),
        ]
    );
    assert_eq!(
        rows(&rig, view),
        json!([{"id":1,"name":"eins"},{"id":3,"name":"three"},{"id":4,"name":"four"}])
    );
}

#[test]
fn a_cell_that_the_database_did_not_say_stays() {
    let (mut rig, view, _) = followed(json!([[1, "a long text"]]));
    rig.receive(tx(10, 11, json!([{"op":"update","key":[1],"row":[1,null],"same":[1]}])));
    assert_eq!(rows(&rig, view), json!([{"id":1,"name":"a long text"}]));
    // Of a row that is not there nothing can stay: the client asks for all of it.
    rig.receive(tx(11, 12, json!([{"op":"insert","key":[2],"row":[2,null],"same":[1]}])));
    assert_eq!(next_ask(&mut rig).get("cursor"), None);
}

#[test]
fn a_snapshot_brings_its_cursor_whatever_comes_after_it() {
    let (mut rig, _, asked) = opened("");
    rig.receive(ok(&asked, "snapshot", 10, json!([[1, "one"]])));
    rig.cut();
    rig.redial(60_000);
    rig.welcome();
    assert_eq!(next_ask(&mut rig)["cursor"], "c10");
}

#[test]
fn after_a_reconnect_it_goes_on_from_the_cursor() {
    let (mut rig, view, _) = followed(json!([[1, "one"]]));
    rig.receive(tx(10, 15, json!([insert(2, "two")])));
    rig.cut();
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Stale));
    assert_eq!(rows(&rig, view).as_array().unwrap().len(), 2, "what was seen stays");
    rig.redial(60_000);
    rig.welcome();
    let asked = next_ask(&mut rig);
    assert_eq!(asked["cursor"], "c15");
    rig.events.clear();
    rig.receive(ok(&asked, "resumed", 15, json!([])));
    rig.receive(json!({"t":"tbl.tx","sid":asked["sid"],"prev":15,"pos":20,"cursor":"c20","txs":[["x20",WALL,[delete(1)]]]}));
    rig.receive(live(&asked, 20, 20));
    assert_eq!(states(&mut rig, view), ["live"]);
    assert_eq!(rows(&rig, view), json!([{"id":2,"name":"two"}]));
}

#[test]
fn a_new_snapshot_is_told_as_what_differs() {
    let (mut rig, view, asked) = followed(json!([[1, "one"], [2, "two"], [3, "three"]]));
    rig.receive(json!({"t":"tbl.reset","feed":"f1","reason":"trimmed","spread_ms":4000}));
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Stale));
    rig.pass(4_001);
    let again = next_ask(&mut rig);
    assert_eq!((again.get("cursor"), &again["sid"]), (None, &asked["sid"]));
    rig.events.clear();
    rig.receive(ok(&again, "snapshot", 30, json!([[2, "zwei"], [3, "three"], [4, "four"]])));
    let text = |row: &str| Some(row.to_owned());
    assert_eq!(
        changes(&mut rig, view),
        [
            ("delete resync".into(), None, text(r#"{"id":1,"name":"one"}"#)),
            ("update resync".into(), text(r#"{"id":2,"name":"zwei"}"#), text(r#"{"id":2,"name":"two"}"#)),
            ("insert resync".into(), text(r#"{"id":4,"name":"four"}"#), None),
        ]
    );
    let report = rig.client.explain();
    assert!(report.entries.iter().any(|entry| entry.what == "reset" && entry.about == "rules"));
    assert_eq!(report.counters.repaired, 0);
}

#[test]
fn other_columns_change_every_row() {
    let (mut rig, view, _) = followed(json!([[1, "one"]]));
    rig.receive(json!({"t":"tbl.reset","feed":"f1","reason":"schema","spread_ms":0}));
    let again = next_ask(&mut rig);
    let mut wider = ok(&again, "snapshot", 30, json!([[1, "one", true]]));
    wider["columns"].as_array_mut().unwrap().push(json!({"name":"on","type":"boolean"}));
    rig.receive(wider);
    let told = changes(&mut rig, view);
    assert_eq!(
        told,
        [(
            "update resync".to_owned(),
            Some(r#"{"id":1,"name":"one","on":true}"#.into()),
            Some(r#"{"id":1,"name":"one"}"#.into())
        )]
    );
}

#[test]
fn what_came_already_is_dropped_and_a_hole_is_asked_for() {
    let (mut rig, view, asked) = followed(json!([]));
    rig.receive(tx(10, 11, json!([insert(1, "one")])));
    rig.receive(tx(10, 11, json!([insert(1, "one")])));
    assert_eq!(changes(&mut rig, view).len(), 1);
    rig.receive(tx(12, 13, json!([insert(3, "three")])));
    assert_eq!(changes(&mut rig, view), [], "nothing is applied behind a hole");
    let again = next_ask(&mut rig);
    assert_eq!((&again["cursor"], &again["sid"]), (&json!("c11"), &asked["sid"]));
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Stale));
    // A mark is a place as well.
    rig.receive(ok(&again, "resumed", 11, json!([])));
    rig.receive(live(&again, 11, 11));
    rig.receive(json!({"t":"tbl.mark","feed":"f1","prev":11,"pos":15,"cursor":"c15"}));
    rig.receive(tx(15, 16, json!([insert(3, "three")])));
    assert_eq!(rows(&rig, view).as_array().unwrap().len(), 2);
    rig.receive(json!({"t":"tbl.mark","feed":"f1","prev":17,"pos":18,"cursor":"c18"}));
    assert_eq!(next_ask(&mut rig)["cursor"], "c16");
    assert_eq!(rig.client.explain().counters.repaired, 2);
}

#[test]
fn holes_that_a_cursor_does_not_mend_are_mended_by_a_snapshot() {
    let (mut rig, view, asked) = followed(json!([[1, "one"]]));
    let mut beyond = tx(99, 100, json!([]));
    beyond["sid"] = asked["sid"].clone();
    beyond.as_object_mut().unwrap().remove("feed");
    for _ in 0..3 {
        rig.receive(beyond.clone());
        assert_eq!(next_ask(&mut rig)["cursor"], "c10");
        rig.receive(ok(&asked, "resumed", 10, json!([])));
    }
    rig.receive(beyond);
    assert_eq!(next_ask(&mut rig).get("cursor"), None);
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Stale));
}

#[test]
fn a_change_of_another_state_is_not_applied_in_part() {
    for wrong in [
        insert(1, "again"),
        update(7, "nobody"),
        delete(7),
        json!({"op":"insert","row":[8]}),
        json!({"op":"update","row":[null,"eins"],"same":[0]}),
        json!({"op":"delete","key":[1,"one"]}),
    ] {
        let (mut rig, view, _) = followed(json!([[1, "one"]]));
        rig.receive(tx(10, 11, json!([insert(2, "two"), update(1, "eins"), wrong])));
        assert_eq!(rows(&rig, view), json!([{"id":1,"name":"one"}]), "{wrong}");
        assert_eq!(changes(&mut rig, view), []);
        assert_eq!(next_ask(&mut rig).get("cursor"), None);
    }
}

#[test]
fn views_of_one_question_share_a_subscription() {
    let (mut rig, first, asked) = followed(json!([[1, "b"], [2, "a"], [3, null]]));
    let other = TableQuery {
        order: "name.desc".into(),
        limit: Some(2),
        events: RowEvents { insert: true, update: false, delete: false },
        ..query(" ")
    };
    let second = rig.client.open_table(rig.now, &other).unwrap();
    rig.drain();
    assert!(rig.sent.is_empty());
    assert_eq!(told(&mut rig, second), ["rows 2", "live"]);
    assert_eq!(rows(&rig, second), json!([{"id":3,"name":null},{"id":1,"name":"b"}]));
    rig.receive(tx(10, 11, json!([delete(1), insert(4, "c")])));
    let events = rig.events.clone();
    assert_eq!(changes(&mut rig, second).len(), 1);
    rig.events = events;
    assert_eq!(changes(&mut rig, first).len(), 2);
    rig.client.close_table(rig.now, first);
    rig.drain();
    assert!(rig.sent.is_empty(), "the other one still needs it");
    rig.client.close_table(rig.now, second);
    rig.drain();
    assert_eq!(rig.sent.pop_back(), Some(json!({"t":"tbl.unsub","sid":asked["sid"]})));
    assert_eq!(rig.store.tables, []);
    rig.receive(tx(11, 12, json!([insert(5, "d")])));
    assert!(rig.events.iter().all(|event| !matches!(event, Event::Part(_))));
    assert_eq!((rig.client.table_status(first), rig.client.table_rows(second).rows), (None, vec![]));
}

#[test]
fn orders_are_those_of_the_database() {
    let table = json!([[1, "B"], [2, "a"], [3, null], [10, "B"]]);
    for (order, ids) in [
        ("name", [1, 10, 2, 3]),
        ("name.desc", [3, 2, 1, 10]),
        ("name.desc.nullslast,id.desc", [2, 10, 1, 3]),
        ("name.nullsfirst, id.desc", [3, 10, 1, 2]),
        ("id.asc", [1, 2, 3, 10]),
        ("", [1, 2, 3, 10]),
    ] {
        let (mut rig, view, asked) = opened("");
        let ordered = TableQuery { order: order.into(), ..query("") };
        let ordered = rig.client.open_table(rig.now, &ordered).expect(order);
        rig.receive(ok(&asked, "snapshot", 10, table.clone()));
        let shown: Vec<u64> =
            rows(&rig, ordered).as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect();
        assert_eq!(shown, ids, "{order}");
        assert_eq!(rig.client.table_rows(view).rows.len(), 4);
    }
}

#[test]
fn what_is_asked_wrongly_is_refused_with_a_code() {
    let mut rig = Rig::new();
    let code = |query: TableQuery, rig: &mut Rig| {
        rig.client.open_table(rig.now, &query).map_err(TableError::code).expect_err("refused")
    };
    let long = "x".repeat(128);
    for (wrong, expected) in [
        (TableQuery { table: String::new(), ..query("") }, "bad_table"),
        (TableQuery { table: long.clone(), ..query("") }, "bad_table"),
        (TableQuery { select: Some(vec![String::new()]), ..query("") }, "bad_select"),
        (TableQuery { select: Some(vec!["x".into(); 257]), ..query("") }, "bad_select"),
        (TableQuery { order: "id.up".into(), ..query("") }, "bad_order"),
        (TableQuery { order: "id,".into(), ..query("") }, "bad_order"),
        (TableQuery { order: "id.nullsfirst.desc".into(), ..query("") }, "bad_order"),
        (TableQuery { order: "a,b,c,d,e,f,g,h,i".into(), ..query("") }, "bad_order"),
        (query("id"), "bad_filter"),
        (query("id=near.3"), "bad_filter"),
        (query("=eq.3"), "bad_column"),
        (query(&format!("id=eq.{}", "x".repeat(5_000))), "filter_too_long"),
        (query(&vec!["id=eq.1"; 17].join("&")), "too_many_terms"),
    ] {
        assert_eq!(code(wrong.clone(), &mut rig), expected, "{wrong:?}");
    }
    let error = rig.client.open_table(rig.now, &query("id=near.3")).unwrap_err();
    assert_eq!(error.at(), Some(3));
    for n in 0..100 {
        rig.client.open_table(rig.now, &query(&format!("id=eq.{n}"))).unwrap();
    }
    assert_eq!(code(query("id=eq.100"), &mut rig), "too_many_subscriptions");
    assert_eq!(rig.client.await_tx(rig.now, 9_999, "1").map_err(TableError::code), Err("closed"));
}

#[test]
fn a_refusal_says_why_and_leaves_no_rows() {
    let (mut rig, view, asked) = followed(json!([[1, "one"]]));
    rig.pass(3_000);
    assert_eq!(rig.store.tables.len(), 1);
    rig.receive(json!({"t":"tbl.reset","sid":asked["sid"],"reason":"access","spread_ms":0}));
    let again = next_ask(&mut rig);
    rig.client.await_tx(rig.now, view, "77").unwrap();
    rig.events.clear();
    rig.receive(
        json!({"t":"tbl.err","sid":again["sid"],"code":"forbidden","message":"no","retryable":false}),
    );
    let told = updates(&mut rig, view);
    assert!(told.contains(&TableUpdate::Status(TableStatus::Failed {
        code: "forbidden".into(),
        message: "no".into(),
        at: None
    })));
    assert!(told.contains(&TableUpdate::Seen { tx: "77".into(), code: Some("forbidden".into()) }));
    assert_eq!((rows(&rig, view), rig.store.tables.len()), (json!([]), 0));
    rig.pass(20_000);
    assert!(rig.sent.iter().all(|frame| frame["t"] != "tbl.sub"), "not asked again by itself");
    rig.client.open_table(rig.now, &query("")).unwrap();
    rig.drain();
    next_ask(&mut rig);
}

#[test]
fn what_may_pass_is_asked_for_again_after_a_while() {
    let (mut rig, view, asked) = opened("");
    rig.sent.clear();
    rig.receive(json!({"t":"tbl.err","sid":asked["sid"],"code":"table_unavailable","message":"no","retryable":true,"retry_after_ms":5000}));
    rig.pass(4_999);
    assert!(rig.sent.iter().all(|frame| frame["t"] != "tbl.sub"));
    rig.pass(1_002);
    let again = next_ask(&mut rig);
    assert_eq!(rig.client.table_status(view), Some(TableStatus::Loading));
    // An answer that does not come is asked for as well, on a connection that lives.
    for _ in 0..3 {
        rig.pass(20_001);
        rig.receive(json!({"t":"ping","n":"1"}));
    }
    assert_eq!(next_ask(&mut rig)["sid"], again["sid"]);
}

#[test]
fn an_order_by_what_is_not_there_is_a_failure_that_is_told() {
    let (mut rig, _, asked) = opened("");
    let view = rig.client.open_table(rig.now, &TableQuery { order: "nothing".into(), ..query("") }).unwrap();
    rig.receive(ok(&asked, "snapshot", 10, json!([[1, "one"]])));
    assert!(
        matches!(rig.client.table_status(view), Some(TableStatus::Failed { code, .. }) if code == "bad_order")
    );
    assert_eq!(states(&mut rig, view), ["loading", "failed"]);
    assert_eq!(rig.client.table_rows(view), TableRows::default());
}

#[test]
fn a_transaction_can_be_waited_for_through_a_reconnect() {
    let (mut rig, view, asked) = followed(json!([]));
    rig.client.await_tx(rig.now, view, "742").unwrap();
    rig.drain();
    assert_eq!(rig.sent.pop_back(), Some(json!({"t":"tbl.wait","sid":asked["sid"],"tx":"742"})));
    rig.cut();
    rig.redial(60_000);
    rig.welcome();
    let waits: Vec<&Value> = rig.sent.iter().filter(|frame| frame["t"] == "tbl.wait").collect();
    assert_eq!(waits, [&json!({"t":"tbl.wait","sid":asked["sid"],"tx":"742"})]);
    rig.receive(json!({"t":"tbl.seen","sid":asked["sid"],"tx":"742"}));
    rig.receive(json!({"t":"tbl.seen","sid":asked["sid"],"tx":"742"}));
    let seen =
        updates(&mut rig, view).into_iter().filter(|update| matches!(update, TableUpdate::Seen { .. }));
    assert_eq!(seen.collect::<Vec<_>>(), [TableUpdate::Seen { tx: "742".into(), code: None }]);
}

#[test]
fn the_next_start_shows_what_was_seen_and_goes_on_from_there() {
    let (mut rig, ..) = followed(json!([[1, "one"]]));
    rig.receive(tx(10, 11, json!([insert(2, "two")])));
    rig.pass(2_001);
    let mut next = Rig::restored(rig.store.clone());
    let view = next.client.open_table(next.now, &query("")).unwrap();
    next.drain();
    assert_eq!(told(&mut next, view), ["rows 2", "stale"]);
    assert_eq!(rows(&next, view), json!([{"id":1,"name":"one"},{"id":2,"name":"two"}]));
    next.connect();
    next.welcome();
    assert_eq!(next_ask(&mut next)["cursor"], "c11");
    // Another question has no use for it.
    let mut other = Rig::restored(rig.store.clone());
    let view = other.client.open_table(other.now, &query("id=gt.0")).unwrap();
    assert_eq!(other.client.table_status(view), Some(TableStatus::Loading));
}

#[test]
fn what_nobody_opened_for_long_is_not_kept_for_ever() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let (mut rig, ..) = followed(json!([[1, "one"]]));
    rig.pass(2_001);
    let start = |days: u64, tables: Vec<(String, String)>| {
        let store = Store { tables, ..rig.store.clone() };
        Rig::at(store, Now { mono: Time(1_000), wall: WALL + days * DAY_MS }, [44; 32])
    };
    let known = rig.store.tables.clone();
    assert_eq!(start(29, known.clone()).store.tables, known);
    assert_eq!(start(31, known.clone()).store.tables, []);
    // A clock that was set back makes nothing old.
    let mut early = Rig::at(rig.store.clone(), Now { mono: Time(1_000), wall: WALL - 60 * DAY_MS }, [44; 32]);
    assert_eq!(early.store.tables, known);
    let view = early.client.open_table(early.now, &query("")).unwrap();
    assert_eq!(rows(&early, view), json!([{"id":1,"name":"one"}]));
    // The newest hundred, whatever their order.
    let many: Vec<_> =
        (0..150_u64).map(|n| (format!("table {n}"), json!({"at": WALL + n * 7 % 150}).to_string())).collect();
    let left = start(1, [many, vec![("broken".into(), "no record".into())]].concat()).store.tables;
    assert_eq!(left.len(), 100);
    let at = |record: &str| serde_json::from_str::<Value>(record).unwrap()["at"].as_u64().unwrap();
    assert!(left.iter().all(|(_, record)| at(record) >= WALL + 50), "{left:?}");
}

#[test]
fn what_is_known_is_stored_at_once_when_the_connection_is_lost() {
    let (mut rig, ..) = followed(json!([[1, "one"]]));
    assert_eq!(rig.store.tables, [], "more could follow that is stored with it");
    rig.cut();
    assert!(rig.store.tables[0].1.contains("one"));
}

#[test]
fn what_is_kept_is_flushed_before_a_sleep_and_never_too_long() {
    let (mut rig, ..) = followed(json!([[1, "one"]]));
    rig.pass(2_001);
    rig.receive(tx(10, 11, json!([insert(2, "two")])));
    rig.feed(Input::Lifecycle(Lifecycle::Hidden));
    assert!(rig.store.tables[0].1.contains("two"));
    rig.receive(tx(11, 12, json!([insert(3, &"x".repeat(300_000))])));
    rig.pass(2_001);
    assert_eq!(
        rig.store.tables,
        [],
        "an older state would be resumed from an older cursor, but it would be shown first"
    );
}

#[test]
fn nothing_of_a_user_is_shown_to_the_next() {
    let (mut rig, view, _) = followed(json!([[1, "one"]]));
    rig.pass(2_001);
    rig.cut();
    rig.redial(60_000);
    rig.events.clear();
    rig.receive(welcome("eve"));
    assert_eq!(rows(&rig, view), json!([]));
    assert_eq!(rig.store.tables, []);
    assert_eq!(next_ask(&mut rig).get("cursor"), None);
    assert_eq!(told(&mut rig, view), ["rows 0", "loading"]);
    let kept = Store { tables: vec![("any".into(), format!(r#"{{"at":{WALL}}}"#))], ..rig.store.clone() };
    let mut later = Rig::restored(kept);
    assert_eq!(later.store.tables.len(), 1);
    later.connect();
    later.receive(welcome("ada"));
    assert_eq!(later.store.tables, []);
}

#[test]
fn a_handover_is_not_heard_by_the_application() {
    let (mut rig, view, _) = followed(json!([[1, "one"]]));
    rig.receive(json!({"t":"goaway","reason":"restart","after_ms":30_000,"spread_ms":100}));
    let old = rig.conn;
    rig.pass(5_000);
    assert_ne!(rig.conn, old);
    rig.accept();
    rig.welcome();
    let asked = next_ask(&mut rig);
    rig.receive(ok(&asked, "resumed", 10, json!([])));
    rig.receive(live(&asked, 10, 10));
    rig.receive(tx(10, 11, json!([insert(2, "two")])));
    assert_eq!(states(&mut rig, view), Vec::<&str>::new());
    assert_eq!(rows(&rig, view).as_array().unwrap().len(), 2);
}

#[test]
fn ready_made_questions_have_their_names_and_hold_what_they_are_given() {
    for (name, table, filter, order, told) in [
        ("messages", "chat_messages", "session_id=eq.\"a&b\"", "created_at", (true, false, false)),
        ("session", "chat_sessions", "id=eq.\"a&b\"", "", (false, true, false)),
        ("context_rules", "context_rules", "", "", (true, true, true)),
        ("widget_configurations", "widget_configurations", "user_id=eq.\"a&b\"", "", (true, true, true)),
        ("notifications", "notifications", "user_id=eq.\"a&b\"", "created_at.desc", (true, false, false)),
    ] {
        let query = ReadyTable::named(name).unwrap().query("a&b", None).unwrap();
        assert_eq!((&*query.table, &*query.filter, &*query.order), (table, filter, order));
        let RowEvents { insert, update, delete } = query.events;
        assert_eq!((insert, update, delete), told, "{name}");
        assert!(Rig::new().client.open_table(Rig::new().now, &query).is_ok());
    }
    assert_eq!(ReadyTable::named("everything"), None);
    for column in ["", "a b", "a=eq.1&b", "x.y"] {
        let error = ReadyTable::Session.query("7", Some(column)).unwrap_err();
        assert_eq!(error.code(), "bad_column", "{column}");
    }
    let long = ReadyTable::Session.query(&"x".repeat(5_000), None).unwrap_err();
    assert_eq!(long.code(), "filter_too_long");
}

#[test]
fn several_transactions_in_a_frame_are_told_one_by_one_and_applied_all_or_none() {
    let (mut rig, view, asked) = followed(json!([[1, "one"]]));
    let frame = |prev: u64, pos: u64, txs: Value| json!({"t":"tbl.tx","feed":"f1","prev":prev,"pos":pos,"cursor":format!("c{pos}"),"txs":txs});
    let txs = json!([["x1", WALL, [insert(2, "two"), update(1, "eins")]], ["x2", WALL + 1, [delete(2)]]]);
    rig.receive(frame(10, 14, txs));
    let told = updates(&mut rig, view);
    let named = |update: &TableUpdate| match update {
        TableUpdate::Changes { changes, tx, at, .. } => (changes.len(), tx.clone(), *at),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        told.iter().map(named).collect::<Vec<_>>(),
        [(2, Some("x1".to_owned()), Some(WALL)), (1, Some("x2".to_owned()), Some(WALL + 1))]
    );
    assert_eq!(rows(&rig, view), json!([{"id":1,"name":"eins"}]));
    // The second one does not fit, so the first one is not applied either.
    rig.receive(frame(14, 16, json!([["x3", WALL, [insert(3, "three")]], ["x4", WALL, [delete(9)]]])));
    assert_eq!(
        updates(&mut rig, view).iter().filter(|told| matches!(told, TableUpdate::Changes { .. })).count(),
        0
    );
    assert_eq!(rows(&rig, view), json!([{"id":1,"name":"eins"}]));
    rig.pass(0);
    let again = next_ask(&mut rig);
    assert_eq!((&again["sid"], again.get("cursor")), (&asked["sid"], None), "it asks for a snapshot");
}

#[test]
fn a_frame_that_is_none_ends_the_connection_like_any_other() {
    for wrong in [
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10,"txs":[["x",1,[{"op":"upsert","row":[1,"x"]}]]]}),
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10,"txs":[["x",1,[{"op":"delete","key":1}]]]}),
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10,"txs":[["x",1,[{"op":"insert","key":[1]}]]]}),
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10,"txs":[["x",[]]]}),
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10,"txs":[[7,1,[]]]}),
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10,"txs":[["x","1",[]]]}),
        json!({"t":"tbl.tx","feed":"f1","pos":11,"prev":10}),
        json!({"t":"tbl.ok","sid":"t1","mode":"snapshot","columns":[],"key":[0],"pos":1,"rows":[],"more":false}),
        json!({"t":"tbl.page","sid":"t1","rows":[1],"more":false}),
        json!({"t":"tbl.mark","feed":"f1"}),
    ] {
        let (mut rig, view, _) = followed(json!([[1, "one"]]));
        rig.receive(wrong.clone());
        assert_eq!(rig.state(), State::Reconnecting, "{wrong}");
        assert_eq!(rows(&rig, view).as_array().unwrap().len(), 1);
    }
    // What a later version says is ignored.
    let (mut rig, view, _) = followed(json!([]));
    rig.receive(json!({"t":"tbl.later","sid":"t1"}));
    assert_eq!((rig.client.table_status(view), rig.events.len()), (Some(TableStatus::Live), 0));
}
