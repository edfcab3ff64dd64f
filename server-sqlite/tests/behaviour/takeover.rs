//! A newer connection of the same run of a client takes the older one's place.

use crate::rig::{Client, ROOM, Rig, hello, hello_of, op};
use serde_json::{Value, json};
use tidewire_server_core::{Connections, Flow};

fn member_of(rig: &Rig, user: &str, session: u128) -> Client {
    let mut client = rig.connect();
    client.send(rig, &hello_of(user, session, &json!([{"ch": ROOM}])));
    client.next("welcome");
    client.next("sub_ok");
    client
}

#[test]
fn the_older_connection_of_a_session_ends_and_says_why() {
    let mut rig = Rig::new();
    let mut old = member_of(&rig, "ada", 1);
    let mut bob = rig.member("bob");
    bob.send(&rig, &op(1, "before"));
    rig.commit();
    let mut new = member_of(&rig, "ada", 1);
    bob.send(&rig, &op(2, "after"));
    rig.commit();
    assert_eq!(old.next("event")["offset"], 1, "what was queued before is still sent");
    assert_eq!(old.next("error")["code"], "replaced");
    assert!(!old.heard_nothing());
    assert_eq!(old.close, Some((4008, "replaced")));
    assert_eq!(new.next("event")["offset"], 2);
    old.send(&rig, &op(3, "too late"));
    assert_eq!(old.flow, Flow::End);
    rig.commit();
    assert!(new.heard_nothing(), "a connection that was replaced writes no more");
}

#[test]
fn another_session_another_client_and_another_user_are_left_alone() {
    let rig = Rig::new();
    let mut first = member_of(&rig, "ada", 1);
    let mut without = rig.member("ada");
    member_of(&rig, "ada", 2);
    member_of(&rig, "bob", 1);
    let mut client = hello_of("ada", 1, &json!([]));
    client["client"] = json!("00000000-0000-0000-0000-0000000000aa");
    rig.connect().send(&rig, &client);
    rig.connect().send(&rig, &hello("ada", &json!([])));
    assert!(first.heard_nothing() && without.heard_nothing());
}

#[test]
fn the_case_of_a_session_does_not_matter() {
    let rig = Rig::new();
    let mut old = member_of(&rig, "ada", 0xabc);
    let mut hello = hello_of("ada", 0xabc, &json!([]));
    hello["session"] = json!(hello["session"].as_str().unwrap().to_uppercase());
    rig.connect().send(&rig, &hello);
    assert_eq!(old.next("error")["code"], "replaced");
}

#[test]
fn a_takeover_fits_where_the_user_and_the_dialog_have_all_they_may_have() {
    let rig = Rig::with(|engine| {
        engine.connections = Connections::new(10, 1, None, Box::new(|| ()));
        engine.limits.connections_per_dialog = 1;
    });
    // The old ones' drivers have not noticed yet: their sessions live on.
    let mut all = vec![member_of(&rig, "ada", 1)];
    for _ in 0..3 {
        all.push(member_of(&rig, "ada", 1));
    }
    let mut other = rig.connect();
    other.send(&rig, &hello_of("ada", 2, &json!([])));
    assert_eq!(other.next("error")["code"], "too_many_connections");
    // Each place is given back once, not twice.
    let newest = all.pop().unwrap();
    drop(all);
    let mut other = rig.connect();
    other.send(&rig, &hello_of("ada", 2, &json!([])));
    assert_eq!(other.next("error")["code"], "too_many_connections");
    drop(newest);
    member_of(&rig, "ada", 2);
}

#[test]
fn a_session_that_is_no_uuid_is_a_bad_frame() {
    let rig = Rig::new();
    let mut client = rig.connect();
    let mut hello: Value = hello_of("ada", 1, &json!([]));
    hello["session"] = json!("the first");
    client.send(&rig, &hello);
    let error = client.next("error");
    assert_eq!(error["code"], "bad_frame");
    assert!(error["message"].as_str().unwrap().contains("session"));
    client.send(&rig, &hello_of("ada", 1, &json!([])));
    client.next("welcome");
}

#[test]
fn a_page_that_was_being_read_does_not_bring_the_replaced_one_back_to_life() {
    let mut rig = Rig::new();
    let mut bob = rig.member("bob");
    for n in 0..70 {
        rig.pass(100);
        bob.send(&rig, &op(n, "hi"));
        rig.commit();
    }
    let mut old = rig.connect();
    let subs = json!([{"ch": ROOM, "tail": 1000}]);
    old.flow = old.session.message(rig.now, &hello_of("ada", 1, &subs).to_string());
    assert!(matches!(old.flow, Flow::Read(_)));
    let mut new = member_of(&rig, "ada", 1);
    old.answer(&rig);
    assert_eq!(old.flow, Flow::End);
    old.next("welcome");
    assert_eq!(old.next("error")["code"], "replaced");
    assert!(new.heard_nothing());
}
