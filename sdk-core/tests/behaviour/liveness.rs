//! When a peer counts as dead, and what a wake-up does.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

#[test]
fn a_silent_peer_is_found_after_ping_and_grace() {
    let mut rig = Rig::online();
    rig.pass(34_999);
    assert_eq!(rig.state(), State::Online);
    rig.pass(1);
    assert_eq!(rig.status().cause.as_deref(), Some("ping_timeout"));
    assert_eq!(rig.closes.last().unwrap().1, 4001);
    assert_eq!(rig.dials.len(), 2, "and dialled again at once");
}

#[test]
fn any_byte_counts_as_life() {
    let mut rig = Rig::online();
    for _ in 0..100 {
        rig.pass(30_000);
        rig.receive(json!({"t":"whatever"}));
    }
    assert_eq!((rig.state(), rig.dials.len()), (State::Online, 1));
}

#[test]
fn a_ping_is_answered_with_the_same_nonce() {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"ping","n":"17"}));
    assert_eq!(rig.sent, [json!({"t":"pong","n":"17"})]);
}

#[test]
fn a_wake_probe_that_gets_no_answer_redials_within_three_seconds() {
    let mut rig = Rig::online();
    rig.pass(2_000);
    rig.sleep(600_000);
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "ping");
    assert_eq!(rig.state(), State::Online, "a probe is not a state that people see");
    rig.pass(2_999);
    assert_eq!(rig.dials.len(), 1);
    rig.pass(1);
    assert_eq!(rig.closes.last().unwrap().1, 4001);
    assert_eq!(rig.dials.len(), 2);
}

#[test]
fn a_wake_probe_that_is_answered_keeps_the_connection() {
    let mut rig = Rig::online();
    rig.sleep(600_000);
    let ping = rig.sent.pop_back().unwrap();
    rig.pass(100);
    rig.receive(json!({"t":"pong","n":ping["n"]}));
    rig.pass(20_000);
    assert_eq!((rig.state(), rig.dials.len()), (State::Online, 1));
}

#[test]
fn a_timer_that_fires_late_asks_instead_of_dropping() {
    let mut rig = Rig::online();
    // The page was frozen: no timer fired for ten minutes by both clocks.
    rig.now.mono = rig.now.mono.after(600_000);
    rig.now.wall += 600_000;
    rig.drain();
    assert_eq!(rig.state(), State::Online);
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "ping");
}

#[test]
fn sleeping_for_a_week_ends_in_one_dial() {
    let mut rig = Rig::online();
    rig.cut();
    rig.sleep(7 * 24 * 3_600_000);
    rig.redial(2_000);
    rig.welcome();
    rig.pass(5_000);
    assert_eq!(rig.dials.len(), 2);
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_wall_clock_that_jumps_ten_years_makes_no_burst() {
    const YEARS: u64 = 10 * 365 * 24 * 3_600_000;
    let mut rig = Rig::online();
    rig.now.wall += YEARS;
    rig.drain();
    rig.receive(json!({"t":"pong","n":"1"}));
    rig.pass(1_000);
    rig.now.wall -= 2 * YEARS;
    rig.drain();
    rig.pass(20_000);
    assert_eq!((rig.state(), rig.dials.len()), (State::Online, 1));
    let before = rig.send("before");
    rig.now.wall += 5 * YEARS;
    let after = rig.send("after");
    assert!(before < after, "ids stay in the order of time");
}

#[test]
fn a_monotonic_clock_that_goes_back_is_held() {
    let mut rig = Rig::online();
    rig.pass(10_000);
    rig.now.mono = Time(0);
    rig.drain();
    rig.send("still here");
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn an_op_unanswered_for_five_seconds_raises_doubt() {
    let mut rig = Rig::online();
    rig.send("hello?");
    rig.sent.clear();
    rig.pass(4_999);
    assert!(rig.sent.is_empty());
    rig.pass(1);
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "ping");
    rig.pass(3_000);
    assert_eq!(rig.status().cause.as_deref(), Some("ping_timeout"));
}

#[test]
fn an_op_that_a_living_server_never_answers_is_sent_again_elsewhere() {
    let mut rig = Rig::online();
    let id = rig.send("hello?");
    for _ in 0..30 {
        rig.pass(1_000);
        rig.sent.clear();
        if rig.state() == State::Online {
            rig.receive(json!({"t":"pong","n":"1"}));
        }
    }
    assert_eq!(rig.status().cause.as_deref(), Some("op_timeout"));
    rig.redial(2_000);
    rig.welcome();
    assert_eq!(rig.ops()[0]["id"], id.as_str());
}

#[test]
fn the_network_going_away_is_shown_and_doubted_once_a_minute() {
    let mut rig = Rig::online();
    rig.feed(Input::Network(Network::Offline));
    assert_eq!(rig.state(), State::Offline);
    assert_eq!(rig.closes.len(), 1);
    rig.pass(59_999);
    assert_eq!(rig.dials.len(), 1);
    rig.pass(1);
    assert_eq!(rig.dials.len(), 2, "the system may be wrong");
    rig.cut();
    assert_eq!(rig.state(), State::Offline);
    rig.feed(Input::Network(Network::Online));
    rig.redial(1_250);
}

#[test]
fn another_network_is_probed() {
    let mut rig = Rig::online();
    rig.feed(Input::Network(Network::Changed));
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "ping");
}

#[test]
fn a_frozen_page_parks_and_comes_back() {
    let mut rig = Rig::online();
    rig.feed(Input::Lifecycle(Lifecycle::Frozen));
    assert_eq!((rig.state(), rig.until), (State::Parked, None));
    assert_eq!(rig.closes.last().unwrap().1, 1000);
    rig.pass(3_600_000);
    assert_eq!(rig.dials.len(), 1);
    rig.feed(Input::Lifecycle(Lifecycle::Resumed));
    rig.redial(250);
    rig.welcome();
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_page_shown_again_after_a_while_probes_and_a_glance_away_does_not() {
    let mut rig = Rig::online();
    rig.feed(Input::Lifecycle(Lifecycle::Hidden));
    rig.pass(9_999);
    rig.feed(Input::Lifecycle(Lifecycle::Shown));
    assert!(rig.sent.is_empty());
    rig.feed(Input::Lifecycle(Lifecycle::Hidden));
    rig.pass(10_000);
    rig.feed(Input::Lifecycle(Lifecycle::Shown));
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "ping");
}

#[test]
fn hints_that_flap_dial_once_a_second_at_most() {
    let mut rig = Rig::new();
    rig.client.connect(rig.now);
    rig.drain();
    for _ in 0..200 {
        rig.cut();
        for _ in 0..10 {
            rig.feed(Input::Network(Network::Offline));
            rig.feed(Input::Network(Network::Online));
            rig.feed(Input::Lifecycle(Lifecycle::Resumed));
        }
        rig.pass(500);
    }
    for pair in rig.dials.windows(2) {
        assert!(pair[1].1.since(pair[0].1) >= 1_000);
    }
    for window in rig.dials.windows(13) {
        assert!(window[12].1.since(window[0].1) >= 60_000);
    }
}

#[test]
fn a_timer_is_armed_in_every_state_but_the_ended_ones() {
    let mut rig = Rig::new();
    rig.client.connect(rig.now);
    for _ in 0..50 {
        rig.drain();
        assert!(rig.until.is_some());
        rig.pass(997);
        if rig.dials.len() % 3 == 1 && rig.conn.is_some() {
            rig.cut();
        }
    }
}

#[test]
fn clocks_that_drift_apart_a_little_are_no_sleep() {
    let mut rig = Rig::online();
    rig.sleep(5_000);
    assert!(rig.sent.is_empty());
    rig.sleep(5_001);
    assert_eq!(rig.sent.pop_back().unwrap()["t"], "ping");
}

#[test]
fn what_freezes_a_client_that_may_not_dial_does_not_make_it_dial_later() {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"error","code":"forbidden","message":""}));
    rig.close_with(4503);
    assert_eq!(rig.state(), State::Failed);
    let dials = rig.dials.len();
    rig.feed(Input::Lifecycle(Lifecycle::Frozen));
    rig.feed(Input::Lifecycle(Lifecycle::Resumed));
    rig.pass(120_000);
    assert_eq!((rig.dials.len(), rig.state()), (dials, State::Failed));
}

#[test]
fn a_frozen_page_does_not_dial_when_the_network_comes_back() {
    let mut rig = Rig::online();
    rig.feed(Input::Lifecycle(Lifecycle::Frozen));
    let dials = rig.dials.len();
    rig.feed(Input::Network(Network::Online));
    rig.pass(60_000);
    assert_eq!(rig.dials.len(), dials);
    rig.feed(Input::Lifecycle(Lifecycle::Resumed));
    rig.redial(1_000);
}

#[test]
fn a_hurry_shortens_a_long_pause_and_never_puts_off_a_short_one() {
    let mut shortened = 0;
    for seed in 0..40 {
        let mut rig = Rig::at(Store::default(), Now { mono: Time(1_000), wall: WALL }, [seed; 32]);
        rig.connect();
        rig.welcome();
        for _ in 0..seed % 6 {
            rig.cut();
            rig.redial(61_000);
        }
        rig.cut();
        let planned = rig.until.unwrap();
        rig.feed(Input::Network(Network::Changed));
        assert!(rig.until.unwrap() <= planned, "{seed}");
        shortened += u32::from(rig.until.unwrap() < planned);
    }
    assert!(shortened > 10, "{shortened}");
}

#[test]
fn a_timer_that_fires_much_too_late_shows_a_sleep() {
    let mut rig = Rig::online();
    let late = rig.until.unwrap().after(60_000);
    rig.now = Now { mono: late, wall: rig.now.wall + late.since(rig.now.mono) };
    rig.drain();
    assert!(rig.client.explain().entries.iter().any(|entry| entry.what == "asleep"));
}

#[test]
fn only_a_pause_has_an_end_to_show() {
    let mut rig = Rig::online();
    assert_eq!(rig.status().retry_in_ms, None);
    rig.cut();
    assert!(rig.status().retry_in_ms.is_some());
    rig.client.disconnect(rig.now);
    rig.drain();
    assert_eq!(rig.status().retry_in_ms, None);
}
