//! The budgets of peers, and what a peer still holds after it was refused.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidewire_server::config::Budget;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

fn few(ops: u64) -> Budget {
    Budget { ops: 1, per_ms: 60_000, burst: ops }
}

async fn connections(address: SocketAddr) -> u64 {
    let (_, _, body) = get(address, "/healthz").await;
    serde_json::from_str::<Value>(&body).unwrap()["connections"].as_u64().unwrap()
}

#[tokio::test]
async fn whoever_is_refused_holds_no_place() {
    let server = start(|config| {
        config.limits.connections = 3;
        config.limits.handshakes_per_ip = Some(2);
    })
    .await;
    let mut ada = server.client("ada", json!([])).await;
    let _bob = server.client("bob", json!([])).await;
    // Each refused connection stays open, because its client does not read.
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.push(Client::connect(server.address).await);
        let (status, _) = post(server.address, "/v1/http", None, &json!({})).await;
        assert_eq!(status, 429);
    }
    assert_eq!(connections(server.address).await, 2);
    for mut client in refused {
        assert_eq!(client.refusal().await, ("rate_limited".to_owned(), 4003));
    }
    assert!(ada.is_alive().await);
}

#[tokio::test]
async fn frames_that_no_other_budget_counts_have_one() {
    let next = json!({"t": "next", "ch": "dialog:room", "from": 0});
    let nowhere = json!({"t": "unsub", "ch": "dialog:nowhere"});
    let unknown = json!({"t": "of.tomorrow"});
    let wait = json!({"t": "tbl.wait", "sid": "1", "tx": "1"});
    let sub = json!({"t": "sub", "ch": "dialog:nowhere"});
    let dropped = json!({"t": "signal", "ch": "dialog:room", "kind": "typing", "body": {}});
    let refused = message("no uuid", "x");
    for frame in [next, nowhere, unknown, wait, sub, dropped, refused] {
        let server = start(|config| {
            config.limits.frames = few(10);
            config.limits.signals = few(1);
        })
        .await;
        let mut client = server.client("ada", json!([])).await;
        for _ in 0..12 {
            client.send(frame.clone()).await;
        }
        assert_eq!(client.refusal().await, ("rate_limited".to_owned(), 4003), "{frame}");
    }
    let server = start(|config| config.limits.frames = few(10)).await;
    let mut client = server.client("ada", json!([])).await;
    for _ in 0..12 {
        client.send_text("[]".to_owned()).await;
    }
    let (code, close) = client.refusal().await;
    assert!(matches!((code.as_str(), close), ("rate_limited", 4003) | ("bad_request", 4500)), "{code}");
}

#[tokio::test]
async fn ops_and_signals_within_their_budgets_cost_no_frames() {
    let server = start(|config| config.limits.frames = few(3)).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    for n in 0..30 {
        assert_eq!(client.say(&n.to_string()).await["t"], "ok");
        client.send(json!({"t": "signal", "ch": "dialog:room", "kind": "typing", "body": {}})).await;
    }
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn pages_have_a_budget_of_bytes_that_is_the_users_and_ends_no_connection() {
    let server = start(|config| {
        config.limits.page_bytes = Budget { ops: 20_000, per_ms: 1_000, burst: 100_000 };
    })
    .await;
    let mut writer = server.client("writer", json!([])).await;
    for _ in 0..4 {
        assert_eq!(writer.say(&"x".repeat(16_000)).await["t"], "ok");
    }
    let mut ada = server.client("ada", json!([{"ch": "dialog:room", "tail": 1000}])).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
    let next = json!({"t": "next", "ch": "dialog:room", "from": 0});
    let mut refused = Value::Null;
    for _ in 0..5 {
        ada.send(next.clone()).await;
        refused = ada.next().await;
        if refused["t"] == "sub_err" {
            break;
        }
    }
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("rate_limited"), &json!(true)));
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    assert!((1..5_000).contains(&wait), "{wait}");
    // The budget is the user's over all connections; another user is not affected.
    let mut again = server.client("ada", json!([{"ch": "dialog:room", "tail": 1}])).await;
    assert_eq!(again.next().await["code"], "rate_limited");
    let mut bob = server.client("bob", json!([{"ch": "dialog:room", "tail": 1}])).await;
    assert_eq!(bob.next().await["t"], "sub_ok");
    sleep(Duration::from_millis(wait + 50)).await;
    ada.send(json!({"t": "sub", "ch": "dialog:room", "tail": 1})).await;
    assert_eq!(ada.next().await["t"], "sub_ok", "from then on it goes on");
}

#[tokio::test]
async fn an_unknown_dialog_and_somebody_elses_are_answered_alike() {
    let server = start(|_| {}).await;
    let owner = token("bob", json!({}));
    assert_eq!(post(server.address, "/v1/dialogs", Some(&owner), &json!({"id": "his"})).await.0, 201);
    let mut ada = server.client("ada", json!([])).await;
    let mut answers = Vec::new();
    for ch in ["dialog:his", "dialog:nowhere", "nonsense"] {
        let without = |mut frame: Value, names: &[&str]| {
            names.iter().for_each(|name| drop(frame.as_object_mut().unwrap().remove(*name)));
            frame
        };
        ada.send(json!({"t": "sub", "ch": ch})).await;
        let sub = without(ada.next().await, &["ch"]);
        let op = json!({"t": "op", "id": id(), "ch": ch, "kind": "message", "body": {"text": "x"}});
        answers.push((sub, without(ada.op(op).await, &["id"])));
    }
    assert_eq!((&answers[0].0["code"], &answers[0].1["code"]), (&json!("forbidden"), &json!("forbidden")));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let eve = token("eve", json!({}));
    let mut refusals = Vec::new();
    for id in ["his", "nowhere"] {
        let head = format!("DELETE /v1/dialogs/{id} HTTP/1.1\r\nhost: {}\r\n", server.address);
        let rest = format!("authorization: Bearer {eve}\r\nconnection: close\r\n\r\n");
        let (status, _, body) = request(server.address, &(head + &rest)).await;
        refusals.push((status, body));
    }
    assert!(refusals[0].0 == 403 && refusals[0] == refusals[1], "{refusals:?}");
}

#[tokio::test]
async fn an_address_has_a_most_of_sockets_counted_before_they_say_anything() {
    let server = start(|config| config.limits.sockets_per_ip = Some(8)).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Sockets are accepted in the order in which they came.
    let mut ninth = TcpStream::connect(server.address).await.unwrap();
    let (begun, mut rest) = (Instant::now(), Vec::new());
    let _ = timeout(PATIENCE, ninth.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty() && begun.elapsed() < Duration::from_secs(2));
    held.clear();
    // The sockets count until the server has seen their ends.
    soon(async || {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    })
    .await;
    // WebSockets count as sockets too.
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(server.address).await);
    }
    assert!(Client::try_connect(server.address).await.is_none());
}

#[tokio::test]
async fn requests_of_an_address_have_a_budget_and_the_refusal_says_when_to_come_again() {
    let server = start(|config| {
        config.limits.connections_per_ip = Some(100);
        config.limits.requests = few(5);
    })
    .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let one = format!("POST /v1/http HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", server.address);
    stream.write_all(one.repeat(20).as_bytes()).await.unwrap();
    let mut answers = String::new();
    let _ = timeout(PATIENCE, stream.read_to_string(&mut answers)).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 201").count(), 5, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 429").count(), 1, "the socket ends with the refusal");
    let refusal = answers[answers.find("HTTP/1.1 429").unwrap()..].to_lowercase();
    assert!(refusal.contains("connection: close") && refusal.contains("retry-after: "), "{refusal}");
    assert!(refusal.contains("rate_limited") && refusal.contains("retry_after_ms"), "{refusal}");
}

#[tokio::test]
async fn half_a_message_goes_with_its_connection_and_a_connection_reads_one_at_a_time() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_secs(10);
        config.timeouts.grace = Duration::from_secs(10);
        config.timeouts.hello = Duration::from_millis(500);
    })
    .await;
    let (_, opened) = post(server.address, "/v1/http", None, &json!({})).await;
    let connection = opened["connection"].as_str().unwrap();
    let half = format!(
        "POST /v1/http/up HTTP/1.1\r\nhost: x\r\ntidewire-connection: {connection}\r\ntidewire-seq: 1\r\n\
         content-length: 60000\r\n\r\n{}",
        "x".repeat(50_000)
    );
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for stream in &mut slow {
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(answer.contains("404") && answer.contains("connection: close"), "{answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn more_messages_at_once_than_a_client_sends_end_the_connection() {
    let server = start(|_| {}).await;
    let (_, opened) = post(server.address, "/v1/http", None, &json!({})).await;
    let connection = opened["connection"].as_str().unwrap();
    let half = format!(
        "POST /v1/http/up HTTP/1.1\r\nhost: x\r\ntidewire-connection: {connection}\r\ntidewire-seq: 1\r\n\
         content-length: 60000\r\n\r\n"
    );
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        streams.push(stream);
        sleep(Duration::from_millis(20)).await;
    }
    let mut refused = 0;
    for stream in &mut streams {
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        refused += usize::from(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 4"));
    }
    assert_eq!(refused, 6);
}

#[tokio::test]
async fn an_address_makes_so_many_guests_and_guests_so_many_dialogs() {
    let server = start(|config| {
        config.limits.connections_per_ip = Some(100);
        config.limits.new_guests = few(2);
        config.limits.new_dialogs = few(3);
        config.limits.guest = Budget { ops: 1_000, per_ms: 1_000, burst: 1_000 };
    })
    .await;
    let mut guests = Vec::new();
    for n in 0..3 {
        let (status, body) =
            post(server.address, "/v1/guest", None, &json!({"nickname": format!("Ada {n}")})).await;
        if n < 2 {
            guests.push(body["token"].as_str().unwrap().to_owned());
        } else {
            assert_eq!((status, &body["error"]["code"]), (429, &json!("rate_limited")));
        }
    }
    let mut created = Vec::new();
    for n in 0..4 {
        let (status, _) = post(server.address, "/v1/dialogs", Some(guests[n % 2].as_str()), &json!({})).await;
        created.push(status);
    }
    assert_eq!(created, [201, 201, 201, 429], "all guests of an address share the budget");
    let ada = token("ada", json!({}));
    for n in 0..4 {
        let (status, _) = post(server.address, "/v1/dialogs", Some(&ada), &json!({})).await;
        assert_eq!(status, if n < 3 { 201 } else { 429 });
    }
}

#[tokio::test]
async fn a_guest_renews_so_often() {
    let server = start(|_| {}).await;
    let (_, guest) = post(server.address, "/v1/guest", None, &json!({"nickname": "Ada"})).await;
    let token = guest["token"].as_str();
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(post(server.address, "/v1/guest", token, &json!({})).await.0);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 30, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
}
