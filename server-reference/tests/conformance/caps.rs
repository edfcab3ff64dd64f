//! Limits of connections per dialog and per address.

use crate::support::*;
use serde_json::json;

async fn until_welcome(connect: impl AsyncFn() -> Client) {
    // The connection counts until the server has seen its end.
    soon(async || {
        let mut client = connect().await;
        client.say_hello(&token("ada", json!({})), json!([])).await;
        (client.next().await["t"] == "welcome").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dialog_has_a_most_of_connections_and_the_next_is_told_to_try_again() {
    let server = start(|config| config.limits.connections_per_dialog = 2).await;
    let subs = || json!([{"ch": "dialog:room"}]);
    let mut first = server.client("first", subs()).await;
    assert_eq!(first.next().await["t"], "sub_ok");
    let mut second = server.client("second", subs()).await;
    assert_eq!(second.next().await["t"], "sub_ok");
    let mut third = server.client("third", subs()).await;
    let refused = third.next().await;
    assert_eq!((&refused["t"], &refused["code"]), (&json!("sub_err"), &json!("too_many_connections")));
    assert_eq!((&refused["retryable"], &refused["retry_after_ms"]), (&json!(true), &json!(5_000)));
    // Writing needs no subscription, and subscribing again takes no second place.
    assert_eq!(third.say("from outside").await["t"], "ok");
    second.send(json!({"t": "sub", "ch": "dialog:room"})).await;
    assert_eq!(second.next_of("sub_ok").await["head"], 1);
    second.send(json!({"t": "unsub", "ch": "dialog:room"})).await;
    assert!(second.is_alive().await);
    third.send(json!({"t": "sub", "ch": "dialog:room"})).await;
    assert_eq!(third.next().await["t"], "sub_ok");
    drop(first);
    soon(async || {
        second.send(json!({"t": "sub", "ch": "dialog:room"})).await;
        (second.next().await["t"] == "sub_ok").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_has_a_most_of_connections() {
    let server = start(|config| config.limits.connections_per_ip = Some(2)).await;
    let first = server.client("ada", json!([])).await;
    let _second = server.client("bob", json!([])).await;
    let mut third = Client::connect(server.address).await;
    assert_eq!(third.refusal().await, ("too_many_connections".to_owned(), 4007));
    drop(first);
    until_welcome(async || Client::connect(server.address).await).await;
}

#[tokio::test]
async fn an_address_opens_so_many_connections_in_a_minute_and_is_told_when_to_come_again() {
    let server = start(|config| config.limits.handshakes_per_ip = Some(3)).await;
    for _ in 0..3 {
        drop(server.client("ada", json!([])).await);
    }
    let mut next = Client::connect(server.address).await;
    let error = next.next().await;
    assert_eq!((&error["t"], &error["code"]), (&json!("error"), &json!("rate_limited")));
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((10_000..=20_000).contains(&wait), "{wait}");
    assert_eq!(next.refusal().await.1, 4003);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_address() {
    let server = start(|config| {
        config.limits.connections_per_ip = Some(1);
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let hello = async |client: &mut Client| client.hello(&token("ada", json!({})), json!([])).await;
    let mut one = Client::connect_for(server.address, "198.51.100.1").await;
    hello(&mut one).await;
    let mut other = Client::connect_for(server.address, "198.51.100.2").await;
    hello(&mut other).await;
    // An address that the client itself claims precedes the one that the proxy appends.
    let mut again = Client::connect_for(server.address, "203.0.113.1, 198.51.100.1").await;
    assert_eq!(again.refusal().await, ("too_many_connections".to_owned(), 4007));
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_chooses_their_address() {
    let server = start(|config| config.limits.connections_per_ip = Some(1)).await;
    let mut one = Client::connect_for(server.address, "198.51.100.1").await;
    one.hello(&token("ada", json!({})), json!([])).await;
    let mut other = Client::connect_for(server.address, "198.51.100.2").await;
    assert_eq!(other.refusal().await, ("too_many_connections".to_owned(), 4007));
}

#[tokio::test]
async fn on_a_loopback_address_no_address_is_limited() {
    let server = start(|_| {}).await;
    let mut clients = Vec::new();
    for _ in 0..25 {
        clients.push(server.client("ada", json!([])).await);
    }
}

#[tokio::test]
async fn a_newer_connection_of_the_same_session_takes_the_place_of_the_older_one() {
    let server = start(|config| {
        config.limits.connections_per_user = 1;
        config.limits.connections_per_dialog = 1;
    })
    .await;
    let (client, session) = (id(), id());
    let hello = || json!({"t": "hello", "v": 1, "client": client, "session": session, "token": token("ada", json!({})), "subs": [{"ch": "dialog:room"}]});
    let mut old = Client::connect(server.address).await;
    old.send(hello()).await;
    assert_eq!(old.next().await["t"], "welcome");
    assert_eq!(old.next().await["t"], "sub_ok");
    let mut new = Client::connect(server.address).await;
    new.send(hello()).await;
    assert_eq!(new.next().await["t"], "welcome");
    assert_eq!(new.next().await["t"], "sub_ok", "the seat is free at once");
    assert_eq!(old.refusal().await, ("replaced".to_owned(), 4008));
    assert_eq!(new.say("still here").await["t"], "ok");
    let mut stranger = Client::connect(server.address).await;
    stranger.say_hello(&token("ada", json!({})), json!([])).await;
    assert_eq!(stranger.refusal().await, ("too_many_connections".to_owned(), 4007));
}
