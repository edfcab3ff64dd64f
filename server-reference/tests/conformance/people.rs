//! Who is in a channel: over sockets, plain requests and HTTP (protocol sections 3, 4 and 13).

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidewire_server::config::{Pattern, Rule, Who};

const ROOM: &str = "dialog:room";

async fn http(address: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let head = format!("{method} /v1/channels/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let head = format!("{head}authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (status, _, body) = request(address, &head).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// `id: kinds` of those who are listed.
fn names(people: &Value) -> Vec<String> {
    let kinds = |person: &Value| -> Vec<String> {
        let leases = person["leases"].as_array().unwrap().iter();
        leases.map(|lease| lease["kind"].as_str().unwrap().to_owned()).collect()
    };
    let people = people["people"].as_array().unwrap().iter();
    people
        .map(|person| format!("{}: {}", person["user"]["id"].as_str().unwrap(), kinds(person).join(" ")))
        .collect()
}

async fn watcher(server: &TestServer, user: &str) -> Client {
    let mut client = server.client(user, json!([{"ch": ROOM}])).await;
    client.next_of("sub_ok").await;
    client.send(json!({"t": "watch", "ch": ROOM})).await;
    client
}

/// The changes until the person is shown like this; none until they are gone.
async fn until(client: &mut Client, id: &str, kinds: Option<&str>) {
    loop {
        let frame = client.next_of("people").await;
        let shown = names(&frame).contains(&format!("{id}: {}", kinds.unwrap_or_default()));
        let gone = frame["gone"].as_array().unwrap().iter().any(|gone| gone["id"] == id);
        if kinds.map_or(gone, |_| shown) {
            return;
        }
    }
}

#[tokio::test]
async fn people_come_write_and_go_over_real_sockets() {
    let server = start(|_| {}).await;
    let mut ada = watcher(&server, "ada").await;
    let list = ada.next_of("people").await;
    assert_eq!((&list["full"], names(&list)), (&json!(true), vec!["ada: here".to_owned()]));
    let mut bob = server.client("bob", json!([{"ch": ROOM}])).await;
    until(&mut ada, "bob", Some("here")).await;
    bob.next_of("sub_ok").await;
    bob.send(json!({"t": "lease", "ch": ROOM, "kind": "typing", "body": {}, "for_ms": 6_000})).await;
    until(&mut ada, "bob", Some("here typing")).await;
    bob.say("hello").await;
    until(&mut ada, "bob", Some("here")).await;
    bob.send(json!({"t": "bye"})).await;
    until(&mut ada, "bob", None).await;
}

#[tokio::test]
async fn a_backend_reads_who_is_there_and_tells_what_an_agent_is_doing() {
    let server = start(|_| {}).await;
    let mut ada = watcher(&server, "ada").await;
    ada.next_of("people").await;
    let service = |scopes: &[&str]| {
        token(
            "agent",
            json!({"kind": "service", "aud": "tidewire-service", "account": "default", "scopes": scopes}),
        )
    };
    let agent = service(&["read", "publish"]);
    let lease = format!("{ROOM}/leases/status");
    let body = r#"{"body": {"active": true, "task": "search"}, "for_ms": 1000}"#;
    assert_eq!(http(server.address, "PUT", &lease, &agent, body).await, (204, Value::Null));
    until(&mut ada, "agent", Some("status")).await;
    let (status, people) = http(server.address, "GET", &format!("{ROOM}/people"), &agent, "").await;
    assert_eq!((status, &people["count"], &people["crowded"]), (200, &json!(1), &json!(false)));
    assert_eq!(names(&people), ["ada: here", "agent: status"], "a service is not there");
    // It ends by itself, and when it is given up.
    until(&mut ada, "agent", None).await;
    let long = r#"{"body": {}, "for_ms": 3600000}"#;
    assert_eq!(http(server.address, "PUT", &lease, &agent, long).await.0, 204);
    until(&mut ada, "agent", Some("status")).await;
    assert_eq!(http(server.address, "DELETE", &lease, &agent, "").await.0, 204);
    until(&mut ada, "agent", None).await;

    let reader = service(&["read"]);
    for (method, path, token, body, status, code) in [
        ("PUT", lease.as_str(), &reader, body, 403, "forbidden"),
        ("PUT", lease.as_str(), &agent, r#"{"body": {}}"#, 400, "bad_request"),
        ("PUT", lease.as_str(), &agent, r#"{"body": [], "for_ms": 1}"#, 400, "bad_request"),
        ("PUT", lease.as_str(), &agent, r#"{"body": {}, "for_ms": -1}"#, 400, "bad_request"),
        ("PUT", lease.as_str(), &agent, "", 400, "bad_request"),
        ("PUT", "dialog:room/leases/here", &agent, body, 400, "bad_frame"),
        ("PUT", "dialog:other/leases/status", &agent, body, 403, "forbidden"),
        ("PUT", "no%20spaces/leases/status", &agent, body, 400, "bad_request"),
        ("GET", "dialog:other/people", &agent, "", 403, "forbidden"),
        ("GET", "no%20spaces/people", &agent, "", 400, "bad_request"),
        ("GET", "dialog:room/people", &String::new(), "", 401, "unauthorized"),
        ("DELETE", "dialog:room/people", &agent, "", 405, "bad_request"),
    ] {
        let (got, answer) = http(server.address, method, path, token, body).await;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn a_rule_without_people_has_none_over_http_either() {
    let rule = Rule { open: true, ..Rule::new(Pattern::parse("guild:{id}").unwrap(), vec![Who::Everyone]) };
    let server = start(|config| config.channels = vec![rule]).await;
    let ada = token("ada", json!({}));
    for (method, path, body) in
        [("GET", "guild:7/people", ""), ("PUT", "guild:7/leases/a", r#"{"body": {}, "for_ms": 1000}"#)]
    {
        let (status, answer) = http(server.address, method, path, &ada, body).await;
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("people_off")), "{method}");
    }
}
