//! `prev`: events before those that a client has.

use crate::rig::{Client, ROOM, Rig, hello, op};
use serde_json::{Value, json};
use tidewire_server_core::store::StoreError;
use tidewire_server_core::{Answer, Flow};

/// A room with this many messages, and a client that has the last two.
fn filled(rig: &mut Rig, events: u128) -> Client {
    let mut writer = rig.member("ada");
    for n in 1..=events {
        writer.send(rig, &op(n, &n.to_string()));
        rig.commit();
        // Within the budget of ops.
        rig.pass(1_000);
    }
    let mut client = rig.connect();
    client.send(rig, &hello("bob", &json!([{"ch": ROOM, "tail": 2}])));
    client.next("welcome");
    client.next("sub_ok");
    client
}

fn prev(before: u64, most: u64) -> Value {
    json!({"t": "prev", "ch": ROOM, "before": before, "most": most})
}

/// The offsets of a `past`, which has to be dense and to end before `before`.
fn offsets(past: &Value, before: u64) -> Vec<u64> {
    let offsets: Vec<u64> =
        past["events"].as_array().unwrap().iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    let from = past["from"].as_u64().unwrap();
    assert_eq!(offsets, (from + 1..before).collect::<Vec<_>>());
    offsets
}

#[test]
fn events_come_backwards_until_the_log_begins() {
    let mut rig = Rig::new();
    let mut client = filled(&mut rig, 7);
    client.send(&rig, &prev(6, 3));
    let past = client.next("past");
    assert_eq!((offsets(&past, 6), &past["more"], &past["head"]), (vec![3, 4, 5], &json!(true), &json!(7)));
    client.send(&rig, &prev(3, 3));
    let past = client.next("past");
    assert_eq!((offsets(&past, 3), &past["more"]), (vec![1, 2], &json!(false)));
    // The subscription is live as before.
    let mut writer = rig.member("ada");
    writer.send(&rig, &op(100, "more"));
    rig.commit();
    assert_eq!(client.next("event")["offset"], 8);
}

#[test]
fn hostile_offsets_and_numbers_are_answered_within_the_log() {
    let mut rig = Rig::new();
    let mut client = filled(&mut rig, 5);
    for (before, most, expected) in [
        (u64::MAX >> 11, 2, vec![4, 5]),
        (6, u64::MAX >> 11, vec![1, 2, 3, 4, 5]),
        (6, 0, vec![5]),
        (1, 50, vec![]),
        (0, 50, vec![]),
    ] {
        client.send(&rig, &prev(before, most));
        let past = client.next("past");
        assert_eq!(offsets(&past, before.min(6)), expected, "{before} {most}");
        assert_eq!(past["more"], json!(expected.first().is_some_and(|first| *first > 1)));
    }
    for bad in [json!({"t": "prev", "ch": ROOM}), json!({"t": "prev", "ch": ROOM, "before": -1})] {
        let mut client = rig.member("eve");
        client.send(&rig, &bad);
        assert_eq!(client.next("error")["code"], "bad_frame");
    }
}

#[test]
fn nobody_gets_earlier_events_of_a_channel_that_is_not_theirs() {
    let mut rig = Rig::new();
    let mut client = filled(&mut rig, 5);
    client.send(&rig, &json!({"t": "prev", "ch": "dialog:other", "before": 9}));
    assert_eq!(client.next("sub_err")["code"], "not_subscribed");
    client.send(&rig, &json!({"t": "unsub", "ch": ROOM}));
    client.send(&rig, &prev(4, 50));
    assert_eq!(client.next("sub_err")["code"], "not_subscribed");
    assert!(client.heard_nothing());
}

#[test]
fn a_log_that_cannot_be_read_is_asked_again_later_and_the_subscription_stays() {
    let mut rig = Rig::new();
    let mut client = filled(&mut rig, 5);
    client.session.heard(rig.now.mono);
    client.flow = client.session.message(rig.now, &prev(4, 50).to_string());
    let Flow::Read(read) = &client.flow else { panic!("it reads the log") };
    let answer = Answer::new(read, Err(StoreError::Unavailable), &rig.engine.hub);
    client.flow = client.session.answered(rig.now, answer);
    let past = client.next("past");
    assert_eq!((past["retry_after_ms"].as_u64(), &past["more"]), (Some(5_000), &json!(true)));
    assert!(offsets(&past, 4).is_empty());
    client.send(&rig, &prev(4, 50));
    assert_eq!(offsets(&client.next("past"), 4), [1, 2, 3]);
}
