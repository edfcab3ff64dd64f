//! How far channels were read.

use crate::rig::*;
use serde_json::{Value, json};
use tidewire_core::tables::TableEvent;
use tidewire_core::wire::Receipt;
use tidewire_core::*;

const CH: &str = "dialog:demo";

fn sent(rig: &mut Rig, t: &str) -> Vec<Value> {
    rig.sent.drain(..).filter(|frame| frame["t"] == t).collect()
}

/// An online client with three messages of Bob's that follows the read positions, of which it was
/// told these.
fn following(offset: u64, unread: u64) -> Rig {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").expect("valid");
    rig.client.watch_reads(rig.now, CH).expect("open");
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 3, (1..=3).map(|at| message(at, "x")).collect()));
    assert_eq!(sent(&mut rig, "marks"), [json!({"t": "marks", "ch": CH})]);
    rig.receive(all(offset, unread, 3, &[]));
    rig
}

fn receipt(id: &str, offset: u64) -> Value {
    json!({"user": user(id), "offset": offset, "at": 5})
}

fn all(offset: u64, unread: u64, head: u64, users: &[Value]) -> Value {
    json!({"t": "marks", "ch": CH, "offset": offset, "unread": unread, "head": head, "users": users})
}

/// Position, unread and status, as they were told last and as they are now.
fn shown(rig: &Rig) -> (u64, Option<u64>, &'static str) {
    let told = rig.events.iter().rev().find_map(|event| match event {
        Event::Reads { state, .. } => Some(state.clone()),
        _ => None,
    });
    let (now, _) = rig.client.reads(CH).expect("open");
    assert_eq!(told.as_ref(), Some(&now), "what was told last is so");
    (now.position.0, now.unread, now.status.as_str())
}

fn others(rig: &Rig) -> Vec<(String, u64)> {
    let told: Vec<Receipt> = rig
        .events
        .iter()
        .rev()
        .find_map(|event| match event {
            Event::<TableEvent>::Reads { receipts, .. } => receipts.clone(),
            _ => None,
        })
        .unwrap_or_default();
    let (_, now) = rig.client.reads(CH).expect("open");
    assert_eq!(told, now, "what was told last is so");
    now.iter().map(|receipt| (receipt.user.id.clone(), receipt.offset.0)).collect()
}

#[test]
fn what_is_unread_is_counted_by_the_server_and_then_here() {
    let mut rig = following(1, 2);
    assert_eq!(shown(&rig), (1, Some(2), "live"));
    rig.receive(message(4, "x"));
    assert_eq!(shown(&rig), (1, Some(3), "live"));
    // Neither what one wrote oneself counts, nor the end of an answer.
    rig.receive(own(5, "0190d8a0-0000-7000-8000-000000000001", "x"));
    rig.receive(start(6, "r1"));
    rig.receive(end(7, "r1", "done", "x"));
    assert_eq!(shown(&rig), (1, Some(4), "live"));
    rig.client.mark_read(rig.now, CH, None).expect("open");
    rig.drain();
    assert_eq!(
        (shown(&rig), sent(&mut rig, "mark")),
        ((7, Some(0), "live"), vec![json!({"t": "mark", "ch": CH, "offset": 7})])
    );
    rig.receive(json!({"t": "marks", "ch": CH, "offset": 7, "users": []}));
    rig.receive(message(8, "x"));
    assert_eq!(shown(&rig), (7, Some(1), "live"));
}

#[test]
fn a_position_is_told_at_most_once_a_second_and_only_the_newest() {
    let mut rig = following(0, 3);
    for offset in [1, 2] {
        rig.client.mark_read(rig.now, CH, Some(wire::Offset(offset))).expect("here");
        rig.drain();
    }
    assert_eq!(sent(&mut rig, "mark").len(), 1);
    rig.client.mark_read(rig.now, CH, Some(wire::Offset(1))).expect("it is only older");
    rig.client.mark_read(rig.now, CH, Some(wire::Offset(3))).expect("here");
    rig.pass(900);
    assert!(sent(&mut rig, "mark").is_empty());
    rig.pass(100);
    assert_eq!(sent(&mut rig, "mark"), [json!({"t": "mark", "ch": CH, "offset": 3})]);
    rig.receive(json!({"t": "marks", "ch": CH, "offset": 3, "users": []}));
    rig.client.mark_read(rig.now, CH, None).expect("open");
    rig.pass(20_000);
    assert!(sent(&mut rig, "mark").is_empty(), "the server has it");
}

#[test]
fn what_is_not_here_can_not_be_read_and_a_channel_has_to_be_open() {
    let mut rig = following(0, 3);
    let mark = |rig: &mut Rig, channel: &str, offset| {
        rig.client.mark_read(rig.now, channel, Some(wire::Offset(offset))).map_err(SendError::code)
    };
    assert_eq!(mark(&mut rig, CH, 4), Err("bad_offset"));
    assert_eq!(mark(&mut rig, CH, u64::MAX), Err("bad_offset"));
    assert_eq!(mark(&mut rig, "dialog:other", 1), Err("not_subscribed"));
    assert_eq!(mark(&mut rig, "", 1), Err("bad_channel"));
    assert_eq!(mark(&mut rig, CH, 0), Ok(()), "that is nothing");
    assert_eq!(
        rig.client.watch_reads(rig.now, "dialog:other").map_err(SubscribeError::code),
        Err("not_subscribed")
    );
    rig.drain();
    assert!(sent(&mut rig, "mark").is_empty());
}

#[test]
fn other_devices_and_others_are_followed_in_any_order() {
    let mut rig = following(0, 3);
    rig.receive(
        json!({"t": "marks", "ch": CH, "offset": 3, "users": [receipt("bob", 2), receipt("eve", 1)]}),
    );
    assert_eq!(
        (shown(&rig), others(&rig)),
        ((3, Some(0), "live"), vec![("bob".into(), 2), ("eve".into(), 1)])
    );
    rig.receive(
        json!({"t": "marks", "ch": CH, "offset": 2, "users": [receipt("bob", 1), receipt("eve", 3)]}),
    );
    assert_eq!((shown(&rig).0, others(&rig)), (3, vec![("bob".into(), 2), ("eve".into(), 3)]));
    // One that can't be read does not matter.
    rig.receive(json!({"t": "marks", "ch": CH, "users": [{"user": 7}, receipt("bob", 3)]}));
    assert_eq!(others(&rig), [("bob".to_owned(), 3), ("eve".to_owned(), 3)]);
    rig.receive(json!({"t": "marks", "ch": CH, "users": [], "crowded": true}));
    assert_eq!((shown(&rig).2, others(&rig).len()), ("crowded", 0));
}

#[test]
fn a_position_between_what_is_known_is_asked_for_again() {
    let mut rig = following(0, 3);
    rig.receive(json!({"t": "marks", "ch": CH, "offset": 2, "users": []}));
    assert_eq!(sent(&mut rig, "marks").len(), 1);
    assert_eq!(shown(&rig), (2, Some(3), "live"), "at most so many");
    rig.receive(all(2, 1, 3, &[]));
    assert_eq!(shown(&rig), (2, Some(1), "live"));
}

#[test]
fn without_a_connection_a_position_waits_and_goes_out_with_the_next_one() {
    let mut rig = following(1, 2);
    rig.receive(json!({"t": "marks", "ch": CH, "users": [receipt("bob", 2)]}));
    rig.cut();
    rig.client.mark_read(rig.now, CH, None).expect("here");
    rig.drain();
    assert_eq!((shown(&rig), others(&rig).len()), ((3, Some(0), "syncing"), 1));
    rig.redial(60_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 3, 4, vec![message(4, "x")]));
    assert_eq!(rig.sent.iter().filter(|frame| frame["t"] == "mark").count(), 1);
    assert_eq!(sent(&mut rig, "marks").len(), 1, "and is asked for anew");
    rig.receive(json!({"t": "marks", "ch": CH, "offset": 3, "users": []}));
    rig.receive(all(3, 1, 4, &[receipt("bob", 4)]));
    assert_eq!((shown(&rig), others(&rig)), ((3, Some(1), "live"), vec![("bob".into(), 4)]));
}

#[test]
fn what_the_server_does_not_have_is_kept_on_the_device() {
    for end in ["the dialog", "the page", "the client"] {
        let mut rig = following(0, 3);
        rig.cut();
        rig.client.mark_read(rig.now, CH, None).expect("here");
        match end {
            "the dialog" => rig.client.close_dialog(rig.now, "demo"),
            "the page" => rig.feed(Input::Lifecycle(Lifecycle::Hidden)),
            _ => rig.client.close(rig.now),
        }
        rig.drain();
        let mut rig = Rig::restored(rig.store.clone());
        rig.client.open_dialog(rig.now, "demo").expect("valid");
        rig.connect();
        rig.welcome();
        rig.receive(sub_ok("resumed", 3, 3, vec![]));
        assert_eq!(sent(&mut rig, "mark"), [json!({"t": "mark", "ch": CH, "offset": 3})], "{end}");
        rig.receive(json!({"t": "marks", "ch": CH, "offset": 3, "users": []}));
        rig.drain();
        let profile = rig.store.restored().profile.expect("kept");
        assert!(!profile.contains("marks"), "{profile}");
    }
}

#[test]
fn a_channel_that_is_closed_tells_its_position_first() {
    let mut rig = following(0, 3);
    rig.client.mark_read(rig.now, CH, Some(wire::Offset(1))).expect("here");
    rig.drain();
    rig.client.mark_read(rig.now, CH, None).expect("here");
    rig.client.close_dialog(rig.now, "demo");
    rig.drain();
    let last: Vec<Value> = rig.sent.iter().map(|frame| frame["t"].clone()).collect();
    assert_eq!(last[last.len() - 2..], [json!("mark"), json!("unsub")]);
    assert!(rig.store.restored().profile.expect("kept").contains("\"marks\""));
    rig.receive(json!({"t": "marks", "ch": CH, "offset": 3, "users": []}));
    rig.drain();
    assert!(!rig.store.restored().profile.expect("kept").contains("\"marks\""));
}

#[test]
fn a_client_that_is_closed_tells_its_positions_first() {
    let mut rig = following(0, 3);
    for offset in [1, 3] {
        rig.client.mark_read(rig.now, CH, Some(wire::Offset(offset))).expect("here");
        rig.drain();
    }
    rig.client.close(rig.now);
    rig.drain();
    let told: Vec<Value> = sent(&mut rig, "mark").into_iter().map(|frame| frame["offset"].clone()).collect();
    assert_eq!(told, [json!(1), json!(3)]);
    assert!(rig.store.restored().profile.expect("kept").contains("\"marks\""));
}

#[test]
fn positions_of_another_log_or_user_mean_nothing() {
    let mut rig = following(3, 0);
    rig.cut();
    rig.redial(60_000);
    rig.welcome();
    let mut reset = sub_ok("reset", 0, 2, vec![message(1, "y"), message(2, "y")]);
    (reset["epoch"], reset["reason"]) = (json!("another"), json!("epoch"));
    rig.receive(reset);
    assert_eq!(shown(&rig), (0, None, "syncing"));
    rig.receive(all(0, 2, 2, &[]));
    assert_eq!(shown(&rig), (0, Some(2), "live"));
    rig.client.mark_read(rig.now, CH, None).expect("here");
    rig.drain();
    rig.cut();
    rig.redial(60_000);
    let mut other = welcome("bob");
    other["user"] = user("somebody-else");
    rig.receive(other);
    rig.receive(sub_ok("fresh", 0, 2, vec![message(1, "y"), message(2, "y")]));
    assert!(sent(&mut rig, "mark").is_empty(), "it was the other user's");
    assert_eq!(shown(&rig).0, 0);
}

#[test]
fn a_refusal_is_tried_again_if_it_may_succeed_and_told_if_not() {
    let mut rig = following(0, 3);
    rig.client.mark_read(rig.now, CH, None).expect("here");
    rig.drain();
    assert_eq!(sent(&mut rig, "mark").len(), 1);
    rig.receive(
        json!({"t": "marks", "ch": CH, "users": [], "refused": "storage_full", "retry_after_ms": 3000}),
    );
    rig.pass(2_900);
    assert!(sent(&mut rig, "mark").is_empty());
    rig.pass(100);
    assert_eq!(sent(&mut rig, "mark").len(), 1);
    // No answer comes.
    rig.pass(15_000);
    assert_eq!(sent(&mut rig, "mark").len(), 1);
    rig.receive(json!({"t": "marks", "ch": CH, "users": [], "refused": "bad_offset"}));
    let problem = Event::Problem {
        code: "bad_offset".into(),
        message: "the server did not store how far this channel was read".into(),
    };
    assert!(rig.events.contains(&problem));
    assert_eq!(shown(&rig).0, 0);
    rig.pass(20_000);
    assert!(sent(&mut rig, "mark").is_empty());
}
