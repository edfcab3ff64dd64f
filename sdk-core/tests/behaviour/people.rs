//! Who is in a channel, and what this client's user is doing there.

use crate::rig::*;
use serde_json::{Value, json};
use std::cell::Cell;
use tidewire_core::tables::TableEvent;
use tidewire_core::wire::Person;
use tidewire_core::*;

const CH: &str = "dialog:demo";

fn person(id: &str, kinds: &[&str]) -> Value {
    let leases: Vec<Value> = kinds
        .iter()
        .map(|kind| match *kind {
            "typing" => json!({"kind": "typing", "since": 5, "brief": true}),
            "status" => json!({"kind": "status", "since": 5, "body": {"active": true}}),
            kind => json!({"kind": kind, "since": 5}),
        })
        .collect();
    json!({"user": user(id), "leases": leases})
}

thread_local! {
    /// The number of the last frame with changes.
    static LAST: Cell<u64> = const { Cell::new(7) };
}

/// The next frame with changes.
fn next(mut frame: Value) -> Value {
    LAST.set(LAST.get() + 1);
    frame["n"] = LAST.get().into();
    frame
}

fn frame(people: &[Value], gone: &[&str]) -> Value {
    let gone: Vec<Value> = gone.iter().map(|id| json!({"kind": "guest", "id": id})).collect();
    next(json!({"t": "people", "ch": CH, "count": people.len(), "people": people, "gone": gone}))
}

/// A list, which has the number of the last frame.
fn list(people: &[Value]) -> Value {
    let n = LAST.get();
    json!({"t": "people", "ch": CH, "n": n, "count": people.len(), "full": true, "people": people})
}

/// The list as the changes told so far make it, with the last status and count.
fn shown(rig: &Rig) -> (Vec<String>, &'static str, u64) {
    let (mut people, mut last): (Vec<Person>, _) = (vec![], ("none", 0));
    for event in &rig.events {
        let Event::People { changes, status, count, channel } = event else { continue };
        assert_eq!(channel.as_str(), CH);
        for change in changes {
            assert!(change.clone().apply(&mut people, |_, _| panic!("people have no texts")));
        }
        last = (status.as_str(), *count);
    }
    if let Some((now, status, count)) = rig.client.people(CH) {
        assert_eq!((&people, last), (&now, (status.as_str(), count)), "who comes late sees the same");
    }
    let name = |person: &Person| {
        let kinds: Vec<&str> = person.leases.iter().map(|lease| lease.kind.as_str()).collect();
        format!("{}: {}", person.user.id, kinds.join(" "))
    };
    (people.iter().map(name).collect(), last.0, last.1)
}

fn told(rig: &Rig) -> usize {
    rig.events.iter().filter(|event| matches!(event, Event::<TableEvent>::People { .. })).count()
}

fn sent(rig: &mut Rig, t: &str) -> Vec<Value> {
    rig.sent.drain(..).filter(|frame| frame["t"] == t).collect()
}

/// An online client that watches, and was sent this list.
fn watching(people: &[Value]) -> Rig {
    let mut rig = Rig::online();
    rig.client.watch_people(rig.now, CH).expect("valid");
    rig.drain();
    assert_eq!(sent(&mut rig, "watch"), [json!({"t": "watch", "ch": CH})]);
    rig.receive(list(people));
    rig
}

/// The connection is lost, another one is welcome, and the subscription goes on.
fn reconnect(rig: &mut Rig) {
    rig.cut();
    rig.redial(60_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
}

#[test]
fn the_list_begins_with_a_frame_and_follows_the_changes() {
    let mut rig = watching(&[person("ada", &["here"]), person("bob", &["here"])]);
    assert_eq!(shown(&rig), (vec!["ada: here".to_owned(), "bob: here".to_owned()], "live", 2));
    rig.receive(frame(&[person("bob", &["here", "typing"]), person("eve", &["here", "status"])], &[]));
    assert_eq!(shown(&rig).0, ["ada: here", "bob: here typing", "eve: here status"]);
    let (all, ..) = rig.client.people(CH).expect("it watches");
    let status = all[2].lease("status").expect("a lease");
    assert_eq!((status.body.as_str(), status.since, status.brief), (r#"{"active":true}"#, 5, false));
    rig.receive(frame(&[], &["ada", "nobody"]));
    assert_eq!(shown(&rig), (vec!["bob: here typing".to_owned(), "eve: here status".to_owned()], "live", 2));
    // The same again tells nothing.
    let before = told(&rig);
    rig.receive(frame(&[person("bob", &["here", "typing"])], &[]));
    assert_eq!(told(&rig), before);
}

#[test]
fn it_is_asked_for_once_while_anybody_watches_and_again_on_each_connection() {
    let mut rig = watching(&[person("bob", &["here"])]);
    rig.client.watch_people(rig.now, CH).expect("valid");
    rig.drain();
    assert!(rig.sent.is_empty());
    reconnect(&mut rig);
    assert_eq!(sent(&mut rig, "watch").len(), 1);
    rig.client.unwatch_people(rig.now, CH);
    rig.drain();
    assert!(rig.sent.is_empty());
    rig.client.unwatch_people(rig.now, CH);
    rig.client.unwatch_people(rig.now, CH);
    rig.drain();
    assert_eq!(sent(&mut rig, "unwatch"), [json!({"t": "unwatch", "ch": CH})]);
    let before = told(&rig);
    rig.receive(frame(&[person("eve", &["here"])], &[]));
    assert_eq!(told(&rig), before, "nobody watches");
    // Who watches anew begins anew.
    rig.client.watch_people(rig.now, CH).expect("valid");
    rig.events.clear();
    rig.drain();
    rig.receive(list(&[person("eve", &["here"])]));
    assert_eq!(shown(&rig), (vec!["eve: here".to_owned()], "live", 1));
}

#[test]
fn without_a_connection_the_list_stays_as_it_was_but_for_what_is_brief() {
    let people = [person("bob", &["here", "typing"]), person("svc", &["typing"]), person("eve", &["here"])];
    let mut rig = watching(&people);
    rig.cut();
    assert_eq!(shown(&rig), (vec!["bob: here".to_owned(), "eve: here".to_owned()], "syncing", 2));
    rig.redial(60_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    assert_eq!(shown(&rig).1, "syncing", "until the server has answered");
    rig.receive(list(&[person("bob", &["here"]), person("zoe", &["here"])]));
    assert_eq!(shown(&rig), (vec!["bob: here".to_owned(), "zoe: here".to_owned()], "live", 2));
}

#[test]
fn whom_a_server_that_started_does_not_know_yet_stays_until_it_must() {
    let mut rig = watching(&[person("bob", &["here"]), person("eve", &["here"]), person("zoe", &["here"])]);
    reconnect(&mut rig);
    let mut anew = list(&[person("bob", &["here"])]);
    anew["settle_ms"] = 9_000.into();
    rig.receive(anew);
    assert_eq!(shown(&rig).0, ["bob: here", "eve: here", "zoe: here"]);
    assert_eq!((shown(&rig).1, shown(&rig).2), ("live", 3));
    rig.pass(5_000);
    rig.receive(frame(&[person("zoe", &["here"])], &[]));
    rig.pass(3_900);
    assert_eq!(shown(&rig).0.len(), 3);
    rig.pass(200);
    assert_eq!(shown(&rig), (vec!["bob: here".to_owned(), "zoe: here".to_owned()], "live", 2));
}

#[test]
fn a_list_in_several_frames_is_one_list() {
    let mut rig = watching(&[person("bob", &["here"]), person("eve", &["here"])]);
    reconnect(&mut rig);
    let mut first = list(&[person("zoe", &["here"])]);
    (first["more"], first["count"]) = (true.into(), 2.into());
    rig.receive(first);
    assert_eq!(shown(&rig).0, ["bob: here", "eve: here", "zoe: here"], "nobody is gone before its end");
    assert_eq!(shown(&rig).1, "syncing");
    let mut last = list(&[person("eve", &["here"])]);
    (last["full"], last["count"]) = (Value::Null, 2.into());
    rig.receive(last);
    assert_eq!(shown(&rig), (vec!["eve: here".to_owned(), "zoe: here".to_owned()], "live", 2));
}

#[test]
fn a_frame_that_comes_twice_changes_nothing_and_one_that_is_missing_is_noticed() {
    let mut rig = watching(&[person("bob", &["here"])]);
    let (gone, back) = (frame(&[], &["bob"]), frame(&[person("bob", &["here"])], &[]));
    rig.receive(gone.clone());
    rig.receive(back.clone());
    let before = told(&rig);
    for stale in [&gone, &back, &gone] {
        rig.receive(stale.clone());
    }
    assert_eq!((told(&rig), shown(&rig).0), (before, vec!["bob: here".to_owned()]));
    frame(&[person("eve", &["here"])], &[]);
    rig.receive(frame(&[person("zoe", &["here"])], &[]));
    assert_eq!(shown(&rig), (vec!["bob: here".to_owned()], "syncing", 1));
    assert_eq!(sent(&mut rig, "watch").len(), 1, "a new list is asked for");
    // The answer is lost too, and so are changes until it comes.
    rig.receive(frame(&[person("may", &["here"])], &[]));
    assert!(rig.sent.is_empty());
    rig.pass(14_900);
    assert!(rig.sent.is_empty());
    rig.pass(200);
    assert_eq!(sent(&mut rig, "watch").len(), 1, "again after 15 s");
    rig.receive(list(&[person("eve", &["here"]), person("zoe", &["here"])]));
    assert_eq!(shown(&rig), (vec!["eve: here".to_owned(), "zoe: here".to_owned()], "live", 2));
    rig.pass(60_000);
    assert_eq!(sent(&mut rig, "watch").len(), 0);
    // The connection is lost before the new list comes: what is brief ends all the same.
    let mut rig = watching(&[person("bob", &["here", "typing"])]);
    frame(&[person("eve", &["here"])], &[]);
    rig.receive(frame(&[person("zoe", &["here"])], &[]));
    rig.cut();
    assert_eq!(shown(&rig), (vec!["bob: here".to_owned()], "syncing", 1));
}

#[test]
fn a_crowd_has_a_count_and_a_refusal_a_code() {
    let mut rig = watching(&[person("bob", &["here"])]);
    let crowd = json!({"t": "people", "ch": CH, "count": 201, "full": true, "crowded": true, "people": []});
    rig.receive(next(crowd));
    assert_eq!(shown(&rig), (vec![], "crowded", 201));
    rig.receive(next(json!({"t": "people", "ch": CH, "count": 202, "crowded": true})));
    assert_eq!(shown(&rig), (vec![], "crowded", 202));
    rig.receive(list(&[person("bob", &["here"])]));
    assert_eq!(shown(&rig), (vec!["bob: here".to_owned()], "live", 1));
    rig.receive(next(json!({"t": "people", "ch": CH, "count": 0, "full": true, "refused": "people_off"})));
    assert_eq!(shown(&rig), (vec![], "refused", 0));
    rig.receive(frame(&[person("eve", &["here"])], &[]));
    assert_eq!(shown(&rig), (vec![], "refused", 0), "changes of a list that nobody has");
    // A frame that can't be read leaves nobody shown as if they were there.
    for broken in [
        json!({"t": "people", "ch": CH, "count": 1, "full": true, "people": [{"user": 1}]}),
        json!({"t": "people", "ch": CH, "count": 1, "people": [{"user": user("a"), "leases": [{"kind": "a"}]}]}),
        json!({"t": "people", "ch": CH, "count": -1}),
        json!({"t": "people", "ch": CH}),
        json!({"t": "people", "ch": CH, "count": 1, "gone": ["ada"]}),
    ] {
        rig.receive(list(&[person("bob", &["here"])]));
        let text = broken.to_string();
        rig.receive(next(broken));
        assert_eq!(shown(&rig), (vec![], "refused", 0), "{text}");
        assert_eq!(rig.state(), State::Online);
    }
    rig.receive(json!({"t": "people", "count": 1}));
    rig.receive(json!({"t": "people", "ch": "dialog:other", "count": 1}));
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_channel_that_may_not_be_read_any_more_shows_nobody() {
    let mut rig = watching(&[person("bob", &["here"])]);
    rig.receive(json!({"t": "sub_err", "ch": CH, "code": "forbidden", "message": "no", "retryable": false}));
    assert_eq!(shown(&rig), (vec![], "refused", 0));
    let mut rig = watching(&[person("bob", &["here"])]);
    rig.client.set_lease(rig.now, CH, "status", Some("{}")).expect("valid");
    rig.cut();
    rig.redial(60_000);
    rig.receive(welcome("eve"));
    assert_eq!(shown(&rig), (vec![], "syncing", 0), "another user signed in");
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    assert_eq!(sent(&mut rig, "lease"), [Value::Null; 0], "what ada did is not said in eve's name");
}

#[test]
fn a_subscription_that_begins_again_on_the_same_connection_is_watched_and_held_again() {
    // With the subscription the server forgot who watches and what they hold.
    for (code, retryable) in [("rate_limited", true), ("not_subscribed", false), ("forbidden", false)] {
        let mut rig = watching(&[person("bob", &["here"])]);
        rig.client.set_lease(rig.now, CH, "status", Some("{}")).expect("valid");
        rig.drain();
        assert_eq!(sent(&mut rig, "lease").len(), 1);
        rig.receive(json!({"t": "sub_err", "ch": CH, "code": code, "message": "no", "retryable": retryable}));
        assert_ne!(shown(&rig).1, "live", "{code}: nobody tells what changes");
        rig.pass(5_000);
        if code == "forbidden" {
            rig.client.open_dialog(rig.now, "demo").expect("valid");
            rig.drain();
        }
        assert_eq!(sent(&mut rig, "sub").len(), 1, "{code}");
        rig.receive(sub_ok(if code == "forbidden" { "fresh" } else { "resumed" }, 0, 0, vec![]));
        let kinds: Vec<Value> = rig.sent.drain(..).map(|frame| frame["t"].clone()).collect();
        assert_eq!(kinds, ["watch", "lease"], "{code}");
        rig.receive(list(&[person("eve", &["here"])]));
        assert_eq!(shown(&rig), (vec!["eve: here".to_owned()], "live", 1), "{code}");
    }
}

#[test]
fn leases_are_held_on_every_connection_until_they_are_given_up() {
    let mut rig = Rig::online();
    let begun = rig.now.mono;
    rig.client.set_lease(rig.now, CH, "status", Some(r#"{"n":1}"#)).expect("valid");
    rig.client.set_lease(rig.now, CH, "status", Some(r#"{"n":2}"#)).expect("valid");
    rig.drain();
    let held = json!({"t": "lease", "ch": CH, "kind": "status", "body": {"n": 2}});
    assert_eq!(sent(&mut rig, "lease"), std::slice::from_ref(&held), "the newest counts");
    rig.client.set_lease(rig.now, CH, "status", Some(r#"{"n":2}"#)).expect("valid");
    rig.drain();
    assert!(rig.sent.is_empty(), "the same again says nothing");
    for _ in 0..3 {
        rig.pass(2_000);
        reconnect(&mut rig);
        let mut again = sent(&mut rig, "lease");
        let age_ms = again[0].as_object_mut().and_then(|lease| lease.remove("age_ms"));
        assert_eq!(again, std::slice::from_ref(&held));
        assert_eq!(age_ms, Some((rig.now.mono.0 - begun.0).into()), "since when it is so");
    }
    // Given up without a connection: the server may still have it, so it is told.
    rig.cut();
    rig.client.set_lease(rig.now, CH, "status", None).expect("valid");
    rig.redial(60_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    assert_eq!(sent(&mut rig, "lease"), [json!({"t": "lease", "ch": CH, "kind": "status"})]);
    reconnect(&mut rig);
    assert_eq!(sent(&mut rig, "lease"), [Value::Null; 0]);
    // So it is if another connection comes and goes before it can be told.
    rig.client.set_lease(rig.now, CH, "status", Some("{}")).expect("valid");
    rig.cut();
    rig.client.set_lease(rig.now, CH, "status", None).expect("valid");
    rig.redial(60_000);
    rig.welcome();
    reconnect(&mut rig);
    assert_eq!(sent(&mut rig, "lease"), [json!({"t": "lease", "ch": CH, "kind": "status"})]);
}

#[test]
fn who_writes_says_so_at_most_every_three_seconds() {
    let mut rig = Rig::online();
    let begin = json!({"t": "lease", "ch": CH, "kind": "typing", "body": {}, "for_ms": 6_000});
    let end = json!({"t": "lease", "ch": CH, "kind": "typing"});
    let typing = |rig: &mut Rig, on: bool| {
        rig.client.typing(rig.now, CH, on).expect("valid");
        rig.drain();
        sent(rig, "lease")
    };
    assert_eq!(typing(&mut rig, true), std::slice::from_ref(&begin));
    for _ in 0..29 {
        rig.pass(100);
        assert_eq!(typing(&mut rig, true), [Value::Null; 0]);
    }
    rig.pass(100);
    assert_eq!(typing(&mut rig, true), std::slice::from_ref(&begin));
    assert_eq!(typing(&mut rig, false), std::slice::from_ref(&end));
    assert_eq!(typing(&mut rig, false), [Value::Null; 0], "the end is said once");
    assert_eq!(typing(&mut rig, true), std::slice::from_ref(&begin), "a new beginning is said at once");
    // A message ends it at the server, so nothing is said, and the next letter counts anew.
    rig.send("hello");
    assert_eq!(sent(&mut rig, "lease"), [Value::Null; 0]);
    assert_eq!(typing(&mut rig, false), [Value::Null; 0]);
    assert_eq!(typing(&mut rig, true), std::slice::from_ref(&begin));
    // After six seconds of silence the server has ended it.
    rig.pass(6_000);
    assert_eq!(typing(&mut rig, false), [Value::Null; 0]);
    // Without a connection it is not said, and not later either.
    rig.cut();
    assert_eq!(typing(&mut rig, true), [Value::Null; 0]);
    rig.redial(60_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    assert_eq!(sent(&mut rig, "lease"), [Value::Null; 0]);
    assert_eq!(typing(&mut rig, true), [begin]);
}

#[test]
fn many_changes_of_a_lease_are_said_within_the_budget_and_the_last_one_is() {
    let mut rig = Rig::online();
    let mut said = Vec::new();
    for n in 0..500 {
        rig.client.set_lease(rig.now, CH, "status", Some(&format!(r#"{{"n":{n}}}"#))).expect("valid");
        rig.drain();
        said.extend(sent(&mut rig, "lease"));
        rig.pass(10);
        said.extend(sent(&mut rig, "lease"));
    }
    rig.pass(1_000);
    said.extend(sent(&mut rig, "lease"));
    assert!((50..=75).contains(&said.len()), "{} in 6 s", said.len());
    assert_eq!(said.last().expect("valid")["body"]["n"], 499);
}

#[test]
fn a_handover_keeps_the_list_and_says_the_leases_again() {
    let mut rig = watching(&[person("bob", &["here", "typing"])]);
    rig.client.set_lease(rig.now, CH, "status", Some("{}")).expect("valid");
    rig.drain();
    rig.pass(15_000);
    rig.receive(json!({"t": "goaway", "reason": "restart", "after_ms": 5_000, "spread_ms": 4_000}));
    rig.pass(4_000);
    rig.accept();
    let before = told(&rig);
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    let kinds: Vec<Value> = rig.sent.drain(..).map(|frame| frame["t"].clone()).collect();
    assert_eq!(kinds, ["bye", "watch", "lease"]);
    rig.receive(list(&[person("bob", &["here", "typing"])]));
    assert_eq!(told(&rig), before, "nothing changed");
}

#[test]
fn arguments_that_are_not_valid_are_refused_with_a_code() {
    let mut rig = Rig::online();
    let deep = format!("{}{}", r#"{"a":"#.repeat(25), "1".to_owned() + &"}".repeat(25));
    let big = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_024));
    let long = "k".repeat(65);
    for (channel, kind, body, code) in [
        ("no spaces here", "a", "{}", "bad_channel"),
        ("dialog:other", "a", "{}", "not_subscribed"),
        (CH, "", "{}", "bad_kind"),
        (CH, "here", "{}", "bad_kind"),
        (CH, "typing", "{}", "bad_kind"),
        (CH, long.as_str(), "{}", "too_large"),
        (CH, "a", "[]", "bad_body"),
        (CH, "a", "", "bad_body"),
        (CH, "a", "{", "bad_body"),
        (CH, "a", deep.as_str(), "too_deep"),
        (CH, "a", big.as_str(), "too_large"),
    ] {
        let refused = rig.client.set_lease(rig.now, channel, kind, Some(body)).expect_err("refused");
        assert_eq!((refused.code(), refused.is_retryable()), (code, false), "{channel} {kind} {body}");
    }
    for n in 0..8 {
        rig.client.set_lease(rig.now, CH, &format!("k{n}"), Some("{}")).expect("valid");
    }
    let refused = rig.client.set_lease(rig.now, CH, "k8", Some("{}")).expect_err("refused");
    assert_eq!(refused.code(), "too_many_leases");
    rig.client.set_lease(rig.now, CH, "k0", None).expect("valid");
    rig.client.set_lease(rig.now, CH, "k8", Some("{}")).expect("valid");
    let refused = rig.client.set_lease(rig.now, CH, "k0", Some("{}")).expect_err("refused");
    assert_eq!(refused.code(), "too_many_leases", "also if the server was not told of its end yet");
    rig.client.set_lease(rig.now, CH, "unknown", None).expect("valid");
    assert_eq!(
        rig.client.typing(rig.now, "dialog:other", true).expect_err("refused").code(),
        "not_subscribed"
    );
    assert_eq!(rig.client.typing(rig.now, "", true).expect_err("refused").code(), "bad_channel");
    assert_eq!(
        rig.client.watch_people(rig.now, "dialog:other").expect_err("refused").code(),
        "not_subscribed"
    );
    assert_eq!(rig.client.watch_people(rig.now, " ").expect_err("refused").code(), "bad_channel");
    rig.client.unwatch_people(rig.now, " ");
    rig.client.unwatch_people(rig.now, "dialog:other");
    rig.client.unwatch_people(rig.now, CH);
    assert!(rig.client.people("dialog:other").is_none());
    rig.drain();
    rig.pass(2_000);
    assert_eq!(sent(&mut rig, "lease").len(), 9);
}
