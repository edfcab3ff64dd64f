//! Protocol section 5: subscribing without a gap.

use crate::support::*;
use serde_json::{Value, json};

async fn fill(server: &TestServer, events: usize) {
    let mut writer = server.client("writer", json!([])).await;
    for chunk in (0..events).collect::<Vec<_>>().chunks(32) {
        let ops: Vec<Value> = chunk.iter().map(|n| message(&id(), &n.to_string())).collect();
        writer.send(json!(ops)).await;
        for _ in chunk {
            writer.next_of("ok").await;
        }
    }
}

/// Follows a channel by the client's rules until `last`; returns the offsets as they were applied.
async fn follow(client: &mut Client, last: u64) -> Vec<u64> {
    let mut applied = Vec::new();
    let mut cursor = 0;
    let mut live = false;
    while cursor < last {
        let frame = client.next().await;
        let events: Vec<Value> = match frame["t"].as_str().unwrap() {
            "sub_ok" | "page" => {
                assert!(!live, "a page was not asked for");
                if frame["t"] == "sub_ok" {
                    cursor = frame["from"].as_u64().unwrap();
                }
                assert_eq!(frame["from"], cursor);
                let events = frame["events"].as_array().unwrap().clone();
                assert!(events.len() <= 256);
                live = frame["more"] == false;
                if !live {
                    let from = cursor + events.len() as u64;
                    client.send(json!({"t": "next", "ch": "dialog:room", "from": from})).await;
                }
                events
            }
            "event" => {
                assert!(live, "a live frame while catching up");
                vec![frame]
            }
            _ => continue,
        };
        for event in events {
            assert_eq!(event["offset"], cursor + 1, "a gap or a double");
            cursor += 1;
            applied.push(cursor);
        }
    }
    applied
}

#[tokio::test]
async fn pages_and_live_events_join_without_gap_or_double_while_others_write() {
    let server = start(|_| {}).await;
    fill(&server, 600).await;
    let writers = 3;
    let each = 200;
    let mut tasks = Vec::new();
    for n in 0..writers {
        let mut writer = server.client(&format!("writer{n}"), json!([])).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..each {
                assert_eq!(writer.say("more").await["t"], "ok");
            }
        }));
    }
    let last = 600 + writers * each;
    let mut followers = Vec::new();
    for n in 0..6u64 {
        let tail = [1000, 1000, 500, 50, 0, 300][n as usize];
        let subs = json!([{"ch": "dialog:room", "tail": tail}]);
        let mut client = server.client(&format!("reader{n}"), subs).await;
        followers.push(tokio::spawn(async move { follow(&mut client, last).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for follower in followers {
        let applied = follower.await.unwrap();
        assert_eq!(*applied.last().unwrap(), last);
        assert!(applied.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}

#[tokio::test]
async fn next_on_a_live_channel_returns_to_catching_up() {
    let server = start(|_| {}).await;
    fill(&server, 300).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room", "tail": 0}])).await;
    assert_eq!(client.next_of("sub_ok").await["from"], 300);
    client.send(json!({"t": "next", "ch": "dialog:room", "from": 0})).await;
    let page = client.next_of("page").await;
    assert_eq!((&page["more"], &page["head"], &page["runs"]), (&json!(true), &json!(300), &json!([])));
    assert_eq!(page["events"].as_array().unwrap().len(), 256);
    // The subscription is not live again, so its own event does not come before the next page.
    assert_eq!(client.say("meanwhile").await["t"], "ok");
    client.send(json!({"t": "next", "ch": "dialog:room", "from": 256})).await;
    let page = client.next().await;
    assert_eq!((&page["t"], &page["more"]), (&json!("page"), &json!(false)));
    assert_eq!(page["events"].as_array().unwrap().len(), 45);
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes_too() {
    let server = start(|_| {}).await;
    let mut writer = server.client("writer", json!([])).await;
    for _ in 0..40 {
        writer.say(&"x".repeat(16_000)).await;
    }
    let mut client = server.client("ada", json!([{"ch": "dialog:room", "tail": 40}])).await;
    let page = client.next_of("sub_ok").await;
    assert_eq!(page["more"], true);
    let bytes: usize = page["events"].as_array().unwrap().iter().map(|event| event.to_string().len()).sum();
    assert!((200_000..=262_144).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_cursor_is_resumed_or_reset_with_the_reason() {
    let server = start(|_| {}).await;
    fill(&server, 30).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room", "tail": 10}])).await;
    let fresh = client.next_of("sub_ok").await;
    assert_eq!((&fresh["mode"], &fresh["from"], &fresh["head"]), (&json!("fresh"), &json!(20), &json!(30)));
    let epoch = fresh["epoch"].clone();
    for (epoch, offset, mode, reason, from) in [
        (epoch.clone(), 25, "resumed", Value::Null, 25),
        (epoch.clone(), 30, "resumed", Value::Null, 30),
        (epoch.clone(), 0, "resumed", Value::Null, 0),
        (epoch.clone(), 31, "reset", json!("ahead"), 25),
        (json!("another"), 25, "reset", json!("epoch"), 25),
    ] {
        client
            .send(json!({"t": "sub", "ch": "dialog:room", "epoch": epoch, "offset": offset, "tail": 5}))
            .await;
        let sub = client.next_of("sub_ok").await;
        assert_eq!((&sub["mode"], &sub["reason"], &sub["from"]), (&json!(mode), &reason, &json!(from)));
        let first = sub["events"][0]["offset"].clone();
        assert!(first == from + 1 || (first.is_null() && from == 30));
    }
}

#[tokio::test]
async fn subscriptions_are_bounded_replaced_and_ended() {
    let server = start(|config| {
        config.public_dialogs = ["a", "b", "room"].map(str::to_owned).to_vec();
        config.limits.subscriptions = 2;
    })
    .await;
    let mut client =
        server.client("ada", json!([{"ch": "dialog:a"}, {"ch": "dialog:room"}, {"ch": "dialog:b"}])).await;
    assert_eq!(client.next().await["t"], "sub_ok");
    assert_eq!(client.next().await["t"], "sub_ok");
    assert_eq!(client.next().await["code"], "too_many_subscriptions");
    client.send(json!({"t": "sub", "ch": "dialog:room"})).await;
    assert_eq!(client.next().await["t"], "sub_ok");
    client.send(json!({"t": "unsub", "ch": "dialog:room"})).await;
    client.send(json!({"t": "next", "ch": "dialog:room", "from": 0})).await;
    assert_eq!(client.next().await["code"], "not_subscribed");
    client.send(message(&id(), "nobody listens")).await;
    assert_eq!(client.next().await["t"], "ok", "no event comes after unsub");
    client.send(json!({"t": "sub", "ch": "dialog:b"})).await;
    assert_eq!(client.next().await["t"], "sub_ok");
}

#[tokio::test]
async fn a_next_from_outside_of_the_log_is_answered_by_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let server = tidewire_server::Server::start(config(&folder)).await.unwrap();
    let mut writer = Client::connect(server.address()).await;
    writer.hello(&token("writer", json!({})), json!([])).await;
    for _ in 0..10 {
        writer.say("x").await;
    }
    server.drain().await;
    // As retention would, this removes the first four events.
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    database.execute("DELETE FROM events WHERE key & 0xffffffff <= 4", []).unwrap();
    database.execute("UPDATE channels SET floor = 4", []).unwrap();
    drop(database);
    let server = tidewire_server::Server::start(config(&folder)).await.unwrap();
    let mut client = Client::connect(server.address()).await;
    client.hello(&token("ada", json!({})), json!([{"ch": "dialog:room"}])).await;
    let fresh = client.next_of("sub_ok").await;
    assert_eq!((&fresh["from"], &fresh["events"][0]["offset"]), (&json!(4), &json!(5)));
    for (from, reason) in [(11, "ahead"), (3, "trimmed")] {
        client.send(json!({"t": "next", "ch": "dialog:room", "from": from})).await;
        let reset = client.next().await;
        assert_eq!((&reset["t"], &reset["mode"]), (&json!("sub_ok"), &json!("reset")));
        assert_eq!((&reset["reason"], &reset["from"]), (&json!(reason), &json!(4)));
    }
    client.send(json!({"t": "next", "ch": "dialog:room", "from": 4})).await;
    assert_eq!(client.next().await["t"], "page");
}
