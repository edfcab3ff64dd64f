//! Commits that report an error, whether or not they reached the disk.

use crate::support::*;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_server::Server;
use tidewire_server::responder::Scripted;

#[tokio::test]
async fn an_event_that_reached_the_disk_is_published_at_once_although_its_commit_failed() {
    let server = start(|_| {}).await;
    let mut reader = server.client("reader", json!([{"ch": "dialog:room"}])).await;
    let mut ada = server.client("ada", json!([])).await;
    assert_eq!(ada.say("before").await["offset"], 1);
    assert_eq!(reader.event("message").await["offset"], 1);
    server.server.fail_commit(true);
    let (op, begun) = (message(&id(), "there all the same"), Instant::now());
    let nack = ada.op(op.clone()).await;
    assert_eq!((&nack["code"], &nack["retryable"]), (&json!("store_unavailable"), &json!(true)));
    let event = reader.event("message").await;
    assert_eq!((&event["offset"], &event["id"]), (&json!(2), &op["id"]));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let again = ada.op(op).await;
    assert_eq!((&again["t"], &again["offset"], &again["dup"]), (&json!("ok"), &json!(2), &json!(true)));
    assert_eq!(ada.say("after").await["offset"], 3);
    assert_eq!(reader.event("message").await["offset"], 3);
}

#[tokio::test]
async fn an_event_that_did_not_reach_the_disk_is_neither_acknowledged_nor_published() {
    let server = start(|_| {}).await;
    let mut reader = server.client("reader", json!([{"ch": "dialog:room"}])).await;
    let mut ada = server.client("ada", json!([])).await;
    for round in 1..=3 {
        server.server.fail_commit(false);
        let op = message(&id(), "not yet");
        assert_eq!(ada.op(op.clone()).await["code"], "store_unavailable");
        let ok = insist(&mut ada, op).await;
        assert_eq!((&ok["offset"], &ok["dup"]), (&json!(round), &json!(null)));
        assert_eq!(reader.event("message").await["offset"], round);
    }
    assert_eq!(get(server.address, "/healthz").await.0, 200);
}

/// Sends an op until it is acknowledged.
async fn insist(client: &mut Client, op: Value) -> Value {
    loop {
        let answer = client.op(op.clone()).await;
        if answer["t"] == "ok" {
            return answer;
        }
        assert_eq!(answer["retryable"], true, "{answer}");
    }
}

#[tokio::test]
async fn whole_batches_in_doubt_are_published_in_order_and_once() {
    let server = start(|_| {}).await;
    let mut reader = server.client("reader", json!([{"ch": "dialog:room"}])).await;
    reader.next_of("sub_ok").await;
    let mut ada = server.client("ada", json!([])).await;
    let mut ids = HashSet::new();
    for round in 0..10 {
        server.server.fail_commit(round % 2 == 0);
        let ops: Vec<_> = (0..20).map(|n| message(&id(), &n.to_string())).collect();
        ada.send(json!(ops)).await;
        for op in ops {
            insist(&mut ada, op.clone()).await;
            ids.insert(op["id"].clone());
        }
    }
    for offset in 1..=200 {
        let event = reader.event("message").await;
        assert_eq!(event["offset"], offset);
        assert!(ids.remove(&event["id"]));
    }
}

#[tokio::test]
async fn an_answer_whose_commits_report_errors_has_one_start_and_one_end() {
    for reaches_disk in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let responder = Arc::new(Scripted::new(Duration::from_millis(5)));
        let server = Server::start_with(config(&folder), Some(responder)).await.unwrap();
        let mut reader = Client::connect(server.address()).await;
        reader.hello(&token("reader", json!({})), json!([{"ch": "dialog:room"}])).await;
        reader.next_of("sub_ok").await;
        let mut ada = Client::connect(server.address()).await;
        ada.hello(&token("ada", json!({})), json!([])).await;
        for text in ["1, 2, 3.", "1, 2."] {
            // One fault for the message, the others for start, pieces and end.
            for _ in 0..4 {
                server.fail_commit(reaches_disk);
            }
            insist(&mut ada, message(&id(), &format!("count to {}", text.split(' ').count()))).await;
            let mut kinds = Vec::new();
            while kinds.last() != Some(&json!("answer.end")) {
                let event = reader.next_of("event").await;
                kinds.push(event["kind"].clone());
                if event["kind"] == "answer.end" {
                    assert_eq!(event["body"]["text"], text);
                }
            }
            assert_eq!(kinds, ["message", "answer.start", "answer.end"]);
        }
        let mut late = Client::connect(server.address()).await;
        late.hello(&token("late", json!({})), json!([{"ch": "dialog:room"}])).await;
        let sub = late.next_of("sub_ok").await;
        assert_eq!((&sub["head"], &sub["runs"]), (&json!(6), &json!([])));
    }
}
