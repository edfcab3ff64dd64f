//! Protocol section 7: the registry of connections. Section 6: idle connections.

use crate::support::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tidewire_server::config::ModelConfig;
use tokio::time::sleep;

fn service(account: &str, scopes: &[&str]) -> String {
    let claims = json!({"kind": "service", "aud": "tidewire-service", "account": account, "scopes": scopes});
    token("backend", claims)
}

/// Asks as this service.
async fn ask(server: &TestServer, token: &str, method: Method, path: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, format!("http://{}{path}", server.address)).bearer_auth(token);
    let response = request.send().await.unwrap();
    let status = response.status();
    (status.as_u16(), response.json().await.unwrap_or(Value::Null))
}

async fn list(server: &TestServer, query: &str) -> (Vec<Value>, Value) {
    let token = service("default", &["connections"]);
    let (status, body) = ask(server, &token, Method::GET, &format!("/v1/connections{query}")).await;
    assert_eq!(status, 200, "{body}");
    (body["connections"].as_array().unwrap().clone(), body["after"].clone())
}

fn ids(connections: &[Value]) -> Vec<&str> {
    connections.iter().map(|connection| connection["id"].as_str().unwrap()).collect()
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    u64::try_from(now).unwrap()
}

#[tokio::test]
async fn the_registry_says_who_is_connected_how_and_where() {
    let begun = now_ms();
    let server = start(|_| {}).await;
    let mut ada = Client::connect(server.address).await;
    let welcome = ada.hello(&token("ada", json!({})), json!([{"ch": "dialog:room"}])).await;
    ada.next_of("sub_ok").await;
    assert_eq!(ada.say("hello").await["t"], "ok");
    let (found, after) = list(&server, "").await;
    let [entry] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(entry["id"], welcome["conn"]);
    assert_eq!(entry["user"], json!({"id": "ada", "name": "ada", "kind": "user"}));
    assert_eq!((&entry["transport"], &entry["channels"]), (&json!("websocket"), &json!(["dialog:room"])));
    assert_eq!((&entry["runs"], &entry["waiting_bytes"], after), (&json!([]), &json!(0), Value::Null));
    for time in ["created_ms", "heard_ms", "active_ms"] {
        let at = entry[time].as_u64().unwrap();
        assert!((begun..=now_ms()).contains(&at), "{time}: {at}");
    }
    drop(ada);
    soon(async || list(&server, "").await.0.is_empty().then_some(())).await;
}

#[tokio::test]
async fn connections_over_plain_requests_are_listed_as_such() {
    let server = start(|_| {}).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/v1/http", server.address);
    for (mode, transport) in [("mode=stream", "stream"), ("mode=poll&wait=0", "poll")] {
        let opened: Value = client.post(&base).send().await.unwrap().json().await.unwrap();
        let id = opened["connection"].as_str().unwrap();
        let user = token(transport, json!({}));
        let hello = json!({"t": "hello", "v": 1, "client": crate::support::id(), "token": user, "subs": []});
        let up = client.post(format!("{base}/up")).header("tidewire-connection", id);
        let up = up.header("tidewire-seq", "1").header("content-type", "text/plain").body(hello.to_string());
        assert_eq!(up.send().await.unwrap().status(), StatusCode::NO_CONTENT);
        let down = client.get(format!("{base}/down?{mode}")).header("tidewire-connection", id);
        let _down = down.send().await.unwrap();
        let (found, _) = list(&server, &format!("?user=user:{transport}")).await;
        assert_eq!(found[0]["transport"], transport, "{found:?}");
    }
}

#[tokio::test]
async fn an_answer_under_way_is_listed_with_the_connections_in_its_channel() {
    let server = start(|config| {
        config.model = ModelConfig::Scripted { pace: Duration::from_millis(100) };
    })
    .await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let _bob = server.client("bob", json!([])).await;
    ada.say("hello").await;
    let start = ada.event("answer.start").await;
    let (found, _) = list(&server, "").await;
    assert_eq!(found[0]["runs"], json!([start["body"]["run"]]));
    assert_eq!(found[1]["runs"], json!([]));
}

#[tokio::test]
async fn pages_have_a_stable_cursor_and_filters() {
    let server = start(|_| {}).await;
    let mut clients = Vec::new();
    for number in 0..5 {
        let subs = if number % 2 == 0 { json!([{"ch": "dialog:room"}]) } else { json!([]) };
        let mut client = server.client(if number < 3 { "ada" } else { "bob" }, subs).await;
        assert!(client.is_alive().await);
        clients.push(client);
    }
    let (all, _) = list(&server, "").await;
    let all = ids(&all);
    assert_eq!(all.len(), 5);
    let (first, after) = list(&server, "?most=2").await;
    assert_eq!((ids(&first), &after), (all[..2].to_vec(), &json!(all[1])));
    // The one that the cursor names has gone meanwhile.
    drop(clients.remove(1));
    soon(async || (list(&server, "").await.0.len() == 4).then_some(())).await;
    let (second, after) = list(&server, &format!("?most=2&after={}", all[1])).await;
    assert_eq!((ids(&second), &after), (all[2..4].to_vec(), &json!(all[3])));
    let (last, after) = list(&server, &format!("?most=2&after={}", all[3])).await;
    assert_eq!((ids(&last), after), (all[4..].to_vec(), Value::Null));
    assert_eq!(ids(&list(&server, "?user=user:bob").await.0), all[3..]);
    assert_eq!(ids(&list(&server, "?channel=dialog:room").await.0), [all[0], all[2], all[4]]);
    assert_eq!(ids(&list(&server, "?channel=dialog:room&user=user:bob").await.0), all[4..]);
    assert!(list(&server, "?user=guest:bob").await.0.is_empty(), "a guest with that id is another user");
}

#[tokio::test]
async fn the_busiest_channels_are_listed_with_their_connections() {
    let server = start(|config| config.public_dialogs.push("hall".to_owned())).await;
    let backend = service("default", &["connections"]);
    let both = json!([{"ch": "dialog:room"}, {"ch": "dialog:hall"}]);
    let mut clients = Vec::new();
    for subs in [both, json!([{"ch": "dialog:hall"}]), json!([])] {
        let mut client = server.client("ada", subs).await;
        assert!(client.is_alive().await);
        clients.push(client);
    }
    let hall = json!({"ch": "dialog:hall", "connections": 2});
    let all = json!({"channels": [hall, {"ch": "dialog:room", "connections": 1}]});
    assert_eq!(ask(&server, &backend, Method::GET, "/v1/connections/channels").await, (200, all));
    let first = ask(&server, &backend, Method::GET, "/v1/connections/channels?most=1").await;
    assert_eq!(first, (200, json!({"channels": [hall]})));
    let elsewhere = service("other", &["connections"]);
    let none = ask(&server, &elsewhere, Method::GET, "/v1/connections/channels").await;
    assert_eq!(none, (200, json!({"channels": []})));
    for query in ["most=0", "most=x", "least=1"] {
        let path = format!("/v1/connections/channels?{query}");
        assert_eq!(ask(&server, &backend, Method::GET, &path).await.0, 400, "{query}");
    }
    assert_eq!(ask(&server, &token("eve", json!({})), Method::GET, "/v1/connections/channels").await.0, 403);
}

#[tokio::test]
async fn a_connection_is_closed_and_its_user_may_come_back() {
    let server = start(|_| {}).await;
    let backend = service("default", &["connections"]);
    let mut ada = Client::connect(server.address).await;
    let welcome = ada.hello(&token("ada", json!({})), json!([])).await;
    let mut other = server.client("ada", json!([])).await;
    let path = format!("/v1/connections/{}", welcome["conn"].as_str().unwrap());
    assert_eq!(ask(&server, &backend, Method::DELETE, &path).await.0, 204);
    assert_eq!(ada.refusal().await, ("kicked".to_owned(), 4009));
    assert!(other.is_alive().await);
    server.client("ada", json!([])).await;
    soon(async || (ask(&server, &backend, Method::DELETE, &path).await.0 == 404).then_some(())).await;
}

#[tokio::test]
async fn a_users_connections_and_all_connections_are_closed() {
    let server = start(|_| {}).await;
    let backend = service("default", &["connections"]);
    let (mut one, mut two) = (server.client("ada", json!([])).await, server.client("ada", json!([])).await);
    let mut bob = server.client("bob", json!([])).await;
    let (status, body) = ask(&server, &backend, Method::DELETE, "/v1/users/user/ada/connections").await;
    assert_eq!((status, body), (200, json!({"closed": 2})));
    for client in [&mut one, &mut two] {
        assert_eq!(client.refusal().await, ("kicked".to_owned(), 4009));
    }
    assert!(bob.is_alive().await);
    let nobody = ask(&server, &backend, Method::DELETE, "/v1/users/guest/ada/connections").await;
    assert_eq!(nobody, (200, json!({"closed": 0})));
    let mut eve = server.client("eve", json!([])).await;
    for path in ["/v1/connections", "/v1/connections?all=false", "/v1/connections?every=true"] {
        let (status, body) = ask(&server, &backend, Method::DELETE, path).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")), "{path}");
    }
    soon(async || (list(&server, "").await.0.len() == 2).then_some(())).await;
    let all = ask(&server, &backend, Method::DELETE, "/v1/connections?all=true").await;
    assert_eq!(all, (200, json!({"closed": 2})));
    let mut waits = Vec::new();
    for client in [&mut bob, &mut eve] {
        let error = client.next_of("error").await;
        assert_eq!(error["code"], "kicked");
        waits.push(error["retry_after_ms"].as_u64().unwrap());
        assert_eq!(client.refusal().await.1, 4009);
    }
    assert_eq!(waits, [0, 2_500], "they come back one after the other");
}

#[tokio::test]
async fn only_a_service_with_the_scope_asks_and_only_about_its_account() {
    let server = start(|_| {}).await;
    let mut ada = Client::connect(server.address).await;
    let conn = ada.hello(&token("ada", json!({})), json!([])).await["conn"].as_str().unwrap().to_owned();
    let paths = [
        (Method::GET, "/v1/connections".to_owned()),
        (Method::DELETE, "/v1/connections?all=true".to_owned()),
        (Method::DELETE, format!("/v1/connections/{conn}")),
        (Method::DELETE, "/v1/users/user/ada/connections".to_owned()),
    ];
    let outsiders = [token("eve", json!({})), operator("olga"), service("default", &["revoke", "metrics"])];
    for (method, path) in &paths {
        for outsider in &outsiders {
            let (status, body) = ask(&server, outsider, method.clone(), path).await;
            assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{method} {path}");
        }
        let (status, body) = ask(&server, "no.token.this", method.clone(), path).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    }
    let elsewhere = service("other", &["connections"]);
    let (_, body) = ask(&server, &elsewhere, Method::GET, "/v1/connections").await;
    assert_eq!(body, json!({"connections": [], "after": null}));
    assert_eq!(ask(&server, &elsewhere, Method::DELETE, &paths[2].1).await.0, 404);
    assert_eq!(ask(&server, &elsewhere, Method::DELETE, &paths[3].1).await.1, json!({"closed": 0}));
    assert_eq!(ask(&server, &elsewhere, Method::DELETE, &paths[1].1).await.1, json!({"closed": 0}));
    assert!(ada.is_alive().await);
}

#[tokio::test]
async fn what_is_not_valid_is_refused_with_what_would_be() {
    let server = start(|_| {}).await;
    let backend = service("default", &["connections"]);
    for path in [
        "/v1/connections?user=ada",
        "/v1/connections?user=robot:1",
        "/v1/connections?user=user:",
        "/v1/connections?channel=no%20name",
        "/v1/connections?most=0",
        "/v1/connections?most=1001",
        "/v1/connections?most=-1",
        "/v1/connections?after=12",
        "/v1/connections?after=c",
        "/v1/connections?after=c99999999999999999999999",
        "/v1/connections?before=c1",
    ] {
        let (status, body) = ask(&server, &backend, Method::GET, path).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")), "{path}");
    }
    for path in ["/v1/connections/12", "/v1/connections/c+1", "/v1/users/robot/1/connections"] {
        let (status, body) = ask(&server, &backend, Method::DELETE, path).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")), "{path}");
    }
    assert_eq!(ask(&server, &backend, Method::DELETE, "/v1/connections/c0").await.0, 404);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let server = start(|config| config.timeouts.idle = Duration::from_millis(600)).await;
    let mut idle = server.client("idle", json!([{"ch": "dialog:room"}])).await;
    let mut busy = server.client("busy", json!([{"ch": "dialog:room"}])).await;
    let mut waits = server.client("waits", json!([{"ch": "dialog:room"}])).await;
    waits
        .send(json!({"t": "lease", "ch": "dialog:room", "kind": "status", "body": {"text": "available"}}))
        .await;
    for _ in 0..8 {
        // Pings are no use, ops are.
        idle.send(json!({"t": "ping", "n": "x"})).await;
        assert_eq!(busy.say("still here").await["t"], "ok");
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(idle.refusal().await, ("idle_timeout".to_owned(), 4510));
    assert!(busy.is_alive().await);
    assert!(waits.is_alive().await, "who holds a lease does something");
    waits.send(json!({"t": "lease", "ch": "dialog:room", "kind": "status"})).await;
    assert_eq!(waits.refusal().await, ("idle_timeout".to_owned(), 4510));
}

#[tokio::test]
async fn nothing_is_idle_unless_the_server_says_so() {
    let server = start(|config| config.timeouts.ping = Duration::from_millis(100)).await;
    let mut idle = server.client("idle", json!([])).await;
    sleep(Duration::from_millis(700)).await;
    assert!(idle.is_alive().await);
}
