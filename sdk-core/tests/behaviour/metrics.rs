//! How much a client does, in numbers.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

#[test]
fn a_client_that_did_nothing_says_so() {
    let rig = Rig::new();
    let metrics = rig.client.metrics(rig.now);
    let nothing = Metrics {
        at: rig.now.wall,
        since: rig.now.wall,
        connections: 0,
        reconnects: 0,
        waiting: 0,
        received: 0,
        sent: 0,
        received_10s: 0,
        sent_10s: 0,
        latency_ms: None,
    };
    assert_eq!(metrics, nothing);
}

#[test]
fn connections_and_reconnects_are_counted_since_the_client_was_made() {
    let mut rig = Rig::online();
    let begun = rig.client.metrics(rig.now).since;
    rig.pass(20_000);
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.send("waits");
    let metrics = rig.client.metrics(rig.now);
    assert_eq!((metrics.connections, metrics.reconnects, metrics.waiting), (2, 1, 1));
    assert_eq!((metrics.since, metrics.at), (begun, rig.now.wall));
}

#[test]
fn messages_are_counted_in_both_directions_and_their_rate_falls_again() {
    let mut rig = Rig::online();
    rig.pass(20_000);
    let before = rig.client.metrics(rig.now);
    assert_eq!((before.received_10s, before.sent_10s), (0, 0));
    for offset in 1..=20 {
        rig.receive(message(offset, "hello"));
        rig.pass(100);
    }
    rig.receive(json!({"t":"ping","n":"1"}));
    let after = rig.client.metrics(rig.now);
    assert_eq!((after.received - before.received, after.sent - before.sent), (21, 1));
    assert_eq!((after.received_10s, after.sent_10s), (21, 1));
    assert!((after.received_per_second() - 2.1).abs() < 1e-9);
    assert!((after.sent_per_second() - 0.1).abs() < 1e-9);
    // Nothing is handed in meanwhile: the time of the question counts.
    let later = Now { mono: rig.now.mono.after(11_000), wall: rig.now.wall + 11_000 };
    let quiet = rig.client.metrics(later);
    assert_eq!((quiet.received_10s, quiet.sent_10s, quiet.received), (0, 0, after.received));
}

#[test]
fn latency_follows_the_answers_to_ops_and_pings() {
    let mut rig = Rig::online();
    let id = rig.send("one");
    rig.pass(80);
    rig.ok(&id, 1);
    assert_eq!(rig.client.metrics(rig.now).latency_ms, Some(80));
    let id = rig.send("two");
    rig.pass(160);
    rig.ok(&id, 2);
    assert_eq!(rig.client.metrics(rig.now).latency_ms, Some(90), "an eighth of the difference");
    rig.sent.clear();
    rig.feed(Input::Network(Network::Changed));
    let ping = rig.sent.iter().find(|frame| frame["t"] == "ping").cloned().expect("a probe");
    rig.pass(10);
    rig.receive(json!({"t":"pong","n":"another"}));
    assert_eq!(rig.client.metrics(rig.now).latency_ms, Some(90), "no ping of this client");
    rig.receive(json!({"t":"pong","n":ping["n"]}));
    assert_eq!(rig.client.metrics(rig.now).latency_ms, Some(80));
    rig.receive(json!({"t":"pong","n":ping["n"]}));
    assert_eq!(rig.client.metrics(rig.now).latency_ms, Some(80), "it was answered before");
}

#[test]
fn an_op_is_answered_by_its_own_event_if_that_comes_first() {
    let mut rig = Rig::online();
    let id = rig.send("one");
    rig.pass(40);
    rig.receive(own(1, &id, "one"));
    rig.pass(1_000);
    rig.ok(&id, 1);
    assert_eq!(rig.client.metrics(rig.now).latency_ms, Some(40));
    assert_eq!(rig.client.explain().counters.round_trip_ms, 40);
}

#[test]
fn the_clock_may_stand_still_or_go_back() {
    let mut rig = Rig::online();
    let id = rig.send("one");
    rig.ok(&id, 1);
    let earlier = Now { mono: Time(0), wall: 0 };
    let metrics = rig.client.metrics(earlier);
    assert_eq!((metrics.latency_ms, metrics.at), (Some(0), 0));
    assert!(metrics.received_10s > 0);
}
