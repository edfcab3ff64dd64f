//! One connection takes over from another that still works: because the server goes away, or for a
//! better transport.

use crate::rig::*;
use serde_json::json;
use tidewire_core::tables::TableEvent;
use tidewire_core::*;

fn goaway(spread_ms: u64) -> serde_json::Value {
    json!({"t":"goaway","reason":"restart","after_ms":5000,"spread_ms":spread_ms})
}

/// An online client that was told to go, at the moment at which it opened its second socket; the
/// first connection's id.
fn leaving() -> (Rig, ConnId) {
    let mut rig = Rig::online();
    rig.pass(15_000);
    let old = rig.conn.expect("a connection");
    rig.receive(goaway(4_000));
    let dials = rig.dials.len();
    rig.pass(4_000);
    assert_eq!(rig.dials.len(), dials + 1, "one dial within the spread");
    assert_ne!(rig.conn, Some(old));
    (rig, old)
}

fn receive_on(rig: &mut Rig, conn: ConnId, frame: serde_json::Value) {
    rig.receive_on(conn, &frame.to_string());
}

#[test]
fn the_second_connection_is_welcomed_before_the_first_one_goes() {
    let (mut rig, old) = leaving();
    assert!(rig.closes.is_empty());
    let hello = rig.accept();
    assert_eq!(
        (hello["subs"][0]["ch"].as_str(), hello["subs"][0]["offset"].as_u64()),
        (Some("dialog:demo"), Some(0))
    );
    rig.events.clear();
    // The old connection still delivers.
    receive_on(&mut rig, old, message(1, "one"));
    assert_eq!(rig.shown(), ["one:sent"]);
    rig.welcome();
    assert_eq!(rig.closes, [(old, 1000)]);
    assert_eq!(rig.sent.pop_front().unwrap()["t"], "bye");
    // The answer to the cursor of `hello` overlaps with what came meanwhile.
    rig.receive(sub_ok("resumed", 0, 2, vec![message(1, "one"), message(2, "two")]));
    assert_eq!(rig.shown(), ["one:sent", "two:sent"]);
    // Nobody was told of an interruption, because there was none.
    assert!(!rig.channel_states().contains(&ChannelState::Syncing));
    assert!(
        !rig.events
            .iter()
            .any(|event| matches!(event, Event::Status(status) if status.state != State::Online))
    );
    assert_eq!(rig.client.explain().counters.reconnects, 0);
}

#[test]
fn an_op_under_way_on_the_first_goes_again_on_the_second() {
    let (mut rig, _) = leaving();
    let id = rig.send("one");
    assert_eq!(rig.ops().len(), 1);
    rig.accept();
    rig.welcome();
    let again = rig.ops();
    assert_eq!((again.len(), again[0]["id"].as_str()), (1, Some(id.as_str())));
    rig.receive(sub_ok("resumed", 0, 1, vec![own(1, &id, "one")]));
    rig.ok(&id, 1);
    assert_eq!(rig.op_states(&id).last(), Some(&OpState::Acked { offset: Offset(1) }));
}

#[test]
fn when_the_first_goes_too_early_the_second_is_the_connection() {
    let (mut rig, old) = leaving();
    rig.feed(Input::Closed { conn: old, code: 4000, cause: None });
    assert_eq!(rig.state(), State::Reconnecting);
    let dials = rig.dials.len();
    rig.accept();
    rig.welcome();
    assert_eq!((rig.state(), rig.dials.len()), (State::Online, dials));
}

#[test]
fn the_server_ends_the_first_at_the_hello_of_the_second_and_nobody_is_told() {
    let (mut rig, old) = leaving();
    rig.accept();
    rig.events.clear();
    receive_on(&mut rig, old, json!({"t":"error","code":"replaced","message":"by a newer one"}));
    rig.feed(Input::Closed { conn: old, code: 4008, cause: None });
    let id = rig.send("one");
    rig.pass(1_000);
    assert_eq!((rig.ops().len(), rig.state()), (0, State::Online));
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    rig.ok(&id, 1);
    assert_eq!(rig.op_states(&id).last(), Some(&OpState::Acked { offset: Offset(1) }));
    assert!(!rig.channel_states().contains(&ChannelState::Syncing));
    let is_other = |event: &Event<TableEvent>| matches!(event, Event::Status(status) if status.state != State::Online || status.cause.is_some());
    assert!(!rig.events.iter().any(is_other), "{:?}", rig.events);
    assert_eq!(rig.client.explain().counters.reconnects, 0);
}

#[test]
fn a_second_that_is_not_welcomed_though_the_first_was_ended_for_it_is_told() {
    let taken_over = || {
        let (mut rig, old) = leaving();
        rig.accept();
        rig.feed(Input::Closed { conn: old, code: 4008, cause: None });
        rig.events.clear();
        rig
    };
    let mut rig = taken_over();
    rig.cut();
    assert_eq!(rig.state(), State::Reconnecting);
    assert!(rig.channel_states().contains(&ChannelState::Syncing));
    rig.redial(60_000);
    let mut rig = taken_over();
    rig.pass(10_000);
    assert_eq!((rig.state(), rig.closes.len()), (State::Reconnecting, 1));
    rig.redial(60_000);
}

#[test]
fn when_the_second_fails_the_first_goes_on() {
    let (mut rig, old) = leaving();
    rig.cut();
    assert_eq!(rig.state(), State::Online);
    receive_on(&mut rig, old, message(1, "one"));
    assert_eq!(rig.shown(), ["one:sent"]);
    // No second try; the end of the first decides.
    let dials = rig.dials.len();
    rig.pass(20_000);
    assert_eq!(rig.dials.len(), dials);
    rig.feed(Input::Closed { conn: old, code: 4000, cause: None });
    assert_eq!(rig.status().cause.as_deref(), Some("goaway"));
    rig.redial(4_000);
}

#[test]
fn a_second_that_is_not_welcomed_in_time_is_dropped() {
    let (mut rig, old) = leaving();
    let new = rig.conn.unwrap();
    rig.accept();
    receive_on(&mut rig, old, json!({"t":"ping","n":"1"}));
    rig.pass(10_000);
    assert_eq!(rig.closes, [(new, 1000)]);
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn what_a_second_is_refused_with_does_not_touch_the_first() {
    let (mut rig, _) = leaving();
    rig.accept();
    rig.receive(json!({"t":"error","code":"unauthorized","message":"no"}));
    rig.close_with(4501);
    assert_eq!(rig.state(), State::Online);
    let (mut rig, _) = leaving();
    rig.accept();
    rig.receive_text("nonsense");
    assert_eq!(rig.state(), State::Online);
    assert_eq!(rig.closes.len(), 1);
}

#[test]
fn closing_while_two_are_open_closes_both() {
    let (mut rig, _) = leaving();
    rig.client.disconnect(rig.now);
    rig.drain();
    assert_eq!(rig.closes.len(), 2);
    assert_eq!(rig.state(), State::Disconnected);
}

#[test]
fn a_channel_that_came_or_went_meanwhile_is_set_right() {
    let (mut rig, _) = leaving();
    rig.accept();
    rig.client.close_dialog(rig.now, "demo");
    rig.client.open_dialog(rig.now, "late").unwrap();
    rig.drain();
    rig.sent.clear();
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    let sent: Vec<String> = rig
        .sent
        .iter()
        .map(|frame| format!("{} {}", frame["t"].as_str().unwrap(), frame["ch"].as_str().unwrap_or("")))
        .collect();
    assert!(
        sent.contains(&"sub dialog:late".to_owned()) && sent.contains(&"unsub dialog:demo".to_owned()),
        "{sent:?}"
    );
}

// Transports.

fn with_fallbacks() -> Rig {
    let config = Config { transports: Transport::ALL.to_vec(), ..Config::default() };
    let mut rig = Rig::with(config, Store::default(), Now { mono: Time(1_000), wall: WALL }, [42; 32]);
    rig.client.open_dialog(rig.now, "demo").expect("a valid name");
    rig.client.connect(rig.now);
    rig.drain();
    rig
}

fn fails(rig: &mut Rig) {
    rig.cut();
    let dials = rig.dials.len();
    while rig.dials.len() == dials {
        let at = rig.until.expect("a timer");
        rig.pass(at.since(rig.now.mono));
    }
}

#[test]
fn three_web_sockets_that_fail_early_and_http_is_tried() {
    let mut rig = with_fallbacks();
    for _ in 0..3 {
        fails(&mut rig);
    }
    assert_eq!(
        rig.transports,
        [Transport::WebSocket, Transport::WebSocket, Transport::WebSocket, Transport::Stream]
    );
    fails(&mut rig);
    fails(&mut rig);
    fails(&mut rig);
    assert_eq!(rig.transports[4..], [Transport::LongPoll, Transport::Poll, Transport::WebSocket]);
}

#[test]
fn sockets_that_die_right_after_the_welcome_count_too_but_a_word_of_the_server_does_not() {
    let mut rig = with_fallbacks();
    for _ in 0..3 {
        rig.accept();
        rig.welcome();
        rig.pass(200);
        fails(&mut rig);
    }
    assert_eq!(*rig.transports.last().unwrap(), Transport::Stream);
    let mut rig = with_fallbacks();
    rig.accept();
    for _ in 0..10 {
        rig.close_with(4004);
        rig.redial(60_000);
    }
    assert!(rig.transports.iter().all(|transport| *transport == Transport::WebSocket));
}

#[test]
fn the_web_socket_is_tried_again_and_takes_over() {
    let mut rig = with_fallbacks();
    for _ in 0..3 {
        fails(&mut rig);
    }
    rig.accept();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    let stream = rig.conn.unwrap();
    rig.pass(30_000);
    receive_on(&mut rig, stream, json!({"t":"ping","n":"1"}));
    rig.pass(29_999);
    assert_eq!(rig.conn, Some(stream));
    rig.pass(1);
    assert_eq!(*rig.transports.last().unwrap(), Transport::WebSocket);
    // It fails: the stream goes on, and the next try comes after ten minutes.
    rig.cut();
    assert_eq!(rig.state(), State::Online);
    for _ in 0..20 {
        receive_on(&mut rig, stream, json!({"t":"ping","n":"1"}));
        rig.pass(29_000);
    }
    assert_eq!(rig.dials.len(), 5);
    receive_on(&mut rig, stream, json!({"t":"ping","n":"1"}));
    rig.pass(20_000);
    assert_eq!(rig.dials.len(), 6);
    rig.accept();
    rig.welcome();
    assert_eq!(*rig.closes.last().unwrap(), (stream, 1000));
    assert_eq!(rig.state(), State::Online);
    assert!(
        rig.client
            .explain()
            .entries
            .iter()
            .any(|entry| (entry.what, entry.about.as_str()) == ("handover", "websocket"))
    );
}

#[test]
fn a_server_that_is_away_for_a_while_does_not_cost_the_web_socket() {
    let mut rig = with_fallbacks();
    rig.accept();
    rig.welcome();
    rig.pass(10_000);
    for _ in 0..5 {
        fails(&mut rig);
    }
    assert!(rig.transports.iter().all(|transport| *transport == Transport::WebSocket));
}

#[test]
fn a_driver_that_only_has_web_sockets_never_hears_of_another() {
    let mut rig = Rig::new();
    rig.client.connect(rig.now);
    rig.drain();
    for _ in 0..20 {
        fails(&mut rig);
    }
    assert!(rig.transports.iter().all(|transport| *transport == Transport::WebSocket));
}
