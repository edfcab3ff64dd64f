//! What a client tells whoever has to find out why.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

fn said(rig: &Rig) -> Vec<String> {
    let line = |entry: &Entry| format!("{} {} {}", entry.what, entry.about, entry.number);
    rig.client.explain().entries.iter().map(line).collect()
}

#[test]
fn the_way_of_a_connection_can_be_read_afterwards() {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"error","code":"internal","message":"a fault"}));
    rig.close_with(4004);
    rig.redial(2_000);
    rig.welcome();
    rig.sleep(600_000);
    rig.receive(json!({"t":"goaway","reason":"restart","after_ms":0,"spread_ms":100}));
    assert_eq!(
        said(&rig),
        [
            "state idle 1",
            "state connecting 1",
            "transport websocket 1",
            "state online 1",
            "closed internal 4004",
            "state reconnecting internal 1",
            "transport websocket 1",
            "state online 1",
            "asleep  600000",
            "goaway restart 1"
        ]
    );
    assert_eq!(rig.client.explain().counters.reconnects, 1);
}

#[test]
fn what_was_sent_again_repaired_and_skipped_is_counted() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    assert_eq!(rig.client.explain().counters.waiting, 1);
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    rig.pass(70);
    rig.ok(&id, 1);
    rig.receive(message(4, "d"));
    let counters = rig.client.explain().counters;
    assert_eq!((counters.resent, counters.repaired, counters.lost, counters.waiting), (1, 1, 0, 0));
    assert_eq!(counters.round_trip_ms, 70);
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    let mut trimmed = sub_ok("reset", 50, 50, vec![]);
    trimmed["reason"] = "trimmed".into();
    rig.receive(trimmed);
    assert_eq!(rig.client.explain().counters.lost, 50);
    assert!(said(&rig).contains(&"reset trimmed 1".to_owned()));
}

#[test]
fn the_journal_is_bounded_and_counts_what_repeats() {
    let mut rig = Rig::online();
    for round in 0..500 {
        let id = rig.send("x");
        rig.nack(&id, if round % 2 == 0 { "forbidden" } else { "bad_body" }, false, None);
        rig.client.discard(rig.now, &id);
        rig.drain();
        rig.pass(100);
    }
    assert_eq!(rig.client.explain().entries.len(), 200);
    let mut rig = Rig::online();
    for _ in 0..50 {
        let id = rig.send("x");
        rig.nack(&id, "forbidden", false, None);
        rig.client.discard(rig.now, &id);
        rig.drain();
        rig.pass(100);
    }
    assert_eq!(said(&rig).last().unwrap(), "op_failed forbidden 50");
}

#[test]
fn the_store_failing_and_working_again_is_noted() {
    let mut rig = Rig::online();
    rig.disk = Some(Err(StoreError::Full));
    rig.send("one");
    rig.disk = Some(Ok(()));
    rig.send("two");
    let said = said(&rig);
    assert_eq!(said[said.len() - 2..], ["storage storage_full 1", "storage works 1"]);
}
