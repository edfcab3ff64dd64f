//! Protocol section 3: ops, their answers and their order.

use crate::support::*;
use serde_json::{Value, json};
use tidewire_server::config::Budget;

#[tokio::test]
async fn an_op_becomes_one_event_with_the_same_bytes_for_everybody() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    ada.next_of("sub_ok").await;
    bob.next_of("sub_ok").await;
    let op = id();
    // The body's unknown members, order, spaces and escapes are kept.
    let body = "{ \"z\":1e2, \"text\" : \"h\\u00e9llo\", \"a\":12345678901234567890 }";
    ada.send_text(format!(
        "{{\"t\":\"op\",\"id\":\"{op}\",\"ch\":\"dialog:room\",\"kind\":\"message\",\"body\":{body}}}"
    ))
    .await;
    let event = ada.next_of("event").await;
    let ok = ada.next_of("ok").await;
    assert_eq!((&event["offset"], &event["id"]), (&json!(1), &json!(op)));
    assert_eq!((&ok["id"], &ok["offset"], &ok["at"]), (&json!(op), &json!(1), &event["at"]));
    assert_eq!(event["by"], json!({"id": "ada", "name": "ada", "kind": "user"}));
    assert_eq!(bob.next_of("event").await, event);
    let raw = std::fs::read(server.folder.path().join("tidewire.db-wal")).unwrap();
    let raw = String::from_utf8_lossy(&raw);
    assert!(raw.contains(body), "the body is stored as it came");
}

#[tokio::test]
async fn a_resent_op_gets_its_first_answer_and_makes_no_second_event() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    let op = message(&id(), "once");
    let first = client.op(op.clone()).await;
    let again = client.op(op.clone()).await;
    assert_eq!(
        (&again["offset"], &again["at"], &again["dup"]),
        (&first["offset"], &first["at"], &json!(true))
    );
    let other = message(op["id"].as_str().unwrap(), "twice");
    let nack = client.op(other).await;
    assert_eq!((&nack["code"], &nack["retryable"]), (&json!("op_id_reused"), &json!(false)));
    // The same id from another user is another op.
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    assert_eq!(bob.next_of("sub_ok").await["head"], 1);
    let ok = bob.op(op).await;
    assert_eq!((&ok["offset"], &ok["dup"]), (&json!(2), &Value::Null));
}

#[tokio::test]
async fn a_resent_op_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let op = message(&id(), "once");
    let mut offsets = Vec::new();
    for _ in 0..2 {
        let server = tidewire_server::Server::start(config(&folder)).await.unwrap();
        let mut client = Client::connect(server.address()).await;
        client.hello(&token("ada", json!({})), json!([])).await;
        offsets.push(client.op(op.clone()).await["offset"].clone());
        server.abort().await;
    }
    assert_eq!(offsets, [json!(1), json!(1)]);
}

#[tokio::test]
async fn after_keeps_the_order_and_a_refused_op_stops_those_behind_it() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    client.next_of("sub_ok").await;
    let ids: Vec<String> = (0..4).map(|_| id()).collect();
    let op = |n: usize, text: &str, after: Option<usize>| {
        let mut op = message(&ids[n], text);
        if let Some(after) = after {
            op["after"] = json!(ids[after]);
        }
        op
    };
    // The second op is refused, so the third and fourth are blocked; only the first is committed.
    client
        .send(json!([op(0, "0", None), op(1, "  ", Some(0)), op(2, "2", Some(1)), op(3, "3", Some(2))]))
        .await;
    let mut answers = std::collections::HashMap::new();
    while answers.len() < 4 {
        let frame = client.next().await;
        if frame["t"] == "ok" || frame["t"] == "nack" {
            answers.insert(frame["id"].as_str().unwrap().to_owned(), frame);
        }
    }
    assert_eq!(answers[&ids[0]]["offset"], 1);
    assert_eq!(answers[&ids[1]]["code"], "bad_body");
    for n in [2, 3] {
        let nack = &answers[&ids[n]];
        assert_eq!((&nack["code"], &nack["retryable"]), (&json!("blocked"), &json!(true)));
    }
    client.send(json!([op(1, "1", Some(0)), op(2, "2", Some(1)), op(3, "3", Some(2))])).await;
    for offset in 2..=4 {
        let event = client.next_of("event").await;
        assert_eq!(
            (&event["offset"], &event["body"]["text"]),
            (&json!(offset), &json!((offset - 1).to_string()))
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_its_code() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    let with = |name: &str, value: Value| {
        let mut op = message(&id(), "fine");
        op[name] = value;
        op
    };
    for (op, code) in [
        (with("id", json!("no-uuid")), "bad_op_id"),
        (with("after", json!("no-uuid")), "bad_op_id"),
        (with("kind", json!("dance")), "unknown_kind"),
        (with("body", json!({})), "bad_body"),
        (with("body", json!({"text": 1})), "bad_body"),
        (with("body", json!({"text": ""})), "bad_body"),
        (with("body", json!({"text": " \n\u{a0}"})), "bad_body"),
        (with("body", json!({"text": "x".repeat(16_385)})), "too_large"),
        (with("ch", json!("dialog:nowhere")), "forbidden"),
    ] {
        let nack = client.op(op.clone()).await;
        assert_eq!((&nack["code"], &nack["retryable"]), (&json!(code), &json!(false)), "{op:.100}");
    }
    assert_eq!(client.say(&"é".repeat(8_192)).await["offset"], 1);
}

#[tokio::test]
async fn a_budget_holds_over_all_connections_of_a_user() {
    let server = start(|config| config.limits.user = Budget { ops: 1, per_ms: 60_000, burst: 5 }).await;
    let mut first = server.client("ada", json!([])).await;
    let mut second = server.client("ada", json!([])).await;
    for n in 0..5 {
        let client = if n % 2 == 0 { &mut first } else { &mut second };
        assert_eq!(client.say("hello").await["t"], "ok");
    }
    for client in [&mut first, &mut second] {
        let nack = client.say("too much").await;
        assert_eq!((&nack["code"], &nack["retryable"]), (&json!("rate_limited"), &json!(true)));
        let wait = nack["retry_after_ms"].as_u64().unwrap();
        assert!((50_000..=60_000).contains(&wait), "{wait}");
    }
    assert_eq!(server.client("bob", json!([])).await.say("mine is full").await["t"], "ok");
}

#[tokio::test]
async fn guests_have_a_smaller_budget_than_users() {
    let server = start(|_| {}).await;
    let (_, guest) = post(server.address, "/v1/guest", None, &json!({"nickname": "Ada"})).await;
    let mut client = Client::connect(server.address).await;
    let welcome = client.hello(guest["token"].as_str().unwrap(), json!([])).await;
    assert_eq!(welcome["limits"]["burst"], 20);
    let mut answers = Vec::new();
    for _ in 0..21 {
        answers.push(client.say("hello").await["t"].clone());
    }
    assert_eq!(answers.iter().filter(|t| **t == "ok").count(), 20);
    assert_eq!(answers[20], "nack");
}

#[tokio::test]
async fn many_ops_at_once_are_committed_together_and_in_order() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    client.next_of("sub_ok").await;
    let ops: Vec<Value> = (0..32).map(|n| message(&id(), &n.to_string())).collect();
    client.send(json!(ops)).await;
    for n in 0..32 {
        let event = client.next_of("event").await;
        assert_eq!((&event["offset"], &event["body"]["text"]), (&json!(n + 1), &json!(n.to_string())));
    }
}
