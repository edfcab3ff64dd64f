//! Events before those that are shown.

use crate::rig::*;
use serde_json::{Value, json};
use tidewire_core::*;

/// A client whose dialog shows the messages 8 and 9 of 9.
fn online() -> Rig {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").expect("a valid name");
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 7, 9, vec![message(8, "8"), message(9, "9")]));
    rig.sent.clear();
    rig
}

fn past(from: u64, events: Vec<Value>, more: bool) -> Value {
    json!({"t":"past","ch":"dialog:demo","from":from,"head":9,"events":events,"more":more,"runs":[]})
}

fn load(rig: &mut Rig, before: Option<u64>, most: u64) -> u64 {
    let before = before.map(Offset);
    let asked = rig.client.load_older(rig.now, "dialog:demo", before, most).expect("it is open");
    rig.drain();
    asked.0
}

fn sub_err(code: &str, retryable: bool) -> Value {
    json!({"t":"sub_err","ch":"dialog:demo","code":code,"message":"","retryable":retryable})
}

fn texts(rig: &Rig) -> Vec<String> {
    rig.rows().iter().map(|row| row.text.clone()).collect()
}

/// What was answered: the request, whether rows joined, how many events, whether there are more.
fn answers(rig: &mut Rig) -> Vec<(u64, bool, usize, bool)> {
    let older = |event| match event {
        Event::Older { before, events, joined, more, .. } => Some((before.0, joined, events.len(), more)),
        _ => None,
    };
    std::mem::take(&mut rig.events).into_iter().filter_map(older).collect()
}

#[test]
fn older_rows_come_before_those_that_are_shown_until_there_are_none() {
    let mut rig = online();
    assert!(rig.client.has_older("demo"));
    assert_eq!(load(&mut rig, None, 2), 8);
    assert_eq!(load(&mut rig, None, 2), 8, "the same request");
    assert_eq!(rig.sent, [json!({"t":"prev","ch":"dialog:demo","before":8,"most":2})]);
    rig.receive(past(5, vec![message(6, "6"), message(7, "7")], true));
    assert_eq!(texts(&rig), ["6", "7", "8", "9"]);
    assert_eq!(answers(&mut rig), [(8, true, 2, true)]);
    rig.receive(message(10, "10"));
    load(&mut rig, None, 200);
    rig.receive(past(2, vec![message(3, "3"), message(4, "4"), message(5, "5")], false));
    assert_eq!(texts(&rig), ["3", "4", "5", "6", "7", "8", "9", "10"]);
    assert_eq!(answers(&mut rig), [(6, true, 3, false)]);
    assert!(!rig.client.has_older("demo"), "what was before was trimmed");
    rig.sent.clear();
    load(&mut rig, None, 50);
    assert_eq!((answers(&mut rig), rig.sent.len()), (vec![(3, true, 0, false)], 0));
}

#[test]
fn a_request_waits_for_the_connection_and_is_sent_again_by_the_next() {
    let mut rig = online();
    load(&mut rig, None, 50);
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.sent.clear();
    assert!(rig.sent.is_empty(), "not before the channel is live");
    rig.receive(sub_ok("resumed", 9, 9, vec![]));
    assert_eq!(rig.sent, [json!({"t":"prev","ch":"dialog:demo","before":8,"most":50})]);
    // The server has no time for it.
    let mut later = past(7, vec![], true);
    later["retry_after_ms"] = 3_000.into();
    rig.receive(later);
    rig.sent.clear();
    rig.pass(2_900);
    assert_eq!((rig.sent.len(), answers(&mut rig).len()), (0, 0));
    rig.pass(200);
    assert_eq!(rig.sent[0]["t"], "prev");
    rig.sent.clear();
    rig.pass(16_000);
    assert_eq!(rig.sent.iter().filter(|frame| frame["t"] == "prev").count(), 1, "without an answer, again");
}

#[test]
fn a_request_ends_without_events_when_the_log_is_another_one_or_may_not_be_read() {
    let mut rig = online();
    load(&mut rig, None, 50);
    rig.receive(sub_err("forbidden", false));
    assert_eq!(answers(&mut rig), [(8, false, 0, true)]);
    // An answer that nobody waits for any more changes nothing.
    rig.receive(past(5, vec![message(6, "6"), message(7, "7")], true));
    assert_eq!((texts(&rig).len(), answers(&mut rig).len()), (0, 0));
    assert!(!rig.client.has_older("demo"));
    let before = load(&mut rig, Some(5), 50);
    assert_eq!(answers(&mut rig), [(before, false, 0, true)], "nobody may read it");

    let mut rig = online();
    load(&mut rig, None, 50);
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    let mut reset = sub_ok("reset", 1, 1, vec![]);
    reset["epoch"] = "e2".into();
    rig.receive(reset);
    assert_eq!(answers(&mut rig), [(8, false, 0, true)]);
    assert_eq!(rig.sent.iter().filter(|frame| frame["t"] == "prev").count(), 0, "it is not sent again");
}

#[test]
fn hostile_requests_are_refused_or_bounded() {
    let mut rig = online();
    let (closed, bad) = ("dialog:other", "no channel");
    for (channel, code) in [(closed, "not_subscribed"), (bad, "bad_channel")] {
        let refused = rig.client.load_older(rig.now, channel, None, 1).expect_err("not open");
        assert_eq!(refused.code(), code);
    }
    assert_eq!(load(&mut rig, Some(u64::MAX), u64::MAX), 10, "never beyond the newest event");
    assert_eq!(load(&mut rig, Some(0), 0), 0);
    assert_eq!(answers(&mut rig), [(0, true, 0, false)]);
    // Answers that don't fit: to another request, with a hole, of another channel.
    load(&mut rig, None, 50);
    rig.receive(past(3, vec![message(4, "4")], true));
    rig.receive(past(4, vec![message(5, "5"), message(6, "6")], true));
    rig.receive(past(5, vec![message(6, "6"), message(8, "8")], true));
    assert_eq!((texts(&rig).len(), answers(&mut rig).len()), (2, 0));
    rig.receive(past(5, vec![message(6, "6"), message(7, "7")], true));
    assert_eq!(texts(&rig), ["6", "7", "8", "9"]);
}

#[test]
fn an_answer_that_began_before_the_rows_asks_for_nothing_until_its_start_is_loaded() {
    let mut rig = online();
    rig.receive(piece("run-1", 4, "more"));
    assert_eq!((rig.sent.len(), rig.channel_states().last()), (0, Some(&ChannelState::Live)));
    load(&mut rig, None, 1);
    rig.sent.clear();
    rig.receive(past(6, vec![start(7, "run-1")], true));
    assert_eq!(rig.rows()[0].state, RowState::Streaming);
    // The text so far comes with a page.
    rig.receive(piece("run-1", 8, "and more"));
    assert_eq!(rig.sent, [json!({"t":"next","ch":"dialog:demo","from":9})]);
    let runs = json!([{"run":"run-1","text":"all of it"}]);
    rig.receive(
        json!({"t":"page","ch":"dialog:demo","from":9,"head":9,"events":[],"more":false,"runs":runs}),
    );
    assert_eq!(rig.rows()[0].text, "all of it");
}

#[test]
fn a_subscription_that_ended_while_a_page_was_under_way_begins_again() {
    let mut rig = online();
    rig.receive(sub_err("rate_limited", true));
    rig.receive(sub_err("not_subscribed", false));
    assert!(matches!(rig.channel_states().last(), Some(ChannelState::Waiting { .. })));
    rig.sent.clear();
    rig.pass(5_000);
    assert_eq!(rig.sent[0]["t"], "sub");
}
