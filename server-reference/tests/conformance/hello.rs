//! Protocol section 2: the life of a connection.

use crate::support::*;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn hello_is_answered_by_welcome_and_then_each_subscription_in_order() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(server.address).await;
    let subs = json!([{"ch": "dialog:room"}, {"ch": "dialog:nowhere"}, {"ch": "room"}]);
    let welcome = client.hello(&token("ada", json!({"name": "Ada"})), subs).await;
    assert_eq!(welcome["user"], json!({"id": "ada", "name": "Ada", "kind": "user"}));
    assert_eq!((&welcome["ping_ms"], &welcome["grace_ms"]), (&json!(25_000), &json!(10_000)));
    assert_eq!(welcome["limits"]["message_bytes"], 65_536);
    let ttl = welcome["token_ttl_ms"].as_u64().unwrap();
    assert!((3_590_000..=3_600_000).contains(&ttl), "{ttl}");
    let sub = client.next().await;
    assert_eq!(
        (&sub["t"], &sub["mode"], &sub["from"], &sub["head"]),
        (&json!("sub_ok"), &json!("fresh"), &json!(0), &json!(0))
    );
    for ch in ["dialog:nowhere", "room"] {
        let sub = client.next().await;
        assert_eq!(
            (&sub["t"], &sub["ch"], &sub["code"]),
            (&json!("sub_err"), &json!(ch), &json!("forbidden"))
        );
    }
}

#[tokio::test]
async fn whoever_does_not_say_hello_is_sent_away() {
    let server = start(|config| config.timeouts.hello = Duration::from_millis(200)).await;
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.refusal().await, ("hello_timeout".to_owned(), 4006));

    let mut client = Client::connect(server.address).await;
    client.send(message(&id(), "first")).await;
    assert_eq!(client.refusal().await, ("hello_required".to_owned(), 4500));

    let mut client = Client::connect(server.address).await;
    client.send(json!({"t": "hello", "v": 2, "client": id(), "token": token("ada", json!({}))})).await;
    assert_eq!(client.refusal().await, ("unsupported_version".to_owned(), 4526));
}

#[tokio::test]
async fn a_half_sent_header_does_not_hold_a_socket() {
    let server = start(|config| config.timeouts.header = Duration::from_millis(200)).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgr").await.unwrap();
    let (begun, mut rest) = (Instant::now(), Vec::new());
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_one_that_answers_stays() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_millis(500);
        config.timeouts.grace = Duration::from_millis(500);
    })
    .await;
    let mut lively = server.client("ada", json!([])).await;
    let mut silent = server.client("bob", json!([])).await;
    // For twice as long as silence may last, with short pauses between two signs of life. `refusal`
    // answers pings, so the silent client must not read meanwhile.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(lively.is_alive().await);
    }
    assert_eq!(silent.refusal().await, ("ping_timeout".to_owned(), 4001));
}

#[tokio::test]
async fn pages_of_other_hosts_are_refused_unless_they_are_listed() {
    let server = start(|config| config.allowed_origins = vec!["https://app.example.com".to_owned()]).await;
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "https://app.example.com"] {
        let mut client = Client::connect_with(server.address, Some(origin), None).await;
        client.hello(&token("ada", json!({})), json!([])).await;
    }
    let mut client = Client::connect_with(server.address, Some("https://evil.example.com"), None).await;
    assert_eq!(client.refusal().await, ("origin_not_allowed".to_owned(), 4503));
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_for_a_user() {
    let server = start(|config| {
        config.limits.connections = 3;
        config.limits.connections_per_user = 2;
    })
    .await;
    let first = server.client("ada", json!([])).await;
    let _second = server.client("ada", json!([])).await;
    let mut third = Client::connect(server.address).await;
    third.say_hello(&token("ada", json!({})), json!([])).await;
    assert_eq!(third.refusal().await, ("too_many_connections".to_owned(), 4007));
    let _third = server.client("bob", json!([])).await;
    let mut fourth = Client::connect(server.address).await;
    assert_eq!(fourth.refusal().await, ("too_many_connections".to_owned(), 4007));
    drop(first);
    // The connection counts until the server has seen its end.
    soon(async || {
        let mut again = Client::connect(server.address).await;
        again.say_hello(&token("ada", json!({})), json!([])).await;
        (again.next().await["t"] == "welcome").then_some(())
    })
    .await;
}

#[tokio::test]
async fn bye_ends_the_connection_normally() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    client.send(json!({"t": "bye"})).await;
    assert_eq!(client.refusal().await, (String::new(), 1000));
}

#[tokio::test]
async fn a_drain_says_goaway_and_closes_with_4000() {
    let server = start(|config| config.timeouts.goaway = Duration::from_millis(100)).await;
    let mut client = server.client("ada", json!([])).await;
    let drain = tokio::spawn(server.server.drain());
    let goaway = client.next_of("goaway").await;
    assert_eq!(
        (&goaway["reason"], &goaway["after_ms"], &goaway["spread_ms"]),
        (&json!("restart"), &json!(100), &json!(5000))
    );
    assert_eq!(client.say("in the announced time").await["t"], "ok");
    assert_eq!(client.refusal().await, (String::new(), 4000));
    drain.await.unwrap();
}
