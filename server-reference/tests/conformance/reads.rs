//! How far channels were read: over sockets, plain requests and HTTP (protocol sections 3, 4 and
//! 13).

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidewire_server::config::{Pattern, Rule, Who};

const ROOM: &str = "dialog:room";

async fn http(address: SocketAddr, method: &str, channel: &str, token: &str, body: &str) -> (u16, Value) {
    let head = format!("{method} /v1/channels/{channel}/reads HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let head = format!("{head}authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (status, _, body) = request(address, &head).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

async fn follower(server: &TestServer, user: &str) -> (Client, Value) {
    let mut client = server.client(user, json!([{"ch": ROOM}])).await;
    client.next_of("sub_ok").await;
    client.send(json!({"t": "marks", "ch": ROOM})).await;
    let marks = client.next_of("marks").await;
    (client, marks)
}

async fn mark(client: &mut Client, offset: u64) -> Value {
    client.send(json!({"t": "mark", "ch": ROOM, "offset": offset})).await;
    client.next_of("marks").await
}

fn users(marks: &Value) -> Vec<(String, u64)> {
    let users = marks["users"].as_array().unwrap().iter();
    let user =
        |one: &Value| (one["user"]["id"].as_str().unwrap().to_owned(), one["offset"].as_u64().unwrap());
    users.map(user).collect()
}

#[tokio::test]
async fn a_position_is_told_to_all_devices_of_a_user_and_to_others() {
    let server = start(|_| {}).await;
    let (mut ada, first) = follower(&server, "ada").await;
    assert_eq!(first, json!({"t": "marks", "ch": ROOM, "offset": 0, "unread": 0, "head": 0, "users": []}));
    for text in ["one", "two", "three"] {
        ada.say(text).await;
    }
    let (mut bob, marks) = follower(&server, "bob").await;
    assert_eq!((&marks["offset"], &marks["unread"], &marks["head"]), (&json!(0), &json!(3), &json!(3)));
    let (mut phone, _) = follower(&server, "bob").await;
    let own = mark(&mut bob, 2).await;
    assert_eq!((&own["offset"], users(&own)), (&json!(2), vec![]));
    assert_eq!(phone.next_of("marks").await["offset"], 2);
    let told = ada.next_of("marks").await;
    assert_eq!((told.get("offset"), users(&told)), (None, vec![("bob".to_owned(), 2)]));
    // It never goes back, and is answered with what is stored.
    assert_eq!(mark(&mut phone, 1).await["offset"], 2);
    let (_, marks) = follower(&server, "bob").await;
    assert_eq!((&marks["offset"], &marks["unread"]), (&json!(2), &json!(1)));
    let (_, marks) = follower(&server, "eve").await;
    assert_eq!(users(&marks), [("bob".to_owned(), 2)]);
}

#[tokio::test]
async fn a_position_needs_a_subscription_and_an_event() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([])).await;
    for frame in ["mark", "marks"] {
        ada.send(json!({"t": frame, "ch": ROOM, "offset": 1})).await;
        assert_eq!(ada.next_of("marks").await["refused"], "not_subscribed");
    }
    ada.send(json!({"t": "sub", "ch": ROOM})).await;
    ada.next_of("sub_ok").await;
    ada.say("one").await;
    for offset in [0_u64, 2, 1 << 40, (1 << 53) - 1, u64::MAX] {
        let refused = mark(&mut ada, offset).await;
        assert_eq!((&refused["refused"], refused.get("retry_after_ms")), (&json!("bad_offset"), None));
    }
    for offset in [json!(-1), json!("x"), json!(1.5), Value::Null] {
        ada.send(json!({"t": "mark", "ch": ROOM, "offset": offset})).await;
        assert_eq!(ada.next_of("error").await["code"], "bad_frame", "{offset}");
    }
    assert_eq!(mark(&mut ada, 1).await["offset"], 1);
    // Who no longer reads is told nothing more.
    let (mut bob, _) = follower(&server, "bob").await;
    bob.send(json!({"t": "unsub", "ch": ROOM})).await;
    ada.say("two").await;
    mark(&mut ada, 2).await;
    bob.send(json!({"t": "ping", "n": "last"})).await;
    let mut seen = Vec::new();
    loop {
        let frame = bob.next().await;
        if frame["n"] == "last" {
            break;
        }
        seen.push(frame["t"].clone());
    }
    assert!(!seen.contains(&json!("marks")), "{seen:?}");
}

#[tokio::test]
async fn many_marks_are_few_writes_and_each_is_answered() {
    let server = start(|_| {}).await;
    let (mut ada, _) = follower(&server, "ada").await;
    for n in 1..=20 {
        ada.say(&n.to_string()).await;
    }
    for offset in 1..=20 {
        ada.send(json!({"t": "mark", "ch": ROOM, "offset": offset})).await;
    }
    let mut answers = Vec::new();
    while answers.last() != Some(&json!(20)) {
        answers.push(ada.next_of("marks").await["offset"].clone());
    }
    assert!(answers.len() <= 3, "{answers:?}");
}

#[tokio::test]
async fn positions_of_others_are_told_where_the_rule_says_so_and_not_in_a_crowd() {
    let everyone = vec![Who::Everyone];
    let silent = Rule { open: true, ..Rule::new(Pattern::parse("news").unwrap(), everyone) };
    let server = start(|config| {
        config.channels.push(silent);
        config.limits.handshakes_per_ip = Some(0);
    })
    .await;
    let user = |id: &str| token(id, json!({}));
    let mut ada = server.client("ada", json!([{"ch": "news"}])).await;
    ada.next_of("sub_ok").await;
    let op = json!({"t": "op", "id": id(), "ch": "news", "kind": "message", "body": {"text": "x"}});
    ada.send(op).await;
    ada.next_of("ok").await;
    assert_eq!(http(server.address, "PUT", "news", &user("bob"), r#"{"offset": 1}"#).await.0, 200);
    let (status, reads) = http(server.address, "GET", "news", &user("ada"), "").await;
    let none = json!({"ch": "news", "offset": 0, "unread": 0, "more": false, "head": 1, "crowded": false, "users": []});
    assert_eq!((status, reads), (200, none));
    // In the room they are told, until there are too many.
    let (mut eve, _) = follower(&server, "eve").await;
    eve.say("hello").await;
    assert_eq!(http(server.address, "PUT", ROOM, &user("u0"), r#"{"offset": 1}"#).await.0, 200);
    assert_eq!(users(&eve.next_of("marks").await), [("u0".to_owned(), 1)]);
    // A dialog has 50 connections at most.
    for first in [1, 26] {
        let many = (first..first + 25).map(|n| {
            let (address, token) = (server.address, user(&format!("u{n}")));
            async move { http(address, "PUT", ROOM, &token, r#"{"offset": 1}"#).await.0 }
        });
        assert_eq!(futures_util::future::join_all(many).await, [200; 25]);
    }
    while eve.next_of("marks").await.get("crowded").is_none() {}
    let (_, late) = follower(&server, "eve").await;
    assert_eq!((&late["crowded"], users(&late)), (&json!(true), vec![]));
}

#[tokio::test]
async fn over_http_a_position_is_refused_with_a_status_and_a_code() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    for (body, status, code) in [
        ("", 400, "bad_request"),
        ("{}", 400, "bad_request"),
        (r#"{"offset": "1"}"#, 400, "bad_request"),
        (r#"{"offset": 1, "user": "bob"}"#, 400, "bad_request"),
        (r#"{"offset": 7}"#, 400, "bad_offset"),
    ] {
        let (got, answer) = http(server.address, "PUT", ROOM, &ada, body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body}");
    }
    let (status, answer) = http(server.address, "GET", "dialog:not-there", &ada, "").await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("forbidden")));
    let (status, _) = http(server.address, "GET", "dialog:mine-1", "nonsense", "").await;
    assert_eq!(status, 401);
}
