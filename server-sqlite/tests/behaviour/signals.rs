//! Signals reach whoever is there now, once encoded, and harm nobody who is not.

use crate::rig::{Client, ROOM, Rig, hello, op};
use serde_json::{Value, json};

fn signal(kind: &str) -> Value {
    json!({"t": "signal", "ch": ROOM, "kind": kind, "body": {"on": true}})
}

/// The codes of the error frames that came.
fn errors(client: &mut Client) -> Vec<String> {
    std::iter::from_fn(|| client.try_next())
        .filter(|frame| frame["t"] == "error")
        .map(|frame| frame["code"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_signal_reaches_every_other_live_connection_and_is_not_stored() {
    let rig = Rig::new();
    let (mut ada, mut second, mut bob) = (rig.member("ada"), rig.member("ada"), rig.member("bob"));
    ada.send(
        &rig,
        &json!({"t": "signal", "ch": ROOM, "kind": "typing", "key": "k", "body": {"b": 1, "a": [2]}}),
    );
    let expected = json!({"t": "signal", "ch": ROOM, "kind": "typing", "key": "k", "body": {"b": 1, "a": [2]},
        "by": {"id": "ada", "name": "ada", "kind": "user"}});
    assert_eq!(bob.next("signal"), expected);
    assert_eq!(second.next("signal"), expected);
    assert!(ada.heard_nothing(), "neither an answer nor an echo");
    assert!(rig.inbox.is_empty(), "nothing is written");
    let mut late = rig.member("eve");
    assert!(late.heard_nothing());
    bob.send(&rig, &signal("typing"));
    assert!(ada.next("signal").get("key").is_none());
}

#[test]
fn whoever_is_not_subscribed_neither_sends_nor_receives() {
    let rig = Rig::new();
    let mut ada = rig.member("ada");
    let mut outside = rig.connect();
    outside.send(&rig, &hello("bob", &json!([])));
    outside.next("welcome");
    ada.send(&rig, &signal("typing"));
    outside.send(&rig, &signal("typing"));
    assert_eq!(outside.next("error")["code"], "not_subscribed");
    assert!(ada.heard_nothing() && outside.heard_nothing());
    ada.send(&rig, &json!({"t": "unsub", "ch": ROOM}));
    ada.send(&rig, &signal("typing"));
    assert_eq!(ada.next("error")["code"], "not_subscribed");
}

#[test]
fn a_signal_beyond_its_limits_is_a_bad_frame_and_the_connection_stays() {
    let rig = Rig::new();
    let (mut ada, mut bob) = (rig.member("ada"), rig.member("bob"));
    let body = |bytes: usize| json!({"x": "y".repeat(bytes - r#"{"x":""}"#.len())});
    for (member, value, code) in [
        ("kind", json!(""), "bad_frame"),
        ("kind", json!("k".repeat(65)), "too_large"),
        ("key", json!("ü".repeat(33)), "too_large"),
        ("body", body(1_025), "too_large"),
        ("body", json!([]), "bad_frame"),
    ] {
        let mut frame = signal("typing");
        frame[member] = value;
        ada.send(&rig, &frame);
        let error = ada.next("error");
        assert_eq!(error["code"], code, "{member}");
        assert!(error["message"].as_str().unwrap().contains(member), "{error}");
    }
    assert!(bob.heard_nothing());
    for (member, value) in
        [("kind", json!("k".repeat(64))), ("key", json!("k".repeat(64))), ("body", body(1_024))]
    {
        let mut frame = signal("typing");
        frame[member] = value;
        ada.send(&rig, &frame);
        bob.next("signal");
    }
    let mut great = signal("typing");
    great["body"] = body(1_025);
    for _ in 0..16 {
        ada.send(&rig, &great);
    }
    assert_eq!(errors(&mut ada).last().unwrap(), "bad_request");
    assert_eq!(ada.close, Some((4500, "bad_request")));
}

#[test]
fn what_is_beyond_the_budget_is_dropped_without_a_word() {
    let mut rig = Rig::new();
    let (mut ada, mut bob) = (rig.member("ada"), rig.member("bob"));
    let mut count = |rig: &Rig, ada: &mut Client| {
        (0..100).for_each(|_| ada.send(rig, &signal("typing")));
        std::iter::from_fn(|| bob.try_next()).count()
    };
    assert_eq!(count(&rig, &mut ada), 40);
    rig.pass(1_000);
    assert_eq!(count(&rig, &mut ada), 20);
    assert!(ada.heard_nothing());
    // The budget is the connection's, and ops have their own.
    assert_eq!(count(&rig, &mut rig.member("ada")), 40);
    std::iter::from_fn(|| ada.try_next()).for_each(drop);
    ada.send(&rig, &op(1, "hi"));
    rig.commit();
    ada.next("event");
    ada.next("ok");
}

#[test]
fn a_client_that_reads_slowly_misses_signals_and_keeps_its_connection() {
    let rig = Rig::with(|engine| {
        engine.limits.queue_messages = 10;
        engine.limits.signals.burst = 101;
    });
    let (mut ada, mut slow) = (rig.member("ada"), rig.member("bob"));
    for _ in 0..100 {
        ada.send(&rig, &signal("typing"));
    }
    let heard = std::iter::from_fn(|| slow.try_next()).count();
    assert_eq!((heard, slow.close), (5, None));
    ada.send(&rig, &signal("typing"));
    slow.next("signal");
}
