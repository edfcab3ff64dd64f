//! What is not durable: ops of the session lane and signals; and ops that gather into one message.

use crate::rig::*;
use serde_json::json;
use tidewire_core::tables::TableEvent;
use tidewire_core::*;

fn cancel(rig: &mut Rig) -> OpId {
    let id = rig
        .client
        .send_in(rig.now, Lane::Session, "dialog:demo", "run.cancel", r#"{"run":"r"}"#)
        .expect("room");
    rig.drain();
    id
}

#[test]
fn a_session_op_is_never_stored_and_is_gone_after_a_restart() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    cancel(&mut rig);
    assert!(rig.stores.iter().all(|(_, change)| !matches!(change, StoreChange::PutOp { .. })));
    let mut again = Rig::restored(rig.store.clone());
    again.connect();
    again.welcome();
    assert!(again.ops().is_empty());
}

#[test]
fn a_session_op_overtakes_the_durable_ones_and_keeps_its_own_order() {
    let mut rig = Rig::online();
    rig.cut();
    let durable = [rig.send("one"), rig.send("two")];
    let session = [cancel(&mut rig), cancel(&mut rig)];
    rig.redial(5_000);
    rig.welcome();
    let ops = rig.ops();
    let ids: Vec<&str> = ops.iter().map(|op| op["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&session[0], &session[1], &durable[0], &durable[1]].map(|id| id.as_str()));
    let after: Vec<Option<&str>> = ops.iter().map(|op| op["after"].as_str()).collect();
    assert_eq!(after, [None, Some(session[0].as_str()), None, Some(durable[0].as_str())]);
}

#[test]
fn a_session_op_that_waits_for_a_minute_is_given_up_and_said_so_on_time() {
    let mut rig = Rig::new();
    let id = cancel(&mut rig);
    rig.pass(59_999);
    assert!(rig.op_states(&id).is_empty());
    rig.pass(1);
    assert!(matches!(&rig.op_states(&id)[..], [OpState::Failed { code, .. }] if code == "expired"));
    assert_eq!(rig.client.explain().counters.waiting, 0);
}

#[test]
fn a_session_op_that_may_have_arrived_is_not_given_up_before_the_server_has_answered() {
    let mut rig = Rig::online();
    let id = cancel(&mut rig);
    rig.cut();
    rig.pass(120_000);
    assert!(!rig.op_states(&id).iter().any(|state| matches!(state, OpState::Failed { .. })));
    rig.redial(5_000);
    rig.welcome();
    assert_eq!(rig.ops().last().unwrap()["id"], id.as_str(), "it is sent again");
    rig.nack(&id, "run_not_found", false, None);
    assert!(
        matches!(rig.op_states(&id).last(), Some(OpState::Failed { code, .. }) if code == "run_not_found")
    );
}

#[test]
fn a_refused_session_op_blocks_nobody() {
    let mut rig = Rig::online();
    let first = cancel(&mut rig);
    rig.nack(&first, "run_not_found", false, None);
    let second = cancel(&mut rig);
    let ops = rig.ops();
    assert_eq!(ops.last().unwrap()["id"], second.as_str());
    assert!(ops.last().unwrap()["after"].is_null());
    assert!(!rig.client.retry(rig.now, &first), "it is gone");
}

#[test]
fn too_many_session_ops_are_refused_and_leave_room_for_durable_ones() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        cancel(&mut rig);
    }
    let refused = rig.client.send_in(rig.now, Lane::Session, "dialog:demo", "run.cancel", "{}");
    assert_eq!(refused, Err(SendError::OutboxFull));
    rig.send("one");
}

fn signal(rig: &mut Rig, body: &str) {
    rig.client.signal(rig.now, "dialog:demo", "typing", None, body).expect("valid");
    rig.drain();
}

fn signals(rig: &mut Rig) -> Vec<serde_json::Value> {
    rig.sent.drain(..).filter(|frame| frame["t"] == "signal").collect()
}

#[test]
fn a_signal_goes_at_once_when_live_and_never_when_it_is_old() {
    let mut rig = Rig::online();
    signal(&mut rig, r#"{"on":true}"#);
    assert_eq!(
        signals(&mut rig),
        [json!({"t":"signal","ch":"dialog:demo","kind":"typing","body":{"on":true}})]
    );
    rig.cut();
    signal(&mut rig, "{}");
    rig.redial(2_000);
    rig.welcome();
    assert!(signals(&mut rig).is_empty(), "the channel is not live yet");
    rig.pass(3_000);
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    assert!(signals(&mut rig).is_empty(), "it is too old");
}

#[test]
fn a_flood_of_signals_becomes_a_trickle_of_the_newest() {
    let mut rig = Rig::online();
    for n in 0..1_000 {
        signal(&mut rig, &json!({ "n": n }).to_string());
        rig.pass(1);
    }
    rig.pass(1_000);
    let sent = signals(&mut rig);
    assert!((10..=21).contains(&sent.len()), "{}", sent.len());
    assert_eq!(sent.last().unwrap()["body"]["n"], 999);
}

#[test]
fn bad_signals_are_refused_with_their_reason() {
    let mut rig = Rig::online();
    let mut refused = |channel: &str, kind: &str, body: &str| {
        rig.client.signal(rig.now, channel, kind, None, body).unwrap_err().code()
    };
    assert_eq!(refused("no channel", "typing", "{}"), "bad_channel");
    assert_eq!(refused("dialog:demo", "typing", "[]"), "bad_body");
    assert_eq!(refused("dialog:demo", &"k".repeat(65), "{}"), "too_large");
    assert_eq!(refused("dialog:demo", "typing", &json!({"x":"x".repeat(1_024)}).to_string()), "too_large");
}

#[test]
fn a_signal_may_be_as_long_as_the_limits_say() {
    let mut rig = Rig::online();
    let body = json!({"x": "x".repeat(1_024 - r#"{"x":""}"#.len())}).to_string();
    assert_eq!(body.len(), 1_024);
    let key = "k".repeat(64);
    assert_eq!(rig.client.signal(rig.now, "dialog:demo", &key, Some(&key), &body), Ok(()));
    rig.drain();
    assert_eq!(signals(&mut rig).len(), 1);
    let longer = "k".repeat(65);
    let refused = rig.client.signal(rig.now, "dialog:demo", "typing", Some(&longer), "{}");
    assert_eq!(refused, Err(SendError::TooLarge));
}

#[test]
fn somebody_elses_signal_is_told() {
    let mut rig = Rig::online();
    let frame = json!({"t":"signal","ch":"dialog:demo","kind":"typing","key":"k","body":{},"by":user("bob")});
    rig.receive(frame.clone());
    let mut elsewhere = frame;
    elsewhere["ch"] = "dialog:other".into();
    rig.receive(elsewhere);
    let told: Vec<&Event<TableEvent>> =
        rig.events.iter().filter(|event| matches!(event, Event::Signal { .. })).collect();
    assert!(
        matches!(told[..], [Event::Signal { by, signal }] if by.id == "bob" && signal.key.as_deref() == Some("k"))
    );
}

#[test]
fn ops_gather_for_a_moment_but_the_first_never_waits() {
    let config = Config { batch_ms: 10, batch_ops: 3, ..Config::default() };
    let mut rig = Rig::with(config, Store::default(), Now { mono: Time(1_000), wall: WALL }, [42; 32]);
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    rig.sent.clear();
    rig.send("one");
    assert_eq!(rig.ops().len(), 1);
    rig.send("two");
    rig.pass(9);
    assert!(rig.ops().is_empty());
    rig.pass(1);
    assert_eq!(rig.ops().len(), 1);
    for text in ["three", "four"] {
        rig.send(text);
    }
    assert!(rig.ops().is_empty());
    rig.send("five");
    assert_eq!(rig.ops().len(), 3, "three are enough");
}
