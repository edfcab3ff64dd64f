//! Subscriptions: dense, without a gap, without a double, from the cursor.

use crate::rig::*;
use serde_json::{Value, json};
use tidewire_core::*;

fn page(from: u64, head: u64, events: Vec<Value>, more: bool) -> Value {
    json!({"t":"page","ch":"dialog:demo","from":from,"head":head,"events":events,"more":more,"runs":[]})
}

fn texts(rig: &Rig) -> Vec<String> {
    rig.rows().iter().map(|row| row.text.clone()).collect()
}

/// Has the client connect with `demo` open, as far as the welcome.
fn welcomed() -> Rig {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").expect("a valid name");
    rig.connect();
    rig.welcome();
    rig
}

#[test]
fn a_first_subscription_starts_with_the_tail_and_becomes_live() {
    let mut rig = welcomed();
    rig.receive(sub_ok("fresh", 7, 9, vec![message(8, "a"), message(9, "b")]));
    assert_eq!(texts(&rig), ["a", "b"]);
    assert_eq!(rig.channel_states(), [ChannelState::Syncing, ChannelState::Live]);
    rig.receive(message(10, "c"));
    assert_eq!(texts(&rig), ["a", "b", "c"]);
}

#[test]
fn a_reconnect_resumes_from_the_cursor() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    rig.cut();
    let hello = rig.redial(2_000);
    assert_eq!(hello["subs"][0], json!({"ch":"dialog:demo","epoch":"e1","offset":1,"tail":50}));
    rig.welcome();
    rig.receive(sub_ok("resumed", 1, 3, vec![message(2, "b"), message(3, "c")]));
    assert_eq!(texts(&rig), ["a", "b", "c"]);
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
}

#[test]
fn pages_are_asked_until_the_head() {
    let mut rig = welcomed();
    let mut first = sub_ok("fresh", 0, 5, vec![message(1, "1"), message(2, "2")]);
    first["more"] = true.into();
    rig.receive(first);
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"next","ch":"dialog:demo","from":2}));
    rig.receive(page(2, 5, vec![message(3, "3"), message(4, "4")], true));
    assert_eq!(rig.sent.pop_back().unwrap()["from"], 4);
    assert_ne!(rig.channel_states().last(), Some(&ChannelState::Live));
    rig.receive(page(4, 5, vec![message(5, "5")], false));
    assert_eq!(texts(&rig), ["1", "2", "3", "4", "5"]);
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
}

#[test]
fn an_event_that_comes_twice_is_dropped_and_counted() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    rig.receive(message(1, "a"));
    rig.receive(message(2, "b"));
    rig.receive(message(1, "a"));
    assert_eq!(texts(&rig), ["a", "b"]);
    assert_eq!(rig.client.explain().counters.duplicated, 2);
}

#[test]
fn an_event_under_a_second_offset_is_shown_once() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    let mut again = message(2, "a");
    again["id"] = "event-1".into();
    rig.receive(again);
    rig.receive(message(3, "b"));
    assert_eq!(texts(&rig), ["a", "b"]);
}

#[test]
fn a_gap_is_repaired_before_anything_after_it_is_shown() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    rig.receive(message(4, "d"));
    assert_eq!(texts(&rig), ["a"]);
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"next","ch":"dialog:demo","from":1}));
    rig.receive(message(5, "e"));
    assert!(rig.sent.is_empty(), "one repair at a time");
    rig.receive(page(1, 5, vec![message(2, "b"), message(3, "c"), message(4, "d"), message(5, "e")], false));
    assert_eq!(texts(&rig), ["a", "b", "c", "d", "e"]);
    rig.receive(message(6, "f"));
    assert_eq!(texts(&rig).len(), 6);
}

#[test]
fn repairs_that_bring_nothing_end_in_a_reset_that_is_told() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    for _ in 0..3 {
        rig.receive(message(9, "far"));
        assert_eq!(rig.sent.pop_back().unwrap()["t"], "next");
        rig.receive(page(1, 9, vec![message(5, "not dense")], false));
    }
    let sub = rig.sent.pop_back().unwrap();
    assert_eq!(sub, json!({"t":"sub","ch":"dialog:demo","tail":50}));
    rig.receive(sub_ok("fresh", 8, 9, vec![message(9, "far")]));
    assert_eq!(texts(&rig), ["far"]);
    assert!(rig.channel_states().contains(&ChannelState::Reset { reason: "gap".into(), missed: 0 }));
}

#[test]
fn another_epoch_forgets_the_rows_and_says_so() {
    let mut rig = Rig::online();
    rig.receive(message(1, "old"));
    let waiting = rig.send("mine");
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    let mut reset = sub_ok("reset", 0, 1, vec![message(1, "new")]);
    reset["epoch"] = "e2".into();
    reset["reason"] = "epoch".into();
    rig.receive(reset);
    assert_eq!(rig.shown(), ["new:sent", "mine:sending"]);
    assert!(rig.channel_states().contains(&ChannelState::Reset { reason: "epoch".into(), missed: 0 }));
    assert_eq!(rig.store.channels[0].epoch, "e2");
    assert_eq!(rig.store.channels[0].events.len(), 1);
    rig.ok(&waiting, 2);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn a_resume_that_does_not_fit_the_cursor_is_not_believed() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.receive(sub_ok("resumed", 5, 6, vec![message(6, "f")]));
    assert_eq!(texts(&rig), ["a"]);
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"sub","ch":"dialog:demo","tail":50}));
}

#[test]
fn the_cursor_in_the_store_is_never_ahead_of_what_was_applied() {
    let mut rig = Rig::online();
    for offset in 1..=500 {
        rig.receive(message(offset, &offset.to_string()));
        let kept = &rig.store.channels[0];
        assert_eq!(kept.cursor, offset);
        let last: Value = serde_json::from_str(kept.events.last().unwrap()).unwrap();
        assert_eq!(last["offset"], offset);
        assert!(kept.events.len() <= 200);
    }
    let mut rig = Rig::restored(rig.store.clone());
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(rig.rows().len(), 200, "what was seen is there before the connection is");
    assert_eq!(rig.connect()["subs"][0]["offset"], 500);
}

#[test]
fn a_refusal_for_now_is_asked_again_and_a_refusal_for_good_is_not() {
    let mut rig = welcomed();
    rig.receive(json!({"t":"sub_err","ch":"dialog:demo","code":"store_unavailable","message":"","retryable":true,"retry_after_ms":2000}));
    assert!(rig.sent.is_empty());
    rig.pass(1_999);
    assert!(rig.sent.is_empty(), "the server's floor is kept");
    rig.pass(1_001);
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "sub");
    rig.receive(
        json!({"t":"sub_err","ch":"dialog:demo","code":"forbidden","message":"not yours","retryable":false}),
    );
    let failed = ChannelState::Failed { code: "forbidden".into(), message: "not yours".into() };
    assert_eq!(rig.channel_states().last(), Some(&failed));
    rig.pass(30_000);
    assert!(!rig.sent.iter().any(|frame| frame["t"] == "sub"));
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "sub", "opening it again asks again");
}

#[test]
fn what_may_no_longer_be_read_is_forgotten_here_too() {
    let mut rig = Rig::online();
    rig.receive(message(1, "secret"));
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.receive(json!({"t":"sub_err","ch":"dialog:demo","code":"forbidden","message":"","retryable":false}));
    assert!(rig.rows().is_empty());
    assert!(rig.store.channels.is_empty());
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn a_subscription_that_is_never_answered_is_asked_again() {
    let mut rig = welcomed();
    for _ in 0..3 {
        rig.pass(15_000);
        assert!(rig.sent.iter().any(|frame| frame["t"] == "sub"));
        rig.sent.clear();
        rig.receive(json!({"t":"pong","n":"1"}));
    }
}

#[test]
fn another_user_sees_nothing_of_the_one_before() {
    let mut rig = Rig::online();
    rig.receive(message(1, "for ada"));
    rig.cut();
    rig.redial(2_000);
    rig.receive(welcome("eve"));
    assert!(rig.rows().is_empty());
    assert!(rig.store.channels.is_empty());
    rig.receive(sub_ok("resumed", 1, 1, vec![]));
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"sub","ch":"dialog:demo","tail":50}));
}

#[test]
fn a_plain_channel_hands_its_events_on_and_keeps_its_cursor() {
    let mut rig = Rig::new();
    rig.client.subscribe(rig.now, "news").unwrap();
    rig.connect();
    rig.welcome();
    rig.receive(json!({"t":"sub_ok","ch":"news","epoch":"e","mode":"fresh","from":4,"head":4,"events":[],"more":false,"runs":[]}));
    rig.receive(json!({"t":"event","ch":"news","offset":5,"id":"n","kind":"headline","at":1,"by":user("x"),"body":{"z":1.0,"a":2}}));
    let received = rig.events.iter().find_map(|event| match event {
        Event::Received(event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!(received.unwrap().body, r#"{"a":2,"z":1.0}"#);
    let mut rig = Rig::restored(rig.store.clone());
    rig.client.subscribe(rig.now, "news").unwrap();
    assert_eq!(rig.connect()["subs"][0], json!({"ch":"news","epoch":"e","offset":5,"tail":50}));
}

#[test]
fn an_ended_subscription_leaves_nothing_behind() {
    let mut rig = Rig::online();
    rig.client.close_dialog(rig.now, "demo");
    rig.drain();
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"unsub","ch":"dialog:demo"}));
    rig.receive(message(1, "late"));
    assert!(rig.rows().is_empty());
    rig.cut();
    assert_eq!(rig.redial(2_000)["subs"], json!([]));
}

#[test]
fn bad_names_and_too_many_subscriptions_are_refused() {
    let mut rig = Rig::new();
    assert_eq!(rig.client.open_dialog(rig.now, "a b").unwrap_err().code(), "bad_channel");
    for n in 0..100 {
        rig.client.subscribe(rig.now, &format!("c{n}")).unwrap();
    }
    assert_eq!(rig.client.subscribe(rig.now, "one-more").unwrap_err().code(), "too_many_subscriptions");
    rig.client.subscribe(rig.now, "c7").unwrap();
}

#[test]
fn events_of_nobodys_channel_are_ignored() {
    let mut rig = Rig::online();
    let mut stray = message(1, "x");
    stray["ch"] = "dialog:other".into();
    rig.receive(stray);
    rig.receive(json!({"t":"page","ch":"dialog:other","from":0,"head":0,"events":[],"more":true,"runs":[]}));
    assert!(rig.rows().is_empty() && rig.sent.is_empty());
}

#[test]
fn a_dialog_closed_and_opened_again_keeps_no_hole_for_the_next_start() {
    let mut rig = Rig::online();
    rig.receive(message(1, "a"));
    rig.client.close_dialog(rig.now, "demo");
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    rig.receive(sub_ok("fresh", 8, 9, vec![message(9, "i")]));
    let mut rig = Rig::restored(rig.store.clone());
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(texts(&rig), ["i"]);
}

#[test]
fn a_last_page_below_the_head_is_not_taken_for_the_last() {
    let mut rig = Rig::online();
    rig.receive(message(3, "c"));
    rig.sent.clear();
    rig.receive(page(0, 3, vec![message(1, "a")], false));
    assert_eq!(rig.sent.pop_back(), Some(json!({"t":"next","ch":"dialog:demo","from":1})));
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Syncing));
    rig.receive(page(1, 3, vec![message(2, "b"), message(3, "c")], false));
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
}

#[test]
fn a_repair_is_never_silent() {
    let mut rig = Rig::online();
    rig.receive(message(3, "c"));
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Syncing));
    rig.receive(page(0, 3, vec![message(1, "a"), message(2, "b"), message(3, "c")], false));
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
}

#[test]
fn a_store_that_failed_once_never_holds_a_hole() {
    let mut rig = Rig::online();
    let kept = |rig: &Rig| -> Vec<u64> {
        let events = rig.store.channels.first().map(|kept| kept.events.clone()).unwrap_or_default();
        events
            .iter()
            .map(|text| serde_json::from_str::<Value>(text).unwrap()["offset"].as_u64().unwrap())
            .collect()
    };
    rig.receive(message(1, "a"));
    rig.disk = Some(Err(StoreError::Full));
    rig.receive(message(2, "b"));
    rig.disk = Some(Ok(()));
    rig.receive(message(3, "c"));
    rig.receive(message(4, "d"));
    assert_eq!(kept(&rig), [3, 4]);
    assert_eq!(rig.store.channels[0].cursor, 4);

    // A slow store gets one change at a time, and all of it in the end.
    rig.disk = None;
    for offset in 5..=9 {
        rig.receive(message(offset, "x"));
    }
    let under_way = |rig: &Rig| {
        rig.stores.iter().filter(|(_, change)| matches!(change, StoreChange::PutEvents { .. })).count()
    };
    let before = under_way(&rig);
    let (store, change) = rig.stores.last().unwrap().clone();
    rig.store.apply(&change);
    rig.disk = Some(Ok(()));
    rig.feed(Input::Stored { store, result: Ok(()) });
    assert_eq!(under_way(&rig), before + 1);
    assert_eq!(kept(&rig), [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn the_greatest_offset_there_is_harms_nobody() {
    let mut rig = welcomed();
    let last = u64::MAX;
    rig.receive(sub_ok("fresh", last - 1, last, vec![message(last, "the last")]));
    assert_eq!(texts(&rig), ["the last"]);
    rig.receive(message(last, "once more"));
    rig.receive(message(1, "the first"));
    assert_eq!(texts(&rig), ["the last"]);
}

#[test]
fn a_subscription_refused_for_now_is_asked_for_less_and_less_often() {
    let mut rig = Rig::online();
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    let mut waits = vec![];
    for _ in 0..10 {
        rig.sent.clear();
        rig.receive(json!({"t":"sub_err","ch":"dialog:demo","code":"store_unavailable","message":"","retryable":true}));
        let mut waited = 0;
        while !rig.sent.iter().any(|frame| frame["t"] == "sub") {
            rig.pass(50);
            rig.receive(json!({"t":"ping","n":"1"}));
            waited += 50;
            assert!(waited <= 31_000, "{waits:?}");
        }
        waits.push(waited);
    }
    assert!(waits[..2].iter().all(|waited| *waited <= 2_050), "{waits:?}");
    assert!(waits[5..].iter().any(|waited| *waited > 4_000), "{waits:?}");
}

#[test]
fn the_late_answer_to_a_subscription_that_ended_is_not_taken_for_the_next_ones() {
    let mut rig = welcomed();
    rig.client.close_dialog(rig.now, "demo");
    rig.drain();
    rig.sent.clear();
    // Opened again; before the subscription goes out the answer to the former one comes.
    rig.client.open_dialog(rig.now, "demo").expect("a valid name");
    rig.receive(sub_ok("fresh", 0, 1, vec![message(1, "a")]));
    assert_ne!(rig.channel_states().last(), Some(&ChannelState::Live));
    assert_eq!(rig.sent.iter().filter(|frame| frame["t"] == "sub").count(), 1);
    rig.receive(sub_ok("fresh", 0, 2, vec![message(1, "a"), message(2, "b")]));
    assert_eq!(texts(&rig), ["a", "b"]);
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
}

#[test]
fn a_dialog_is_live_only_once_its_rows_are_told() {
    let mut rig = Rig::online();
    let id = rig.send("mine");
    rig.cut();
    rig.redial(60_000);
    rig.welcome();
    rig.events.clear();
    // The answer to the op overtakes the page that has what came before it.
    rig.ok(&id, 2);
    rig.receive(sub_ok("resumed", 0, 2, vec![message(1, "first"), own(2, &id, "mine")]));
    let (mut rows, mut live) = (rig.rows().len() - 1, false);
    for event in &rig.events {
        match event {
            Event::Channel { state, .. } => live = *state == ChannelState::Live,
            Event::Dialog { changes, .. } => {
                assert!(!live, "whoever sees it live has all rows");
                rows += changes.iter().filter(|change| matches!(change, Change::Insert { .. })).count();
            }
            _ => {}
        }
    }
    assert_eq!((live, rows, rig.rows().len()), (true, 2, 2));
}

#[test]
fn who_had_nothing_loses_nothing_by_an_answer_that_makes_no_sense() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").expect("a valid name");
    rig.connect();
    rig.welcome();
    // It resumes from a cursor that the client does not have: subscribed again.
    rig.receive(sub_ok("resumed", 5, 5, vec![]));
    assert_eq!(rig.sent.pop_back().expect("again")["t"], "sub");
    rig.receive(sub_ok("fresh", 0, 1, vec![message(1, "first")]));
    assert_eq!(rig.shown(), ["first:sent"]);
    let resets = rig.channel_states().into_iter().filter(|state| matches!(state, ChannelState::Reset { .. }));
    assert_eq!(resets.count(), 0);
}
