//! Protocol sections 1 and 3: accepted bodies fit every frame, and errors name what is malformed.

use crate::support::*;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// The deepest body, in levels.
const DEEPEST: usize = 24;

/// A message's body with this many levels.
fn nested(levels: usize) -> Value {
    let mut inner = json!(1);
    for _ in 1..levels {
        inner = json!([inner]);
    }
    json!({"text": "deep", "x": inner})
}

/// The next `ok` or `nack`.
async fn answer(client: &mut Client) -> Value {
    loop {
        let frame = client.next().await;
        if frame["t"] == "ok" || frame["t"] == "nack" {
            return frame;
        }
    }
}

/// The text of the next message with an event.
async fn raw_event(client: &mut Client) -> String {
    loop {
        match client.socket.next().await {
            Some(Ok(Message::Text(text))) if text.contains("\"t\":\"event\"") => return text.to_string(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[tokio::test]
async fn a_body_is_taken_up_to_its_depth_and_comes_whole_in_every_frame() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    ada.next_of("sub_ok").await;
    bob.next_of("sub_ok").await;
    let mut taken = vec![];
    for levels in 2..=31 {
        let mut op = message(&id(), "");
        op["body"] = nested(levels);
        // As a frame of its own, and as one of an array.
        let frame = if levels % 2 == 0 { op.clone() } else { json!([op]) };
        if depth(&frame) > 32 {
            ada.send(frame).await;
            assert_eq!(ada.next_of("error").await["code"], "too_deep", "{levels}");
            continue;
        }
        ada.send(frame).await;
        let answer = answer(&mut ada).await;
        if levels <= DEEPEST {
            assert_eq!(answer["t"], "ok", "{levels}");
            taken.push(op["body"].clone());
            assert_eq!(bob.next_of("event").await["body"], op["body"]);
        } else {
            assert_eq!((&answer["code"], &answer["retryable"]), (&json!("too_deep"), &json!(false)));
        }
    }
    let mut carol = server.client("carol", json!([{"ch": "dialog:room", "tail": 0}])).await;
    let sub_ok = carol.next_of("sub_ok").await;
    carol.send(json!({"t": "next", "ch": "dialog:room", "from": 0})).await;
    let page = carol.next_of("page").await;
    let mut dave = server.client("dave", json!([{"ch": "dialog:room"}])).await;
    let all = dave.next_of("sub_ok").await;
    assert_eq!(sub_ok["head"], json!(taken.len()));
    for frame in [page, all] {
        assert!(depth(&json!([frame])) <= 32);
        let bodies: Vec<&Value> =
            frame["events"].as_array().unwrap().iter().map(|event| &event["body"]).collect();
        assert_eq!(bodies, taken.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_signal_is_taken_up_to_the_same_depth() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    ada.next_of("sub_ok").await;
    bob.next_of("sub_ok").await;
    for (levels, taken) in [(1, true), (DEEPEST, true), (DEEPEST + 1, false), (30, false)] {
        let body = nested(levels);
        ada.send(json!({"t": "signal", "ch": "dialog:room", "kind": "k", "body": body})).await;
        if taken {
            assert_eq!(bob.next_of("signal").await["body"], body);
        } else {
            assert_eq!(ada.next_of("error").await["code"], "too_deep", "{levels}");
        }
    }
}

#[tokio::test]
async fn line_breaks_between_the_tokens_of_a_body_are_spaces_for_everybody() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    ada.next_of("sub_ok").await;
    bob.next_of("sub_ok").await;
    let op = id();
    let frame =
        |body: &str| format!(r#"{{"t":"op","id":"{op}","ch":"dialog:room","kind":"message","body":{body}}}"#);
    ada.send_text(frame("{\n\"text\":\r\n\"a\\nb\"}")).await;
    assert_eq!(ada.next_of("ok").await["offset"], 1);
    let event = raw_event(&mut bob).await;
    assert!(event.contains("{ \"text\":  \"a\\nb\"}"), "{event}");
    // The same op with other white space.
    ada.send_text(frame("{ \"text\":  \"a\\nb\"}")).await;
    assert_eq!(ada.next_of("ok").await["dup"], true);
}

#[tokio::test]
async fn an_optional_member_of_another_type_is_named_and_the_connection_stays() {
    let server = start(|_| {}).await;
    let op = message(&id(), "text");
    let cases = [
        (json!({"t": "sub", "ch": "dialog:room"}), "tail", json!(7)),
        (json!({"t": "sub", "ch": "dialog:room", "epoch": "e"}), "offset", json!(7)),
        (json!({"t": "sub", "ch": "dialog:room", "offset": 1}), "epoch", json!("e")),
        (op, "after", json!("x")),
        (json!({"t": "signal", "ch": "dialog:room", "kind": "k", "body": {}}), "key", json!("x")),
    ];
    let values = [json!("x"), json!(1.5), json!(-1), json!(true), json!([1]), json!({"a": 1})];
    for (frame, member, right) in cases {
        let mut client = server.client("ada", json!([])).await;
        for value in values.iter().filter(|value| {
            std::mem::discriminant(*value) != std::mem::discriminant(&right) || value.as_f64() == Some(1.5)
        }) {
            let mut wrong = frame.clone();
            wrong[member] = value.clone();
            client.send(wrong.clone()).await;
            let error = client.next_of("error").await;
            assert_eq!(error["code"], "bad_frame", "{wrong}");
            assert!(error["message"].as_str().unwrap().contains(&format!("`{member}`")), "{error}");
        }
        client.send(json!({"t": "ping", "n": "still here"})).await;
        assert_eq!(client.next_of("pong").await["n"], "still here");
    }
    for (member, value) in
        [("subs", json!({})), ("subs", json!("x")), ("session", json!(7)), ("agent", json!([]))]
    {
        let mut client = Client::connect(server.address).await;
        let mut hello = json!({"t": "hello", "v": 1, "client": id(), "token": token("ada", json!({}))});
        hello[member] = value;
        client.send(hello).await;
        let error = client.next_of("error").await;
        assert_eq!(error["code"], "bad_frame");
        assert!(error["message"].as_str().unwrap().contains(&format!("`{member}`")), "{error}");
    }
}

#[tokio::test]
async fn an_op_id_is_the_same_in_both_cases_and_never_nil() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    let op = id();
    assert_eq!(client.op(message(&op, "once")).await["t"], "ok");
    assert_eq!(client.op(message(&op.to_uppercase(), "once")).await["dup"], true);
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(client.op(message(nil, "x")).await["code"], "bad_op_id");
    let mut after = message(&id(), "x");
    after["after"] = json!(nil);
    assert_eq!(client.op(after).await["code"], "bad_op_id");
}

#[tokio::test]
async fn the_welcome_says_how_deep_a_body_may_be() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(server.address).await;
    let welcome = client.hello(&token("ada", json!({})), json!([])).await;
    assert_eq!(welcome["limits"]["body_depth"], json!(DEEPEST));
}
