//! Who is in a channel and what they are doing there: leases.

use crate::rig::{Client, ROOM, Rig, hello};
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::UserKind;
use tidewire_server_core::rules::{Pattern, Rule, Rules, Who};
use tidewire_server_core::store::{Account, Revocation};
use tidewire_server_core::{Hub, ServerLimits};

/// How long a user stays after the last connection was lost, in ms.
const GRACE: u64 = 15_000;

/// The server tells what is due after this time.
fn pass(rig: &mut Rig, ms: u64) {
    rig.pass(ms);
    rig.engine.tick(rig.now.mono);
}

/// A server that started long ago.
fn rig() -> Rig {
    let mut rig = Rig::new();
    pass(&mut rig, 0);
    pass(&mut rig, GRACE);
    rig
}

fn watch(rig: &mut Rig, client: &mut Client) -> Value {
    client.send(rig, &json!({"t": "watch", "ch": ROOM}));
    pass(rig, 100);
    client.next("people")
}

fn watcher(rig: &mut Rig, user: &str) -> Client {
    let mut client = rig.member(user);
    watch(rig, &mut client);
    client
}

fn lease(kind: &str, body: &Value) -> Value {
    json!({"t": "lease", "ch": ROOM, "kind": kind, "body": body})
}

fn typing(on: bool) -> Value {
    json!({"t": "lease", "ch": ROOM, "kind": "typing", "body": on.then(|| json!({})), "for_ms": 6_000})
}

/// `user: kinds` of the listed people, and who is gone as `-user`.
fn told(frame: &Value) -> Vec<String> {
    let people = frame["people"].as_array().unwrap().iter().map(|person| {
        let kinds: Vec<&str> = person["leases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lease| lease["kind"].as_str().unwrap())
            .collect();
        format!("{}: {}", person["user"]["id"].as_str().unwrap(), kinds.join(" "))
    });
    let gone = frame["gone"].as_array().unwrap().iter();
    people.chain(gone.map(|gone| format!("-{}", gone["id"].as_str().unwrap()))).collect()
}

#[test]
fn a_newcomer_gets_the_list_and_everybody_who_watches_the_changes() {
    let mut rig = rig();
    let mut ada = rig.member("ada");
    let list = watch(&mut rig, &mut ada);
    let here = json!([{"kind": "here", "since": rig.now.wall - 100}]);
    let user = json!({"id": "ada", "name": "ada", "kind": "user"});
    assert_eq!(
        list,
        json!({"t": "people", "ch": ROOM, "n": 1, "count": 1, "full": true,
               "people": [{"user": user, "leases": here}], "gone": []})
    );
    let mut bob = rig.member("bob");
    pass(&mut rig, 100);
    let change = ada.next("people");
    assert_eq!((told(&change), &change["count"]), (vec!["bob: here".to_owned()], &json!(2)));
    assert_eq!(change["n"], 2);
    assert!(bob.heard_nothing(), "who does not watch is told nothing");
    let list = watch(&mut rig, &mut bob);
    assert_eq!((told(&list), &list["n"]), (vec!["ada: here".to_owned(), "bob: here".to_owned()], &json!(2)));
    assert!(ada.heard_nothing(), "the list is for the newcomer");

    bob.send(&rig, &lease("status", &json!({"active": true, "task": "search"})));
    pass(&mut rig, 100);
    for client in [&mut ada, &mut bob] {
        let change = client.next("people");
        assert_eq!(told(&change), ["bob: here status"]);
        assert_eq!(change["people"][0]["leases"][1]["body"], json!({"active": true, "task": "search"}));
    }
    // The same again is no change.
    bob.send(&rig, &lease("status", &json!({"active": true, "task": "search"})));
    pass(&mut rig, 100);
    assert!(ada.heard_nothing());
    bob.send(&rig, &json!({"t": "lease", "ch": ROOM, "kind": "status"}));
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["bob: here"]);
    bob.send(&rig, &json!({"t": "unwatch", "ch": ROOM}));
    bob.next("people");
    ada.send(&rig, &json!({"t": "unsub", "ch": ROOM}));
    pass(&mut rig, 100);
    assert!(ada.heard_nothing() && bob.heard_nothing());
    bob.send(&rig, &lease("status", &json!({})));
    pass(&mut rig, 100);
    assert_eq!(told(&watch(&mut rig, &mut bob)), ["bob: here status"], "what changed while nobody watched");
}

#[test]
fn who_leaves_is_gone_at_once_and_who_is_lost_after_the_grace() {
    for (leaving, gone_after) in
        [(json!({"t": "bye"}), 0), (json!({"t": "unsub", "ch": ROOM}), 0), (Value::Null, GRACE)]
    {
        let mut rig = rig();
        let mut ada = watcher(&mut rig, "ada");
        let mut bob = rig.member("bob");
        bob.send(&rig, &lease("status", &json!({})));
        pass(&mut rig, 100);
        assert_eq!(told(&ada.next("people")), ["bob: here status"]);
        match leaving {
            Value::Null => bob.session.end(),
            frame => bob.send(&rig, &frame),
        }
        if gone_after > 0 {
            pass(&mut rig, 100);
            pass(&mut rig, gone_after - 100);
            assert!(ada.heard_nothing(), "{gone_after}: too early");
        }
        pass(&mut rig, 100);
        let change = ada.next("people");
        assert_eq!((told(&change), &change["count"]), (vec!["-bob".to_owned()], &json!(1)));
        // Nothing more is due.
        pass(&mut rig, 60_000);
        assert!(ada.heard_nothing());
    }
}

#[test]
fn who_comes_back_within_the_grace_was_never_gone() {
    let mut rig = rig();
    let mut ada = watcher(&mut rig, "ada");
    let mut bob = rig.member("bob");
    pass(&mut rig, 100);
    ada.next("people");
    for _ in 0..5 {
        bob.session.end();
        pass(&mut rig, GRACE - 200);
        bob = rig.member("bob");
        pass(&mut rig, 100);
        assert!(ada.heard_nothing());
    }
    // Another tab of bob's, of which one is lost and the other leaves.
    let mut tab = rig.member("bob");
    bob.session.end();
    pass(&mut rig, 60_000);
    assert!(ada.heard_nothing());
    tab.send(&rig, &json!({"t": "bye"}));
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["-bob"]);
}

#[test]
fn a_lease_lasts_while_any_connection_of_the_user_holds_it() {
    let mut rig = rig();
    let mut ada = watcher(&mut rig, "ada");
    let (mut one, mut two) = (rig.member("bob"), rig.member("bob"));
    for tab in [&mut one, &mut two] {
        tab.send(&rig, &lease("viewing", &json!({"page": 1})));
    }
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["bob: here viewing"]);
    let give_up = json!({"t": "lease", "ch": ROOM, "kind": "viewing", "body": null});
    one.send(&rig, &give_up);
    pass(&mut rig, 100);
    assert!(ada.heard_nothing());
    // A tab that was lost holds nothing against the one that is there.
    one.send(&rig, &lease("viewing", &json!({"page": 1})));
    one.session.end();
    two.send(&rig, &give_up);
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["bob: here"]);
}

#[test]
fn the_body_that_was_said_last_is_shown_and_goes_with_the_one_who_said_it() {
    let mut rig = rig();
    let mut ada = watcher(&mut rig, "ada");
    let (mut one, mut two) = (rig.member("bob"), rig.member("bob"));
    let number = |rig: &mut Rig, ada: &mut Client| {
        pass(rig, 100);
        ada.next("people")["people"][0]["leases"][1]["body"]["n"].clone()
    };
    one.send(&rig, &lease("status", &json!({"n": 1})));
    assert_eq!(number(&mut rig, &mut ada), 1);
    rig.pass(1_000);
    two.send(&rig, &lease("status", &json!({"n": 2})));
    assert_eq!(number(&mut rig, &mut ada), 2);
    // The first one connects anew and says what it said before.
    rig.pass(5_000);
    one.session.end();
    let mut one = rig.member("bob");
    let mut again = lease("status", &json!({"n": 1}));
    again["age_ms"] = 6_000.into();
    one.send(&rig, &again);
    pass(&mut rig, 100);
    assert!(ada.heard_nothing());
    two.send(&rig, &json!({"t": "bye"}));
    assert_eq!(number(&mut rig, &mut ada), 1);
}

#[test]
fn who_writes_stops_by_a_message_by_saying_so_and_by_silence() {
    let mut rig = rig();
    let mut ada = watcher(&mut rig, "ada");
    let mut bob = rig.member("bob");
    pass(&mut rig, 100);
    ada.next("people");
    let begin = |rig: &mut Rig, ada: &mut Client, bob: &mut Client| {
        bob.send(rig, &typing(true));
        pass(rig, 100);
        let change = ada.next("people");
        assert_eq!(told(&change), ["bob: here typing"]);
        assert_eq!(change["people"][0]["leases"][1]["brief"], true);
    };
    begin(&mut rig, &mut ada, &mut bob);
    bob.send(&rig, &typing(false));
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["bob: here"]);

    begin(&mut rig, &mut ada, &mut bob);
    for _ in 0..4 {
        pass(&mut rig, 3_000);
        bob.send(&rig, &typing(true));
        pass(&mut rig, 100);
        assert!(ada.heard_nothing(), "renewing is no news");
    }
    pass(&mut rig, 5_800);
    assert!(ada.heard_nothing());
    pass(&mut rig, 200);
    assert_eq!(told(&ada.next("people")), ["bob: here"]);

    begin(&mut rig, &mut ada, &mut bob);
    let id = "0193f8a2-4e88-7b9c-8d11-2f6a3e5c7b90";
    bob.send(&rig, &json!({"t": "op", "id": id, "ch": ROOM, "kind": "message", "body": {"text": "hi"}}));
    rig.commit();
    pass(&mut rig, 100);
    ada.next("event");
    assert_eq!(told(&ada.next("people")), ["bob: here"]);
}

#[test]
fn a_server_that_has_just_started_says_that_others_may_still_be_there() {
    let mut rig = Rig::new();
    pass(&mut rig, 0);
    let mut ada = rig.member("ada");
    pass(&mut rig, 5_000);
    assert_eq!(watch(&mut rig, &mut ada)["settle_ms"], GRACE - 5_100);
    pass(&mut rig, GRACE);
    assert_eq!(watch(&mut rig, &mut ada)["settle_ms"], Value::Null);
}

#[test]
fn a_crowd_is_counted_and_not_listed() {
    let mut rig = Rig::with(|engine| {
        engine.limits.connections_per_dialog = 1_000;
        engine.connections = tidewire_server_core::Connections::new(1_000, 10, None, Box::new(|| ()));
    });
    pass(&mut rig, 0);
    let mut ada = watcher(&mut rig, "ada");
    let mut others: Vec<Client> = (1..200).map(|n| rig.member(&format!("u{n}"))).collect();
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")).len(), 199);
    others.push(rig.member("u200"));
    pass(&mut rig, 100);
    let crowd = ada.next("people");
    assert_eq!((&crowd["crowded"], &crowd["count"], told(&crowd).len()), (&json!(true), &json!(201), 0));
    // The count is told once a second.
    let mut leave = |rig: &mut Rig, n: usize| {
        for mut client in others.drain(..n) {
            client.send(rig, &json!({"t": "bye"}));
        }
    };
    // Who comes between two counts is not left with one that nobody else was told.
    let mut zed = rig.member("zed");
    assert_eq!(watch(&mut rig, &mut zed)["count"], 202);
    leave(&mut rig, 1);
    pass(&mut rig, 1_000);
    assert_eq!(zed.next("people")["count"], 201);
    while ada.try_next().is_some() {}
    for _ in 0..10 {
        leave(&mut rig, 1);
        pass(&mut rig, 100);
    }
    pass(&mut rig, 1_000);
    let counts: Vec<u64> =
        std::iter::from_fn(|| ada.try_next()).map(|frame| frame["count"].as_u64().unwrap()).collect();
    assert!(counts.len() <= 3 && counts.last() == Some(&191), "{counts:?}");
    leave(&mut rig, 15);
    pass(&mut rig, 100);
    let list = ada.next("people");
    assert_eq!((&list["full"], told(&list).len()), (&json!(true), 176));
}

#[test]
fn a_list_that_is_too_long_for_a_frame_comes_in_several() {
    let mut rig = rig();
    let (mut ada, mut bob) = (rig.member("ada"), rig.member("bob"));
    let great = json!({"text": "x".repeat(1_000)});
    for n in 0..8 {
        bob.send(&rig, &lease(&format!("kind{n}"), &great));
        ada.send(&rig, &lease(&format!("kind{n}"), &great));
    }
    let others: Vec<Client> = (0..8)
        .map(|n| {
            let mut client = rig.member(&format!("u{n}"));
            (0..8).for_each(|n| client.send(&rig, &lease(&format!("kind{n}"), &great)));
            client
        })
        .collect();
    pass(&mut rig, 100);
    ada.send(&rig, &json!({"t": "watch", "ch": ROOM}));
    pass(&mut rig, 100);
    let frames: Vec<Value> = std::iter::from_fn(|| ada.try_next()).collect();
    let shape: Vec<(bool, bool)> =
        frames.iter().map(|frame| (frame["full"] == true, frame["more"] == true)).collect();
    assert_eq!(shape, [(true, true), (false, false)]);
    assert_eq!(frames.iter().map(|frame| told(frame).len()).sum::<usize>(), others.len() + 2);
}

#[test]
fn what_is_not_valid_or_not_allowed_is_said_and_changes_nothing() {
    let big = "x".repeat(1_100);
    let mut deep = json!({});
    for _ in 0..24 {
        deep = json!({ "a": deep });
    }
    for (frame, code) in [
        (json!({"t": "lease", "ch": ROOM, "kind": "here", "body": {}}), "bad_frame"),
        (json!({"t": "lease", "ch": ROOM, "kind": "", "body": {}}), "bad_frame"),
        (json!({"t": "lease", "ch": ROOM, "kind": "a", "body": []}), "bad_frame"),
        (json!({"t": "lease", "ch": ROOM, "kind": "a", "body": "x"}), "bad_frame"),
        (json!({"t": "lease", "ch": ROOM, "kind": 1, "body": {}}), "bad_frame"),
        (json!({"t": "lease", "ch": ROOM, "kind": "a", "body": {}, "for_ms": -1}), "bad_frame"),
        (json!({"t": "lease", "kind": "a", "body": {}}), "bad_frame"),
        (json!({"t": "lease", "ch": ROOM, "kind": "x".repeat(65), "body": {}}), "too_large"),
        (json!({"t": "lease", "ch": ROOM, "kind": "a", "body": {"x": big}}), "too_large"),
        (json!({"t": "lease", "ch": ROOM, "kind": "a", "body": deep}), "too_deep"),
        (json!({"t": "lease", "ch": "dialog:other", "kind": "a", "body": {}}), "not_subscribed"),
        (json!({"t": "watch", "ch": "dialog:other"}), "not_subscribed"),
        (json!({"t": "watch", "ch": "no spaces here"}), "bad_frame"),
        (json!({"t": "watch"}), "bad_frame"),
    ] {
        let mut rig = rig();
        let mut ada = watcher(&mut rig, "ada");
        ada.send(&rig, &frame);
        assert_eq!(ada.next("error")["code"], code, "{frame}");
        pass(&mut rig, 100);
        assert!(ada.heard_nothing(), "{frame}");
    }
    let mut rig = rig();
    let mut ada = watcher(&mut rig, "ada");
    for n in 0..8 {
        ada.send(&rig, &lease(&n.to_string(), &json!({})));
    }
    ada.send(&rig, &lease("9", &json!({})));
    assert_eq!(ada.next("error")["code"], "too_many_leases");
    ada.send(&rig, &typing(true));
    ada.send(&rig, &typing(false));
    assert!(ada.heard_nothing(), "writing is always possible");
    // Any length of time is brought into its bounds.
    ada.send(&rig, &json!({"t": "lease", "ch": ROOM, "kind": "1", "body": {}, "for_ms": 1_u64 << 53}));
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["ada: 0 1 2 3 4 5 6 7 here"]);
    pass(&mut rig, 3_600_000);
    assert_eq!(told(&ada.next("people")), ["ada: 0 2 3 4 5 6 7 here"]);
}

#[test]
fn a_flood_of_leases_is_held_back_with_a_code() {
    let rig = rig();
    let mut ada = rig.member("ada");
    let burst = ServerLimits::default().signals.burst;
    for n in 0..burst + 5 {
        ada.send(&rig, &lease("status", &json!({ "n": n })));
    }
    for _ in 0..5 {
        let error = ada.next("error");
        assert_eq!((&error["code"], &error["retry_after_ms"]), (&json!("rate_limited"), &json!(10_000)));
    }
    assert!(ada.heard_nothing());
}

fn who(words: &[&str]) -> Vec<Who> {
    words.iter().map(|word| Who::parse(word).unwrap()).collect()
}

fn rule(people: bool) -> Rule {
    let rule = Rule::new(Pattern::parse("dialog:room").unwrap(), who(&["everyone"]));
    Rule { write: who(&["role:writer"]), people, ..rule }
}

fn with_rule(people: bool) -> Rig {
    let rules = Rules::new([], vec![rule(people)]).unwrap();
    let mut rig = Rig::with(|engine| engine.hub = Arc::new(Hub::new(rules)));
    pass(&mut rig, 0);
    pass(&mut rig, GRACE);
    rig
}

#[test]
fn who_may_only_read_is_seen_and_holds_nothing() {
    let mut rig = with_rule(true);
    let mut ada = watcher(&mut rig, "ada");
    let mut eve = rig.connect();
    eve.send(&rig, &hello("eve||roles=writer", &json!([{"ch": ROOM}])));
    eve.next("welcome");
    eve.next("sub_ok");
    ada.send(&rig, &lease("status", &json!({})));
    assert_eq!(ada.next("error")["code"], "forbidden");
    eve.send(&rig, &lease("status", &json!({})));
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["eve: here status"]);
    // Her rights end in the middle of it.
    eve.send(&rig, &json!({"t": "auth", "token": "eve"}));
    eve.next("auth_ok");
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["eve: here"]);
    let gone = Revocation {
        account: Account::Own,
        user: format!("{}:eve", UserKind::User.as_str()),
        dialog: None,
        since_ms: rig.now.wall,
    };
    rig.engine.revoke(gone, Box::new(|_| ()));
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")), ["-eve"]);
}

#[test]
fn a_rule_without_people_tells_nothing_and_says_so() {
    let mut rig = with_rule(false);
    let mut ada = rig.connect();
    ada.send(&rig, &hello("ada||roles=writer", &json!([{"ch": ROOM}])));
    ada.next("welcome");
    ada.next("sub_ok");
    let refused = watch(&mut rig, &mut ada);
    assert_eq!((&refused["refused"], told(&refused).len()), (&json!("people_off"), 0));
    ada.send(&rig, &lease("status", &json!({})));
    assert_eq!(ada.next("error")["code"], "people_off");
    // The rule changes: clients are asked to connect anew, because nobody knows who is there.
    rig.engine.set_rules(Rules::new([], vec![rule(true)]).unwrap(), 2_000);
    assert_eq!(ada.next("goaway")["reason"], "rules");
    pass(&mut rig, 100);
    assert_eq!(told(&ada.next("people")).len(), 0);
    let mut again = rig.member("ada");
    assert_eq!(told(&watch(&mut rig, &mut again)), ["ada: here"]);
    rig.engine.set_rules(Rules::new([], vec![rule(false)]).unwrap(), 2_000);
    pass(&mut rig, 100);
    assert_eq!(again.next("people")["refused"], "people_off");
}

#[test]
fn a_watcher_with_a_full_queue_gets_the_list_once_it_reads() {
    let mut rig = Rig::with(|engine| engine.limits.queue_messages = 8);
    pass(&mut rig, 0);
    let mut ada = watcher(&mut rig, "ada");
    let mut bob = rig.member("bob");
    for n in 0..6 {
        bob.send(&rig, &lease("status", &json!({ "n": n })));
        pass(&mut rig, 100);
    }
    pass(&mut rig, 2_000);
    let frames: Vec<Value> = std::iter::from_fn(|| ada.try_next()).collect();
    assert!(frames.len() <= 4, "{frames:?}");
    pass(&mut rig, 2_000);
    let list = ada.next("people");
    assert_eq!((&list["full"], &list["people"][1]["leases"][1]["body"]["n"]), (&json!(true), &json!(5)));
}
