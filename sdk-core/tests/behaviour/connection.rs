//! How the connection comes, goes, and comes back.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

#[test]
fn connecting_gets_a_token_dials_and_says_hello_with_all_subscriptions() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.client.subscribe(rig.now, "news").unwrap();
    let hello = rig.connect();
    assert_eq!(rig.asks, [(TokenAsk(1), false)]);
    assert_eq!(hello["t"], "hello");
    assert_eq!(hello["v"], 1);
    assert_eq!(hello["token"], "good.token");
    assert_eq!(hello["subs"], json!([{"ch":"dialog:demo","tail":50},{"ch":"news","tail":50}]));
    assert_eq!(rig.state(), State::Connecting);
    rig.welcome();
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_second_connect_changes_nothing() {
    let mut rig = Rig::new();
    rig.client.connect(rig.now);
    rig.client.connect(rig.now);
    rig.drain();
    rig.client.connect(rig.now);
    rig.drain();
    assert_eq!((rig.asks.len(), rig.dials.len()), (1, 1));
    rig.accept();
    rig.welcome();
    rig.client.connect(rig.now);
    rig.drain();
    assert_eq!(rig.dials.len(), 1);
}

#[test]
fn a_lost_connection_is_dialled_again_and_says_when() {
    let mut rig = Rig::online();
    rig.pass(60_000 - 1_000);
    rig.receive(json!({"t":"ping","n":"1"}));
    rig.cut();
    let status = rig.status();
    assert_eq!(status.state, State::Reconnecting);
    assert_eq!(status.cause.as_deref(), Some("connection_lost"));
    assert!(status.retry_in_ms.is_some_and(|ms| ms <= 1_000));
    rig.redial(1_000);
    rig.welcome();
    assert_eq!(rig.state(), State::Online);
    assert_eq!(rig.status().cause, None);
}

#[test]
fn a_dial_that_hangs_is_given_up_after_ten_seconds() {
    let mut rig = Rig::new();
    rig.client.connect(rig.now);
    rig.drain();
    let first = rig.conn.unwrap();
    rig.pass(9_999);
    assert!(rig.closes.is_empty());
    rig.pass(1);
    assert_eq!(rig.closes, [(first, 1000)]);
    assert_eq!(rig.status().cause.as_deref(), Some("connect_timeout"));
    rig.redial(1_000);
}

#[test]
fn a_server_that_opens_but_never_welcomes_is_given_up() {
    let mut rig = Rig::new();
    rig.connect();
    rig.pass(10_000);
    assert_eq!(rig.closes.len(), 1);
    rig.redial(1_000);
}

#[test]
fn repeated_failures_spread_out_up_to_the_cap_and_stay_random() {
    let mut rig = Rig::new();
    rig.client.connect(rig.now);
    rig.drain();
    let mut delays = vec![];
    for _ in 0..60 {
        rig.cut();
        let lost = rig.now.mono;
        let dials = rig.dials.len();
        while rig.dials.len() == dials {
            rig.pass(rig.until.unwrap().since(rig.now.mono));
        }
        delays.push(rig.now.mono.since(lost));
    }
    assert!(delays.iter().all(|ms| *ms <= 60_000));
    let late = &delays[10..];
    assert!(late.iter().any(|ms| *ms < 10_000) && late.iter().any(|ms| *ms > 20_000), "{late:?}");
}

#[test]
fn a_short_session_does_not_reset_the_backoff_and_a_useful_one_does() {
    let mut rig = Rig::new();
    rig.connect();
    for _ in 0..5 {
        rig.welcome();
        rig.pass(1_000);
        rig.cut();
        rig.redial(61_000);
    }
    assert_eq!(rig.status().attempt, 5);
    rig.welcome();
    rig.pass(10_000);
    rig.cut();
    assert_eq!(rig.status().attempt, 1);
}

#[test]
fn nothing_is_dialled_after_a_terminal_code() {
    for (code, shown) in [
        (4500, "bad_request"),
        (4501, "unauthorized"),
        (4526, "unsupported_version"),
        (4999, "refused"),
        (3500, "refused"),
    ] {
        let mut rig = Rig::new();
        rig.connect();
        rig.close_with(code);
        assert_eq!(rig.state(), State::Failed);
        assert_eq!(rig.status().cause.as_deref(), Some(shown));
        assert_eq!(rig.until, None);
        rig.feed(Input::Network(Network::Online));
        rig.feed(Input::Lifecycle(Lifecycle::Resumed));
        rig.pass(3_600_000);
        assert_eq!(rig.dials.len(), 1, "{code}");
        rig.client.connect(rig.now);
        rig.drain();
        assert_eq!(rig.dials.len(), 2, "the application may try again");
    }
}

#[test]
fn every_other_code_reconnects() {
    for code in [1000, 1001, 1006, 1011, 1012, 3000, 3499, 4000, 4002, 4007, 4499] {
        let mut rig = Rig::new();
        rig.connect();
        rig.close_with(code);
        assert_eq!(rig.state(), State::Reconnecting, "{code}");
        rig.redial(1_000);
    }
}

#[test]
fn the_error_before_a_close_names_the_cause_and_the_floor() {
    let mut rig = Rig::new();
    rig.connect();
    rig.receive(json!({"t":"error","code":"rate_limited","message":"slow down","retry_after_ms":7000}));
    rig.close_with(4003);
    assert_eq!(rig.status().cause.as_deref(), Some("rate_limited"));
    rig.feed(Input::Network(Network::Online));
    let lost = rig.now.mono;
    rig.redial(10_000);
    assert!(rig.now.mono.since(lost) >= 7_000, "a hint of the network does not undercut the server");
}

#[test]
fn a_goaway_spreads_the_return() {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"goaway","reason":"restart","after_ms":100,"spread_ms":5000}));
    rig.close_with(4000);
    assert_eq!(rig.status().cause.as_deref(), Some("goaway"));
    assert!(rig.status().retry_in_ms.unwrap() <= 5_000);
    rig.redial(5_000);
}

#[test]
fn reports_about_an_attempt_that_is_over_are_ignored() {
    let mut rig = Rig::online();
    let old = rig.conn.unwrap();
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.feed(Input::Closed { conn: old, code: 4501, cause: None });
    rig.feed(Input::Received { conn: old, text: "garbage" });
    rig.feed(Input::Opened { conn: old });
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn disconnecting_says_bye_and_ends_everything() {
    let mut rig = Rig::online();
    rig.client.disconnect(rig.now);
    rig.drain();
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"bye"}));
    assert_eq!(rig.closes.last().unwrap().1, 1000);
    assert_eq!((rig.state(), rig.until), (State::Disconnected, None));
    rig.feed(Input::Network(Network::Online));
    rig.feed(Input::Lifecycle(Lifecycle::Shown));
    rig.pass(100_000);
    assert_eq!(rig.dials.len(), 1, "nothing but connect() connects a client that was disconnected");
}

#[test]
fn what_is_not_a_frame_closes_backs_off_and_reports() {
    for garbage in ["", "{", "[1]", "{\"t\":1}", "{\"t\":\"ok\"}", "nul", "[[[]]]", "{\"t\":\"welcome\"}"] {
        let mut rig = Rig::online();
        rig.receive_text(garbage);
        assert_eq!(rig.state(), State::Reconnecting, "{garbage}");
        assert_eq!(rig.status().cause.as_deref(), Some("protocol"));
        assert!(
            rig.events
                .iter()
                .any(|event| matches!(event, Event::Problem { code, .. } if code == "bad_frame"))
        );
        rig.redial(2_000);
    }
}

#[test]
fn unknown_frames_and_members_are_ignored() {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"hologram","x":1}));
    rig.receive(json!({"t":"pong","n":"1","colour":"blue"}));
    rig.receive(json!([{"t":"ping","n":"a"},{"t":"later"},{"t":"ping","n":"b"}]));
    assert_eq!(rig.state(), State::Online);
    assert_eq!(rig.sent, [json!({"t":"pong","n":"a"}), json!({"t":"pong","n":"b"})]);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut rig = Rig::at(Store::default(), Now { mono: Time(1_000), wall: WALL }, seed);
        rig.client.open_dialog(rig.now, "demo").unwrap();
        rig.connect();
        for round in 0..10 {
            rig.welcome();
            rig.send(&format!("{round}"));
            rig.pass(round * 777);
            rig.cut();
            rig.redial(61_000);
        }
        format!("{:?}{:?}{:?}", rig.dials, rig.events, rig.stores)
    };
    assert_eq!(trace([1; 32]), trace([1; 32]));
    assert_ne!(trace([1; 32]), trace([2; 32]));
}

#[test]
fn hints_of_a_server_can_not_keep_a_client_away_for_good() {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"goaway","reason":"restart","after_ms":0,"spread_ms":u64::MAX}));
    rig.close_with(4000);
    rig.redial(600_000);
    rig.receive(json!({"t":"error","code":"rate_limited","message":"","retry_after_ms":u64::MAX}));
    rig.close_with(4003);
    rig.redial(3_600_000 + 30_000);
}

#[test]
fn connect_in_a_pause_dials_soon_but_never_before_the_server_allows() {
    let mut rig = Rig::new();
    rig.connect();
    for _ in 0..8 {
        rig.cut();
        rig.redial(61_000);
    }
    rig.cut();
    rig.client.connect(rig.now);
    rig.drain();
    rig.redial(61_000);
    assert_eq!(rig.status().attempt, 9, "a person in a hurry does not clear the record");
    rig.receive(json!({"t":"error","code":"rate_limited","message":"","retry_after_ms":9000}));
    rig.close_with(4003);
    let lost = rig.now.mono;
    rig.client.connect(rig.now);
    rig.drain();
    rig.redial(61_000);
    assert!(rig.now.mono.since(lost) >= 9_000);
}

#[test]
fn a_second_welcome_changes_nothing() {
    let mut rig = Rig::online();
    rig.receive(message(1, "for ada"));
    rig.receive(welcome("eve"));
    assert_eq!(rig.client.user().map(|user| user.id.as_str()), Some("ada"));
    assert_eq!(rig.rows().len(), 1);
}

#[test]
fn a_connection_closed_for_good_without_a_word_says_why_by_its_code() {
    for (code, cause) in
        [(4500, "bad_request"), (4501, "unauthorized"), (4503, "forbidden"), (4526, "unsupported_version")]
    {
        let mut rig = Rig::new();
        rig.connect();
        rig.close_with(code);
        assert_eq!((rig.state(), rig.status().cause.as_deref()), (State::Failed, Some(cause)), "{code}");
    }
}

#[test]
fn a_closed_client_stays_closed_whatever_is_asked_of_it() {
    let mut rig = Rig::online();
    let dials = rig.dials.len();
    rig.client.close(rig.now);
    rig.client.close(rig.now);
    rig.client.disconnect(rig.now);
    rig.client.connect(rig.now);
    rig.client.renew_token(rig.now);
    rig.feed(Input::Network(Network::Changed));
    rig.feed(Input::Lifecycle(Lifecycle::Shown));
    rig.pass(120_000);
    assert_eq!((rig.state(), rig.dials.len()), (State::Closed, dials));
    let id = rig.send("kept for the next client");
    rig.pass(1_000);
    assert_eq!(rig.op_states(&id), [OpState::Queued]);
}
