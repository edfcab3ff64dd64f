//! Peers that do not read, or that send useless frames.

use crate::support::*;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_while_the_others_go_on() {
    let server = start(|_| {}).await;
    let mut slow = Client::connect_with(server.address, None, Some(4096)).await;
    slow.say_hello(&token("slow", json!({})), json!([{"ch": "dialog:room"}])).await;
    let mut healthy = server.client("healthy", json!([{"ch": "dialog:room"}])).await;
    let mut writer = server.client("writer", json!([])).await;
    let rounds = 40;
    let reader = tokio::spawn(async move {
        for offset in 1..=rounds * 16u64 {
            assert_eq!(healthy.next_of("event").await["offset"], offset);
        }
    });
    let text = "x".repeat(16_000);
    for _ in 0..rounds {
        for chunk in 0..4 {
            let ops: Vec<Value> = (0..4).map(|_| message(&id(), &text[chunk..])).collect();
            for op in ops {
                writer.send(op).await;
            }
        }
        for _ in 0..16 {
            assert_eq!(writer.next_of("ok").await["t"], "ok");
        }
    }
    reader.await.unwrap();
    assert_eq!(slow.refusal().await, ("slow_consumer".to_owned(), 4002));
}

#[tokio::test]
async fn a_flood_of_pings_is_ended_and_costs_no_memory() {
    let server = start(|_| {}).await;
    for websocket in [false, true] {
        let client = server.client("ada", json!([])).await;
        let before = resident_kb();
        let (mut sink, mut stream) = client.socket.split();
        let flood = tokio::spawn(async move {
            for n in 0..200_000 {
                let message = if websocket {
                    Message::Ping(vec![0; 100].into())
                } else {
                    Message::Text(json!({"t": "ping", "n": n.to_string()}).to_string().into())
                };
                if sink.send(message).await.is_err() {
                    return true;
                }
            }
            false
        });
        assert!(flood.await.unwrap(), "the flooder was not cut off");
        assert!(resident_kb() < before + 20_000);
        let mut closed = None;
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(frame) = message {
                closed = frame.map(|frame| u16::from(frame.code));
            }
        }
        // The flood may make the system discard the close frame.
        assert!(matches!(closed, Some(4003) | None), "{closed:?}");
    }
}

#[tokio::test]
async fn more_control_frames_than_allowed_close_with_a_time_to_wait() {
    let server = start(|config| config.limits.control_frames = 5).await;
    let mut client = server.client("ada", json!([])).await;
    for n in 0..6 {
        client.send(json!({"t": "ping", "n": n.to_string()})).await;
    }
    let error = client.next_of("error").await;
    assert_eq!((&error["code"], &error["retry_after_ms"]), (&json!("rate_limited"), &json!(10_000)));
    client.refusal().await;
    assert_eq!(client.close.unwrap().0, 4003);
}

#[tokio::test]
async fn many_great_subscriptions_at_once_do_not_overflow_the_queue() {
    let server = start(|config| {
        config.public_dialogs = (0..12).map(|n| format!("d{n}")).collect();
    })
    .await;
    let mut writer = server.client("writer", json!([])).await;
    let text = "x".repeat(16_000);
    for n in 0..12 {
        for _ in 0..16 {
            let op = json!({"t": "op", "id": id(), "ch": format!("dialog:d{n}"), "kind": "message", "body": {"text": text}});
            assert_eq!(writer.op(op).await["t"], "ok");
        }
    }
    let subs: Vec<Value> = (0..12).map(|n| json!({"ch": format!("dialog:d{n}")})).collect();
    let mut client = server.client("ada", json!(subs)).await;
    for n in 0..12 {
        let sub = client.next().await;
        assert_eq!((&sub["t"], &sub["ch"]), (&json!("sub_ok"), &json!(format!("dialog:d{n}"))));
    }
}
