//! Protocol section 1: which frames are valid, and which errors a connection survives.

use crate::support::*;
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn malformed_messages_are_told_and_survived() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    let deep = format!("{{\"t\":\"x\",\"v\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let long = format!("{{\"t\":\"x\",\"v\":\"{}\"}}", "x".repeat(70_000));
    for (text, code) in [
        ("", "bad_frame"),
        ("nonsense", "bad_frame"),
        ("{\"t\":1}", "bad_frame"),
        ("{\"no\":\"type\"}", "bad_frame"),
        ("\"text\"", "bad_frame"),
        ("{\"t\":\"sub\"}", "bad_frame"),
        ("{\"t\":\"sub\",\"ch\":\"with space\"}", "bad_frame"),
        ("{\"t\":\"op\",\"id\":\"x\",\"ch\":\"dialog:room\",\"kind\":\"message\",\"body\":1}", "bad_frame"),
        ("{\"t\":\"next\",\"ch\":\"dialog:room\",\"from\":-1}", "bad_frame"),
        (&deep, "too_deep"),
        (&long, "too_large"),
    ] {
        client.send_text(text.to_owned()).await;
        let error = client.next().await;
        assert_eq!((&error["t"], &error["code"]), (&json!("error"), &json!(code)), "{text:.60}");
    }
    client.socket.send(Message::Binary(vec![1, 2].into())).await.unwrap();
    assert_eq!(client.next().await["code"], "bad_frame");
    client.send(json!({"t": "hello", "v": 1, "client": id(), "token": "again"})).await;
    assert_eq!(client.next().await["code"], "bad_frame");
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn unknown_frames_and_members_are_ignored() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    client.send(json!({"t": "from_the_future", "x": [1, {"y": null}]})).await;
    client.send(json!({"t": "ping", "n": "1", "later": true})).await;
    let pong = client.next().await;
    assert_eq!(pong, json!({"t": "pong", "n": "1"}));
}

#[tokio::test]
async fn an_array_is_handled_in_its_order() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    let pings: Vec<_> = (0..10).map(|n| json!({"t": "ping", "n": n.to_string()})).collect();
    client.send(json!(pings)).await;
    for n in 0..10 {
        assert_eq!(client.next().await["n"], n.to_string());
    }
    assert!(client.messages < 10, "frames that wait together travel together");
}

#[tokio::test]
async fn a_message_of_more_than_twice_the_limit_ends_the_connection() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    client.send_text("x".repeat(200_000)).await;
    assert_eq!(client.refusal().await, ("too_large".to_owned(), 1009));
}

#[tokio::test]
async fn more_than_twenty_bad_frames_end_the_connection() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    for _ in 0..20 {
        client.send_text("nonsense".to_owned()).await;
        assert_eq!(client.next().await["code"], "bad_frame");
    }
    client.send_text("nonsense".to_owned()).await;
    assert_eq!(client.refusal().await, ("bad_request".to_owned(), 4500));
}

#[tokio::test]
async fn integers_may_stand_in_quotes() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room", "tail": "5"}])).await;
    assert_eq!(client.next().await["t"], "sub_ok");
    client.send(json!({"t": "next", "ch": "dialog:room", "from": "0"})).await;
    assert_eq!(client.next().await["t"], "page");
}

#[tokio::test]
async fn a_signal_reaches_the_others_at_once_and_is_gone() {
    let server = start(|_| {}).await;
    let subs = || json!([{"ch": "dialog:room"}]);
    let mut ada = server.client("ada", subs()).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
    let mut bob = server.client("bob", subs()).await;
    assert_eq!(bob.next().await["t"], "sub_ok");
    ada.send(json!({"t": "signal", "ch": "dialog:room", "kind": "typing", "body": {"on": true}})).await;
    let signal = bob.next().await;
    assert_eq!((&signal["t"], &signal["by"]["id"]), (&json!("signal"), &json!("ada")));
    assert!(ada.is_alive().await);
    let mut late = server.client("eve", subs()).await;
    let sub = late.next().await;
    assert_eq!((&sub["t"], &sub["head"]), (&json!("sub_ok"), &json!(0)));
}
