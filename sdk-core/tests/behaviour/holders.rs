//! Who shares a dialog or a channel: it ends with its last holder, and not before.

use crate::rig::*;
use serde_json::json;
use tidewire_core::tables::TableEvent;
use tidewire_core::*;

fn received(rig: &Rig) -> Vec<u64> {
    let offset = |event: &Event<TableEvent>| match event {
        Event::Received(frame) => Some(frame.offset.0),
        _ => None,
    };
    rig.events.iter().filter_map(offset).collect()
}

#[test]
fn a_dialog_lives_until_its_last_holder_lets_go() {
    let mut rig = Rig::online();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.client.close_dialog(rig.now, "demo");
    rig.drain();
    rig.receive(message(1, "still here"));
    let id = rig.send("mine");
    rig.ok(&id, 2);
    assert_eq!(rig.shown(), ["still here:sent", "mine:sent"]);
    assert!(!rig.sent.iter().any(|frame| frame["t"] == "unsub"));
    rig.client.close_dialog(rig.now, "demo");
    rig.drain();
    assert_eq!(rig.sent.back(), Some(&json!({"t":"unsub","ch":"dialog:demo"})));
    assert!(rig.rows().is_empty());
}

#[test]
fn letting_go_more_often_than_one_held_ends_nothing_of_a_later_holder() {
    let mut rig = Rig::online();
    for _ in 0..3 {
        rig.client.close_dialog(rig.now, "demo");
        rig.client.unsubscribe(rig.now, "dialog:demo");
    }
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.client.unsubscribe(rig.now, "dialog:demo");
    rig.drain();
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    rig.receive(message(1, "hello"));
    assert_eq!(rig.shown(), ["hello:sent"]);
}

#[test]
fn rows_opened_beside_events_begin_with_what_came_before_and_tell_nobody_twice() {
    let mut rig = Rig::new();
    rig.client.subscribe(rig.now, "dialog:demo").unwrap();
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    rig.receive(message(1, "one"));
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(rig.sent.back(), Some(&json!({"t":"sub","ch":"dialog:demo","tail":50})));
    rig.receive(sub_ok("fresh", 0, 2, vec![message(1, "one"), message(2, "two")]));
    rig.receive(message(3, "three"));
    assert_eq!(rig.shown(), ["one:sent", "two:sent", "three:sent"]);
    assert_eq!(received(&rig), [1, 2, 3]);
    // Each kind of holder ends for itself.
    rig.client.close_dialog(rig.now, "demo");
    rig.drain();
    rig.receive(message(4, "four"));
    assert_eq!(received(&rig), [1, 2, 3, 4]);
    assert!(rig.rows().is_empty());
}

#[test]
fn events_followed_beside_rows_come_from_then_on() {
    let mut rig = Rig::online();
    rig.receive(message(1, "one"));
    rig.client.subscribe(rig.now, "dialog:demo").unwrap();
    rig.receive(message(2, "two"));
    assert_eq!(received(&rig), [2]);
    assert_eq!(rig.shown(), ["one:sent", "two:sent"]);
}

#[test]
fn a_channel_that_is_shown_begins_with_what_is_stored_and_goes_on_from_there() {
    let mut rig = Rig::new();
    assert!(rig.client.open_channel(rig.now, "dialog:demo").unwrap().is_empty());
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 1, vec![message(1, "one")]));
    rig.receive(message(2, "two"));
    assert_eq!(received(&rig), [1, 2]);
    let mut rig = Rig::restored(rig.store.clone());
    let stored = rig.client.open_channel(rig.now, "dialog:demo").unwrap();
    assert_eq!(stored.iter().map(|event| event.offset.0).collect::<Vec<_>>(), [1, 2]);
    let hello = rig.connect();
    assert_eq!(hello["subs"][0], json!({"ch":"dialog:demo","epoch":"e1","offset":2,"tail":50}));
    rig.welcome();
    rig.receive(sub_ok("resumed", 2, 3, vec![message(3, "three")]));
    assert_eq!(received(&rig), [3]);
    // A second holder gets nothing again.
    assert!(rig.client.open_channel(rig.now, "dialog:demo").unwrap().is_empty());
    rig.drain();
    assert_eq!(received(&rig), [3]);
}

#[test]
fn events_shown_beside_rows_begin_with_what_came_before_and_the_rows_stay_as_they_are() {
    let mut rig = Rig::online();
    rig.receive(message(1, "one"));
    rig.client.open_channel(rig.now, "dialog:demo").unwrap();
    rig.drain();
    assert_eq!(rig.sent.back(), Some(&json!({"t":"sub","ch":"dialog:demo","tail":50})));
    rig.receive(sub_ok("fresh", 0, 2, vec![message(1, "one"), message(2, "two")]));
    rig.receive(message(3, "three"));
    assert_eq!(received(&rig), [1, 2, 3]);
    assert_eq!(rig.shown(), ["one:sent", "two:sent", "three:sent"]);
    let reset =
        |event: &Event<TableEvent>| matches!(event, Event::Channel { state: ChannelState::Reset { .. }, .. });
    assert!(!rig.events.iter().any(reset));
}

#[test]
fn holders_of_events_are_told_when_what_loads_the_rows_does_not_follow_theirs() {
    for (epoch, from, reason, missed) in [("e1", 3, "gap", 2), ("e2", 0, "epoch", 0)] {
        let mut rig = Rig::new();
        rig.client.subscribe(rig.now, "dialog:demo").unwrap();
        rig.connect();
        rig.welcome();
        rig.receive(sub_ok("fresh", 0, 1, vec![message(1, "one")]));
        rig.client.open_dialog(rig.now, "demo").unwrap();
        rig.drain();
        let mut answer = sub_ok("fresh", from, from + 1, vec![message(from + 1, "later")]);
        answer["epoch"] = epoch.into();
        rig.receive(answer);
        assert_eq!(received(&rig), [1, from + 1]);
        let told = rig.events.iter().find_map(|event| match event {
            Event::Channel { state: ChannelState::Reset { reason, missed }, .. } => {
                Some((reason.clone(), *missed))
            }
            _ => None,
        });
        assert_eq!(told, Some((reason.to_owned(), missed)));
    }
}

#[test]
fn an_op_of_a_kind_with_too_long_a_name_is_refused_at_once() {
    let mut rig = Rig::online();
    assert_eq!(rig.client.send(rig.now, "news", &"k".repeat(65), "{}").unwrap_err().code(), "too_large");
    assert!(rig.client.send(rig.now, "news", &"k".repeat(64), "{}").is_ok());
}
