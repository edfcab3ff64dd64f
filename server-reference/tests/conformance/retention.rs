//! What is trimmed, what stays, and what clients notice.

use crate::support::*;
use futures_util::stream::{self, BoxStream, StreamExt};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidewire_server::responder::{ModelError, Responder, Turn};
use tidewire_server::{Config, Server};
use tokio::time::sleep;

const DAY_MS: i64 = 86_400_000;

/// Keeps this many events of a channel; only `trim_now` trims.
fn newest(events: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        config.retention.events = events;
        config.retention.every = Duration::from_secs(3600);
    }
}

fn database(folder: &Path) -> Connection {
    let database = Connection::open(folder.join("tidewire.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database
}

/// Writes this many messages; returns their ops.
async fn fill(client: &mut Client, events: usize) -> Vec<Value> {
    let mut ops = Vec::new();
    for n in 0..events {
        let op = message(&id(), &n.to_string());
        assert_eq!(client.op(op.clone()).await["t"], "ok");
        ops.push(op);
    }
    ops
}

async fn subscribe(client: &mut Client, sub: Value) -> Value {
    client.send(sub).await;
    client.next_of("sub_ok").await
}

#[tokio::test]
async fn events_beyond_the_number_go_and_the_rest_stays_dense() {
    let server = start(newest(10)).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let epoch = client.next_of("sub_ok").await["epoch"].clone();
    // More than one batch.
    fill(&mut client, 600).await;
    assert_eq!(server.server.trim_now().await.unwrap(), 590);
    assert_eq!(server.server.trim_now().await.unwrap(), 0);
    assert_eq!(client.say("live").await["offset"], 601);
    let sub = subscribe(&mut client, json!({"t": "sub", "ch": "dialog:room", "tail": 1000})).await;
    assert_eq!((&sub["from"], &sub["head"], &sub["more"]), (&json!(590), &json!(601), &json!(false)));
    let offsets: Vec<u64> =
        sub["events"].as_array().unwrap().iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (591..=601).collect::<Vec<_>>());
    for (offset, mode, reason) in [(589, "reset", json!("trimmed")), (590, "resumed", Value::Null)] {
        let sub = json!({"t": "sub", "ch": "dialog:room", "epoch": epoch, "offset": offset, "tail": 5});
        let sub = subscribe(&mut client, sub).await;
        assert_eq!((&sub["mode"], &sub["reason"]), (&json!(mode), &reason));
    }
    client.send(json!({"t": "next", "ch": "dialog:room", "from": 12})).await;
    assert_eq!(client.next_of("sub_ok").await["reason"], "trimmed");
}

#[tokio::test]
async fn events_of_some_age_go_on_a_timer_and_the_next_gets_the_next_offset() {
    let server = start(|config| {
        config.retention.age = Duration::from_millis(300);
        config.retention.every = Duration::from_millis(50);
    })
    .await;
    let mut client = server.client("ada", json!([])).await;
    fill(&mut client, 5).await;
    loop {
        sleep(Duration::from_millis(50)).await;
        let sub = subscribe(&mut client, json!({"t": "sub", "ch": "dialog:room"})).await;
        if sub["from"] == 5 {
            assert_eq!((&sub["head"], &sub["events"]), (&json!(5), &json!([])));
            break;
        }
    }
    client.send(message(&id(), "again")).await;
    assert_eq!(client.event("message").await["offset"], 6);
}

#[tokio::test]
async fn nothing_is_trimmed_when_everything_is_kept() {
    let server = start(|config| config.retention.age = Duration::ZERO).await;
    let mut client = server.client("ada", json!([])).await;
    fill(&mut client, 3).await;
    let database = database(server.folder.path());
    database.execute("UPDATE channels SET oldest = 1", []).unwrap();
    assert_eq!(server.server.trim_now().await.unwrap(), 0);
}

#[tokio::test]
async fn an_op_whose_event_was_trimmed_still_gets_its_first_answer() {
    let server = start(newest(1)).await;
    let mut client = server.client("ada", json!([])).await;
    let ops = fill(&mut client, 4).await;
    assert_eq!(server.server.trim_now().await.unwrap(), 3);
    let again = client.op(ops[1].clone()).await;
    assert_eq!((&again["t"], &again["offset"], &again["dup"]), (&json!("ok"), &json!(2), &json!(true)));
    assert!(again["at"].as_u64().is_some());
    let mut other = ops[1].clone();
    other["body"]["text"] = json!("something else");
    assert_eq!(client.op(other).await["code"], "op_id_reused");
    // Another user's op with the same id is another op.
    let mut bob = server.client("bob", json!([])).await;
    assert_eq!(bob.op(ops[1].clone()).await["offset"], 5);
    let mut after = message(&id(), "behind a trimmed op");
    after["after"] = ops[0]["id"].clone();
    assert_eq!(client.op(after).await["offset"], 6);
}

#[tokio::test]
async fn an_op_id_is_remembered_for_eight_days_and_then_forgotten() {
    let server = start(newest(1)).await;
    let mut client = server.client("ada", json!([])).await;
    let ops = fill(&mut client, 4).await;
    server.server.trim_now().await.unwrap();
    let database = database(server.folder.path());
    let age = |offset: i64, days: i64, minutes: i64| {
        let age = days * DAY_MS + minutes * 60_000;
        let changed =
            database.execute("UPDATE trimmed_ops SET at = at - ? WHERE offset = ?", [age, offset]).unwrap();
        assert_eq!(changed, 1);
    };
    age(1, 8, 1);
    age(2, 8, -1);
    server.server.trim_now().await.unwrap();
    assert_eq!(client.op(ops[0].clone()).await["offset"], 5);
    assert_eq!(client.op(ops[1].clone()).await["dup"], true);
}

#[tokio::test]
async fn the_op_of_an_event_older_than_that_leaves_nothing() {
    let server = start(newest(1)).await;
    let mut client = server.client("ada", json!([])).await;
    fill(&mut client, 3).await;
    let database = database(server.folder.path());
    let frame: String =
        database.query_row("SELECT frame FROM events ORDER BY key LIMIT 1", [], |row| row.get(0)).unwrap();
    let mut event: Value = serde_json::from_str(&frame).unwrap();
    event["at"] = json!(event["at"].as_i64().unwrap() - 9 * DAY_MS);
    database.execute("UPDATE events SET frame = ? WHERE frame = ?", [event.to_string(), frame]).unwrap();
    assert_eq!(server.server.trim_now().await.unwrap(), 2);
    let kept: i64 = database.query_row("SELECT count(*) FROM trimmed_ops", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

/// Begins an answer that never ends by itself.
struct Endless;

impl Responder for Endless {
    fn answer(&self, _: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>> {
        stream::once(async { Ok("so far".to_owned()) }).chain(stream::pending()).boxed()
    }
}

#[tokio::test]
async fn an_answer_under_way_keeps_its_message_and_all_that_follows() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    newest(1)(&mut config);
    let server = Server::start_with(config, Some(Arc::new(Endless))).await.unwrap();
    // What a backend writes wants no answer.
    let claims =
        json!({"kind": "service", "aud": "tidewire-service", "account": "default", "scopes": ["publish"]});
    let mut backend = Client::connect(server.address()).await;
    backend.hello(&token("backend", claims), json!([])).await;
    fill(&mut backend, 3).await;
    let mut client = Client::connect(server.address()).await;
    client.hello(&token("ada", json!({})), json!([{"ch": "dialog:room"}])).await;
    client.send(message(&id(), "a question")).await;
    let run = client.event("answer.start").await["body"]["run"].clone();
    client.next_of("piece").await;
    fill(&mut backend, 3).await;
    assert_eq!(server.trim_now().await.unwrap(), 3, "only what was before the question");
    let sub = subscribe(&mut client, json!({"t": "sub", "ch": "dialog:room", "tail": 100})).await;
    assert_eq!((&sub["from"], &sub["runs"][0]["text"]), (&json!(3), &json!("so far")));
    assert_eq!(sub["events"][0]["body"]["text"], "a question");
    client
        .send(json!({"t": "op", "id": id(), "ch": "dialog:room", "kind": "run.cancel", "body": {"run": run}}))
        .await;
    let end = client.event("answer.end").await;
    assert_eq!((&end["body"]["status"], &end["offset"]), (&json!("stopped"), &json!(10)));
    assert_eq!(server.trim_now().await.unwrap(), 6);
}

#[tokio::test]
async fn readers_and_writers_go_on_while_the_log_is_trimmed() {
    let server = start(|config| {
        config.retention.events = 400;
        config.retention.every = Duration::from_millis(10);
    })
    .await;
    let writing = tokio::spawn({
        let mut writer = server.client("writer", json!([])).await;
        async move { fill(&mut writer, 2_000).await }
    });
    let mut readers = Vec::new();
    for n in 0..4 {
        let mut client = server.client(&format!("reader{n}"), json!([])).await;
        readers.push(tokio::spawn(async move {
            let (mut cursor, mut asked, mut returns) = (0, true, 0);
            client.send(json!({"t": "sub", "ch": "dialog:room", "tail": 1000})).await;
            while cursor < 2_000 || asked {
                let frame = client.next().await;
                let events = match frame["t"].as_str().unwrap() {
                    // Sent before the server read the request.
                    "event" if asked => continue,
                    "event" => vec![frame.clone()],
                    "page" => {
                        assert_eq!(frame["from"], cursor);
                        frame["events"].as_array().unwrap().clone()
                    }
                    "sub_ok" => {
                        assert!(frame["mode"] == "fresh" || frame["reason"] == "trimmed", "{frame}");
                        cursor = frame["from"].as_u64().unwrap();
                        frame["events"].as_array().unwrap().clone()
                    }
                    _ => panic!("{frame}"),
                };
                for event in events {
                    cursor += 1;
                    assert_eq!(event["offset"], cursor, "a gap");
                }
                if frame["t"] != "event" {
                    asked = frame["more"] == true;
                    if !asked && returns < 100 {
                        // Goes back to about the oldest event that is kept.
                        (asked, returns) = (true, returns + 1);
                        cursor = cursor.saturating_sub(390);
                    }
                    if asked {
                        client.send(json!({"t": "next", "ch": "dialog:room", "from": cursor})).await;
                    }
                }
            }
        }));
    }
    writing.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    server.server.trim_now().await.unwrap();
    let mut client = server.client("late", json!([{"ch": "dialog:room", "tail": 1000}])).await;
    assert_eq!(client.next_of("sub_ok").await["from"], 1_600);
}
