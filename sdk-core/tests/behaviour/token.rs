//! Tokens: brought in time, renewed unnoticed, refused for good.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

fn short_welcome(ttl_ms: u64) -> serde_json::Value {
    let mut frame = welcome("ada");
    frame["token_ttl_ms"] = ttl_ms.into();
    frame
}

#[test]
fn a_token_is_renewed_in_band_before_it_ends() {
    let mut rig = Rig::new();
    rig.connect();
    rig.receive(short_welcome(600_000));
    rig.token = Some(Ok("newer.token".into()));
    for _ in 0..28 {
        rig.pass(20_000);
        rig.receive(json!({"t":"pong","n":"1"}));
    }
    assert_eq!(rig.asks.len(), 1);
    rig.pass(10_000);
    assert!(rig.asks.last().unwrap().1);
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"auth","token":"newer.token"}));
    rig.receive(json!({"t":"auth_ok","user":user("ada"),"token_ttl_ms":600_000}));
    assert_eq!(rig.state(), State::Online);
    rig.cut();
    assert_eq!(rig.redial(2_000)["token"], "newer.token");
}

#[test]
fn a_token_about_to_end_is_renewed_before_dialling() {
    let mut rig = Rig::new();
    rig.connect();
    rig.receive(short_welcome(86_400_000));
    rig.cut();
    rig.now.wall += 86_400_000 - 29_000;
    rig.token = Some(Ok("newer.token".into()));
    assert_eq!(rig.redial(2_000)["token"], "newer.token");
    assert!(rig.asks.last().unwrap().1);
}

#[test]
fn a_refused_token_is_renewed_once_at_once_then_backs_off() {
    let mut rig = Rig::new();
    rig.connect();
    let before = rig.now.mono;
    rig.token = Some(Ok("newer.token".into()));
    rig.close_with(4020);
    assert_eq!(rig.dials.len(), 2, "at once");
    assert_eq!(rig.now.mono, before);
    assert_eq!(rig.accept()["token"], "newer.token");
    rig.close_with(4020);
    assert_eq!(rig.status().cause.as_deref(), Some("token_expired"));
    assert_eq!(rig.state(), State::Reconnecting);
    assert_eq!(rig.dials.len(), 2, "not a second time");
    rig.redial(2_000);
    rig.welcome();
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_user_who_may_not_connect_is_never_dialled_for() {
    let mut rig = Rig::new();
    rig.token = Some(Err(TokenError::unauthorized("")));
    rig.client.connect(rig.now);
    rig.drain();
    assert_eq!((rig.state(), rig.dials.len(), rig.until), (State::Failed, 0, None));
    assert_eq!(rig.status().cause.as_deref(), Some("unauthorized"));
}

#[test]
fn a_provider_that_fails_is_asked_again_with_backoff() {
    let mut rig = Rig::new();
    rig.token = Some(Err(TokenError::unavailable("")));
    rig.client.connect(rig.now);
    rig.drain();
    assert_eq!(rig.status().cause.as_deref(), Some("token_unavailable"));
    rig.pass(120_000);
    assert!((4..60).contains(&rig.asks.len()), "{}", rig.asks.len());
    rig.token = Some(Ok("late.token".into()));
    assert_eq!(rig.redial(31_000)["token"], "late.token");
}

#[test]
fn a_provider_that_never_answers_is_given_up_after_thirty_seconds() {
    let mut rig = Rig::new();
    rig.token = None;
    rig.client.connect(rig.now);
    rig.drain();
    rig.pass(30_000);
    assert_eq!(rig.status().cause.as_deref(), Some("token_timeout"));
    let (late, _) = rig.asks[0];
    rig.feed(Input::Token { ask: late, result: Ok("late.token".into()) });
    assert!(rig.dials.is_empty(), "an answer to a question that is over is ignored");
}

#[test]
fn an_unavailable_provider_does_not_end_a_living_session() {
    let mut rig = Rig::new();
    rig.connect();
    rig.receive(short_welcome(20_000));
    rig.token = Some(Err(TokenError::unavailable("")));
    rig.pass(16_000);
    assert_eq!(rig.state(), State::Online);
    assert!(rig.asks.len() >= 2);
    rig.token = Some(Ok("newer.token".into()));
    rig.pass(6_000);
    assert_eq!(rig.sent.pop_back().unwrap()["token"], "newer.token");
}

#[test]
fn no_debug_output_shows_a_token_or_a_text() {
    let mut rig = Rig::online();
    rig.send("the secret text");
    rig.receive(start(1, "r"));
    rig.receive(piece("r", 0, "the secret answer"));
    let shown = format!("{:?} {:?}", rig.events, rig.stores);
    assert!(!shown.contains("secret") && !shown.contains("good.token"));
    let hello = wire::decode_client_message(r#"{"t":"hello","v":1,"client":"c","token":"secret"}"#).unwrap();
    let op =
        wire::decode_client_message(r#"{"t":"op","id":"i","ch":"c","kind":"k","body":{"text":"secret"}}"#)
            .unwrap();
    let frames = wire::decode_server_message(&piece("r", 0, "secret").to_string()).unwrap();
    assert!(!format!("{hello:?} {op:?} {frames:?}").contains("secret"));
}

#[test]
fn a_refused_token_is_never_brought_again_however_often_its_renewal_fails() {
    let mut rig = Rig::new();
    rig.connect();
    rig.token = Some(Err(TokenError::unavailable("")));
    rig.close_with(4020);
    rig.pass(60_000);
    assert_eq!(rig.dials.len(), 1, "there is no token to dial with");
    assert!(rig.asks.len() > 2 && rig.asks[1..].iter().all(|(_, renew)| *renew), "{:?}", rig.asks);
    rig.token = Some(Ok("newer.token".into()));
    assert_eq!(rig.redial(31_000)["token"], "newer.token");
    rig.welcome();
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_token_that_worked_before_and_is_refused_now_is_renewed_once() {
    let mut rig = Rig::new();
    rig.connect();
    rig.welcome();
    rig.cut();
    rig.redial(2_000);
    rig.token = Some(Ok("newer.token".into()));
    rig.close_with(4501);
    assert_eq!(rig.state(), State::Reconnecting, "the server's keys may have changed");
    assert!(rig.asks.last().unwrap().1);
    assert_eq!(rig.accept()["token"], "newer.token");
    rig.close_with(4501);
    assert_eq!(rig.state(), State::Failed);
    assert_eq!(rig.dials.len(), 3);
}

#[test]
fn a_renewal_that_is_never_answered_is_asked_for_again() {
    let mut rig = Rig::new();
    rig.connect();
    rig.receive(short_welcome(120_000));
    rig.token = None;
    let alive = |rig: &mut Rig, seconds: u64| {
        for _ in 0..seconds {
            rig.pass(1_000);
            rig.receive(json!({"t":"ping","n":"1"}));
        }
    };
    alive(&mut rig, 91);
    let (first, renew) = *rig.asks.last().unwrap();
    assert!(renew && rig.asks.len() == 2);
    alive(&mut rig, 28);
    assert_eq!(rig.asks.len(), 2, "it has thirty seconds");
    alive(&mut rig, 10);
    assert_eq!(rig.asks.len(), 3);
    rig.sent.clear();
    rig.feed(Input::Token { ask: first, result: Ok("late.token".into()) });
    assert!(rig.sent.is_empty(), "an answer to a question that is over is ignored");
    let (second, renew) = *rig.asks.last().unwrap();
    assert!(renew);
    rig.feed(Input::Token { ask: second, result: Ok("newer.token".into()) });
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"auth","token":"newer.token"}));
}

#[test]
fn a_token_that_no_hello_can_carry_is_refused_at_once_with_what_is_wrong() {
    for token in ["", "a b", "Bearer a.b.c", "a.b.c\n", "ä.b.c", &"x".repeat(16_385)] {
        let mut rig = Rig::new();
        rig.token = Some(Ok(token.to_owned()));
        rig.client.connect(rig.now);
        rig.drain();
        let status = rig.status();
        assert_eq!((status.state, status.cause.as_deref()), (State::Failed, Some("bad_token")));
        assert!(status.message.is_some_and(|message| message.starts_with("the token ")));
        assert!(rig.dials.is_empty());
    }
}

#[test]
fn what_the_provider_says_is_shown_and_what_is_terminal_is_not_asked_again() {
    let mut rig = Rig::new();
    rig.token = Some(Err(TokenError::new("token_unavailable", "the session service is down")));
    rig.client.connect(rig.now);
    rig.drain();
    let status = rig.status();
    assert_eq!(status.cause.as_deref(), Some("token_unavailable"));
    assert_eq!(status.message.as_deref(), Some("the session service is down"));
    assert!(status.retry_in_ms.is_some());
    let refusal = TokenError { terminal: true, ..TokenError::new("bad_request", "the nickname is empty") };
    rig.token = Some(Err(refusal));
    rig.pass(60_000);
    let (status, asks) = (rig.status(), rig.asks.len());
    assert_eq!((status.state, status.cause.as_deref()), (State::Failed, Some("bad_request")));
    assert_eq!(status.message.as_deref(), Some("the nickname is empty"));
    rig.pass(600_000);
    assert_eq!(rig.asks.len(), asks);
    rig.token = Some(Ok("good.token".into()));
    rig.connect();
    rig.welcome();
    assert_eq!((rig.state(), rig.status().message), (State::Online, None));
}

#[test]
fn a_provider_that_asks_for_patience_is_given_it() {
    let mut rig = Rig::new();
    let busy =
        TokenError { retry_after_ms: Some(20_000), ..TokenError::new("rate_limited", "too many guests") };
    rig.token = Some(Err(busy));
    rig.client.connect(rig.now);
    rig.drain();
    assert!(rig.status().retry_in_ms.is_some_and(|ms| ms >= 20_000));
    rig.pass(19_999);
    assert_eq!(rig.asks.len(), 1);
}

#[test]
fn a_renewal_that_fails_while_online_is_told_and_tried_again() {
    let mut rig = Rig::new();
    rig.connect();
    rig.receive(short_welcome(60_000));
    rig.token = Some(Err(TokenError::unavailable("the session service is down")));
    rig.pass(31_000);
    let told = rig.events.iter().any(
        |event| matches!(event, Event::Problem { message, .. } if message == "the session service is down"),
    );
    assert!(told && rig.state() == State::Online);
}

/// A client whose credential is a cookie.
fn with_cookie() -> Rig {
    let config = Config { cookie: true, ..Config::default() };
    let now = Now { mono: Time(1_000), wall: WALL };
    Rig::with(config, Store::default(), now, [7; 32])
}

#[test]
fn a_cookie_is_in_no_frame_and_a_new_one_brings_a_new_connection() {
    let mut rig = with_cookie();
    let hello = rig.connect();
    assert_eq!((hello["t"].as_str(), hello.get("token")), (Some("hello"), None));
    rig.receive(short_welcome(600_000));
    let (asked, dialled) = (rig.asks.len(), rig.dials.len());
    for _ in 0..28 {
        rig.pass(20_000);
        rig.receive(json!({"t":"pong","n":"1"}));
    }
    rig.sent.clear();
    rig.pass(10_000);
    assert_eq!((rig.asks.len(), rig.asks.last().unwrap().1), (asked + 1, true), "the page renews it");
    assert_eq!(rig.dials.len(), dialled + 1, "beside the old connection");
    assert_eq!(rig.state(), State::Online);
    assert!(rig.sent.iter().all(|frame| frame["t"] != "auth"), "{:?}", rig.sent);
    let (next, _) = *rig.dials.last().unwrap();
    rig.feed(Input::Opened { conn: next });
    assert!(rig.sent.back().unwrap().get("token").is_none());
    rig.receive_on(next, &short_welcome(600_000).to_string());
    assert_eq!(rig.state(), State::Online);
    assert!(rig.asks.len() == asked + 1 && rig.dials.len() == dialled + 1);
}

#[test]
fn an_expired_cookie_is_renewed_once_at_once_then_backs_off() {
    let mut rig = with_cookie();
    rig.connect();
    rig.close_with(4020);
    assert!(rig.asks.last().unwrap().1, "the page renews it");
    assert!(rig.accept().get("token").is_none());
    rig.close_with(4020);
    assert_eq!(rig.status().cause.as_deref(), Some("token_expired"));
    assert_eq!(rig.state(), State::Reconnecting);
    rig.redial(2_000);
    rig.welcome();
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn a_page_that_says_its_cookie_is_another_gets_another_connection_at_once() {
    let mut rig = with_cookie();
    rig.connect();
    rig.welcome();
    rig.client.renew_token(rig.now);
    rig.drain();
    rig.pass(1_000);
    assert!(rig.asks.last().unwrap().1);
    assert_eq!(rig.dials.len(), 2, "beside the old connection");
    assert_eq!(rig.state(), State::Online);
}
