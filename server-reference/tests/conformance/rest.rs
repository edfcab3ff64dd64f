//! Protocol section 13: channels over plain HTTP.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidewire_server::config::{Budget, Pattern, Rule, Who};
use tidewire_server::{Account, UserKind};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const EVENTS: &str = "/v1/channels/dialog:room/events";

async fn publish(address: SocketAddr, token: &str, body: &Value) -> (u16, Value) {
    post(address, EVENTS, Some(token), body).await
}

fn says(id: &str, text: &str) -> Value {
    json!({"id": id, "kind": "message", "body": {"text": text}})
}

async fn read(address: SocketAddr, token: &str, query: &str) -> (u16, Value) {
    let head = format!("GET {EVENTS}{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let (status, _, body) = request(address, &format!("{head}authorization: Bearer {token}\r\n\r\n")).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// A response of server-sent events.
struct Stream(tokio::io::Lines<BufReader<TcpStream>>);

impl Stream {
    async fn open(address: SocketAddr, token: &str, headers: &str) -> Stream {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {EVENTS} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{headers}");
        socket.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).await.unwrap();
        let mut stream = Stream(BufReader::new(socket).lines());
        assert!(stream.line().await.unwrap().contains("200"));
        stream
    }

    async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.0.next_line()).await.unwrap().unwrap()
    }

    /// The next event: its id, its name, its data.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        let (mut id, mut name) = (String::new(), String::new());
        while let Some(line) = self.line().await {
            match line.split_once(": ") {
                Some(("id", text)) => text.clone_into(&mut id),
                Some(("event", text)) => text.clone_into(&mut name),
                Some(("data", text)) => return Some((id, name, serde_json::from_str(text).unwrap())),
                _ => {}
            }
        }
        None
    }
}

#[tokio::test]
async fn what_is_published_over_http_is_an_event_like_any_other() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    bob.next_of("sub_ok").await;
    let op = id();
    let (status, ok) = publish(server.address, &ada, &says(&op, "hi")).await;
    assert_eq!((status, &ok["t"], &ok["id"], &ok["offset"]), (201, &json!("ok"), &json!(op), &json!(1)));
    let event = bob.next_of("event").await;
    assert_eq!((&event["id"], &event["by"]["id"], &event["at"]), (&json!(op), &json!("ada"), &ok["at"]));
    // Sent again it is what it was, by either name of the id.
    let (status, again) = publish(server.address, &ada, &says(&op, "hi")).await;
    assert_eq!((status, &again["offset"], &again["dup"]), (200, &json!(1), &json!(true)));
    let body = json!({"kind": "message", "body": {"text": "hi"}}).to_string();
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: {op}\r\n");
    let text = format!("{head}authorization: Bearer {ada}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    assert_eq!(request(server.address, &text).await.0, 200);
    assert_eq!(read(server.address, &ada, "").await.1["events"], json!([event]));
    // Two sockets and no connection are left.
    let connections = async || {
        let (_, _, body) = get(server.address, "/healthz").await;
        (serde_json::from_str::<Value>(&body).unwrap()["connections"] == 1).then_some(())
    };
    soon(connections).await;
}

#[tokio::test]
async fn a_body_is_stored_as_it_came() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    let body = "{ \"z\":1e2, \"text\" : \"h\\u00e9llo\", \"a\":12345678901234567890 }";
    let text = format!("{{\"kind\":\"message\",\"body\":{body}}}");
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let text = format!("{head}authorization: Bearer {ada}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    assert_eq!(request(server.address, &text).await.0, 201);
    let head = format!("GET {EVENTS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let (_, _, page) = request(server.address, &format!("{head}authorization: Bearer {ada}\r\n\r\n")).await;
    assert!(page.contains(body), "{page}");
}

#[tokio::test]
async fn each_refusal_has_its_status_and_its_code() {
    let server = start(|config| {
        config.limits.guest = Budget { ops: 1, per_ms: 60_000, burst: 2 };
    })
    .await;
    let ada = token("ada", json!({}));
    let old = token("ada", json!({"exp": now_s() - 100}));
    let deep = (0..30).fold(json!("x"), |inner, _| json!([inner]));
    let (once, other) = (id(), id());
    publish(server.address, &ada, &says(&once, "once")).await;
    let long = json!({"kind": "message", "body": {"text": "x".repeat(20_000)}});
    for (token, body, status, code) in [
        ("nonsense", says(&id(), "x"), 401, "unauthorized"),
        (old.as_str(), says(&id(), "x"), 401, "token_expired"),
        (&ada, json!({"id": "1", "kind": "message", "body": {"text": "x"}}), 400, "bad_op_id"),
        (&ada, json!({"kind": "poll.vote", "body": {}}), 400, "unknown_kind"),
        (&ada, json!({"kind": "answer.start", "body": {"run": "r"}}), 400, "unknown_kind"),
        (&ada, json!({"kind": "message", "body": {}}), 400, "bad_body"),
        (&ada, json!({"kind": "message", "body": {"text": "x", "more": deep}}), 400, "too_deep"),
        (&ada, json!({"kind": "run.cancel", "body": {"run": "r"}}), 404, "run_not_found"),
        (&ada, says(&once, "twice"), 409, "op_id_reused"),
        (&ada, json!({"kind": "message", "body": {"text": "x"}, "after": other}), 409, "blocked"),
        (&ada, json!({"kind": "message", "body": {"text": "x"}, "after": "1"}), 400, "bad_op_id"),
        (&ada, json!({"kind": "message", "body": [1]}), 400, "bad_frame"),
        (&ada, json!({"kind": "message"}), 400, "bad_request"),
        (&ada, json!({"kind": "message", "body": {"text": "x"}, "ch": "dialog:x"}), 400, "bad_request"),
        (&ada, json!([]), 400, "bad_request"),
        (&ada, long, 413, "too_large"),
    ] {
        let (got, answer) = publish(server.address, token, &body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    for (channel, status, code) in [("dialog:hers", 403, "forbidden"), ("dialog:%20", 400, "bad_request")] {
        let path = format!("/v1/channels/{channel}/events");
        let (got, answer) = post(server.address, &path, Some(&ada), &says(&id(), "x")).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{channel}");
    }
    assert_eq!(post(server.address, EVENTS, None, &says(&id(), "x")).await.0, 401);
    // A guest's budget: the time to wait is told.
    let guest = token("gus", json!({"kind": "guest"}));
    for expected in [201, 201, 429] {
        let (status, answer) = publish(server.address, &guest, &says(&id(), "x")).await;
        assert_eq!(status, expected);
        if status == 429 {
            assert!(answer["error"]["retry_after_ms"].as_u64().unwrap() > 1_000, "{answer}");
        }
    }
}

#[tokio::test]
async fn events_are_read_from_a_cursor_from_their_end_or_as_soon_as_there_is_one() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    for n in 0..5 {
        publish(server.address, &ada, &says(&id(), &n.to_string())).await;
    }
    let (status, page) = read(server.address, &ada, "?tail=2").await;
    assert_eq!(
        (status, &page["mode"], &page["from"], &page["head"]),
        (200, &json!("fresh"), &json!(3), &json!(5))
    );
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    let epoch = page["epoch"].as_str().unwrap();
    let (_, page) = read(server.address, &ada, &format!("?epoch={epoch}&after=4")).await;
    assert_eq!((&page["mode"], page["events"].as_array().unwrap().len()), (&json!("resumed"), 1));
    let (_, page) = read(server.address, &ada, "?epoch=other&after=4").await;
    assert_eq!((&page["mode"], &page["reason"]), (&json!("reset"), &json!("epoch")));
    // Nothing new: the answer comes when the wait is over.
    let begun = Instant::now();
    let (_, page) = read(server.address, &ada, &format!("?epoch={epoch}&after=5&wait_ms=300")).await;
    assert!(page["events"] == json!([]) && begun.elapsed() >= Duration::from_millis(300));
    // Or with the next event.
    let address = server.address;
    let query = format!("?epoch={epoch}&after=5&wait_ms=25000");
    let waiting = tokio::spawn({
        let ada = ada.clone();
        async move { read(address, &ada, &query).await }
    });
    sleep(Duration::from_millis(200)).await;
    publish(server.address, &ada, &says(&id(), "late")).await;
    let (_, page) = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(page["events"][0]["body"]["text"], "late");
    for query in
        ["?after=1", "?epoch=e", "?wait_ms=25001", "?tail=-1", "?tail=x", "?since=1", "?after=1.5&epoch=e"]
    {
        let (status, answer) = read(server.address, &ada, query).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")), "{query}");
    }
}

#[tokio::test]
async fn a_stream_brings_every_event_once_and_goes_on_where_its_reader_was() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    publish(server.address, &ada, &says(&id(), "0")).await;
    let mut stream = Stream::open(server.address, &ada, "").await;
    let mut last = String::new();
    for n in 0..20 {
        if n > 0 {
            publish(server.address, &ada, &says(&id(), &n.to_string())).await;
        }
        let (cursor, name, event) = stream.next().await.unwrap();
        assert_eq!(
            (name.as_str(), &event["offset"], &event["body"]["text"]),
            ("event", &json!(n + 1), &json!(n.to_string()))
        );
        last = cursor;
        // From time to time the connection breaks, and something happens meanwhile.
        if n % 7 == 6 {
            drop(stream);
            stream = Stream::open(server.address, &ada, &format!("last-event-id: {last}\r\n")).await;
        }
    }
    drop(stream);
    for n in 20..25 {
        publish(server.address, &ada, &says(&id(), &n.to_string())).await;
    }
    let mut stream = Stream::open(server.address, &ada, &format!("last-event-id: {last}\r\n")).await;
    for n in 20..25 {
        assert_eq!(stream.next().await.unwrap().2["offset"], n + 1);
    }
    // A cursor of another log is no place to go on from.
    let mut stream = Stream::open(server.address, &ada, "last-event-id: other:3\r\n").await;
    let (_, name, reset) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &reset["reason"]), ("reset", &json!("epoch")));
    assert_eq!(stream.next().await.unwrap().1, "event");
    // It ends with the reason when access is taken back.
    server.server.revoke(Account::Own, UserKind::User, "ada", None).await.unwrap();
    let mut name = String::new();
    while let Some((_, event, data)) = stream.next().await {
        name = event;
        assert!(name == "event" || data["code"] == "unauthorized", "{data}");
    }
    assert_eq!(name, "error");
}

#[tokio::test]
async fn a_backend_creates_dialogs_for_others_writes_in_them_and_takes_them_away() {
    let server = start(|_| {}).await;
    let service = |scopes: Value, other: Value| {
        let mut claims =
            json!({"kind": "service", "aud": "tidewire-service", "account": "default", "scopes": scopes});
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token("backend", claims)
    };
    let all = service(json!(["read", "publish", "dialogs", "revoke"]), json!({}));
    let ada = token("ada", json!({}));
    let made = json!({"id": "order-1", "owner": {"kind": "user", "id": "ada"}});
    assert_eq!(post(server.address, "/v1/dialogs", Some(&all), &made).await.0, 201);
    assert_eq!(post(server.address, "/v1/dialogs", Some(&all), &made).await.0, 200);
    let path = "/v1/channels/dialog:order-1/events";
    let (status, ok) = post(server.address, path, Some(&all), &says(&id(), "it is on its way")).await;
    assert_eq!((status, &ok["offset"]), (201, &json!(1)));
    let mut client = Client::connect(server.address).await;
    client.hello(&ada, json!([{"ch": "dialog:order-1"}])).await;
    assert_eq!(client.next_of("sub_ok").await["events"][0]["by"]["kind"], "service");
    let revoked = json!({"user": {"kind": "user", "id": "ada"}, "dialog": "order-1"});
    assert_eq!(post(server.address, "/v1/revoke", Some(&all), &revoked).await.0, 204);
    assert_eq!(client.next_of("sub_err").await["code"], "forbidden");
    // Without the scope, for somebody else's account, or by somebody who is no service.
    for (token, status) in [
        (service(json!(["read", "publish"]), json!({})), 403),
        (service(json!(["dialogs"]), json!({"account": Value::Null})), 403),
        (ada.clone(), 403),
        (operator("op"), 403),
    ] {
        let made = json!({"id": "order-2", "owner": {"kind": "user", "id": "eve"}});
        let (got, answer) = post(server.address, "/v1/dialogs", Some(&token), &made).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!("forbidden")), "{answer}");
    }
    for owner in [
        json!({"kind": "operator", "id": "x"}),
        json!({"kind": "user", "id": ""}),
        json!({"kind": "user"}),
        json!("ada"),
    ] {
        let made = json!({"id": "order-3", "owner": owner});
        assert_eq!(post(server.address, "/v1/dialogs", Some(&all), &made).await.0, 400, "{owner}");
    }
    // Tokens that are not what a service's token is.
    for (claims, part) in [
        (json!({"scopes": "read"}), "scopes"),
        (json!({"scopes": ["read", "everything"]}), "scopes"),
        (json!({"scopes": [1]}), "scopes"),
        (json!({"aud": "tidewire"}), "audience"),
        (json!({"aud": ["tidewire-service", "tidewire-operator"]}), "audience"),
        (json!({"kind": "user", "aud": "tidewire"}), "scopes"),
        (json!({"kind": "admin"}), "kind"),
    ] {
        let (status, answer) =
            publish(server.address, &service(json!(["publish"]), claims.clone()), &says(&id(), "x")).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthorized")), "{claims}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
}

#[tokio::test]
async fn a_backend_says_who_the_members_are() {
    let rule = Rule { open: true, ..Rule::new(Pattern::parse("team:{id}").unwrap(), vec![Who::Members]) };
    let server = start(|config| config.channels = vec![rule]).await;
    let service = |account: &str, scopes: Value| {
        let claims =
            json!({"kind": "service", "aud": "tidewire-service", "account": account, "scopes": scopes});
        token("backend", claims)
    };
    let backend = service("default", json!(["members"]));
    let ask = async |method: &str, path: &str, token: &str| {
        let head = format!("{method} /v1/channels/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let (status, _, body) = request(
            server.address,
            &format!("{head}authorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"),
        )
        .await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    };
    let ada = token("ada", json!({}));
    let mut client = Client::connect(server.address).await;
    client.hello(&ada, json!([{"ch": "team:1"}])).await;
    assert_eq!(client.next_of("sub_err").await["code"], "forbidden");
    for member in ["user/ada", "user/bob", "guest/cyd", "user/a:b%20c"] {
        assert_eq!(ask("PUT", &format!("team:1/members/{member}"), &backend).await.0, 204, "{member}");
    }
    let (status, list) = ask("GET", "team:1/members", &backend).await;
    let ids: Vec<&str> =
        list["members"].as_array().unwrap().iter().map(|member| member["id"].as_str().unwrap()).collect();
    assert_eq!((status, ids, &list["after"]), (200, vec!["cyd", "a:b c", "ada", "bob"], &Value::Null));
    client.send(json!({"t": "sub", "ch": "team:1"})).await;
    client.next_of("sub_ok").await;
    assert_eq!(ask("DELETE", "team:1/members/user/ada", &backend).await.0, 204);
    assert_eq!(client.next_of("sub_err").await["code"], "forbidden");
    let other = service("acme", json!(["members"]));
    for (method, path, token, status) in [
        ("PUT", "team:1/members/operator/x", &backend, 400),
        ("PUT", "team:1/members/user/%20%20", &backend, 204),
        ("PUT", "te%20am/members/user/x", &backend, 400),
        ("PUT", "team:1/members/user/x", &other, 403),
        ("GET", "team:1/members", &other, 403),
        ("GET", "team:1/members?since=1", &backend, 400),
        ("PUT", "team:1/members/user/x", &service("default", json!(["publish"])), 403),
        ("PUT", "team:1/members/user/x", &ada, 403),
        ("GET", "team:1/members", &operator("op"), 403),
    ] {
        let (got, answer) = ask(method, path, token).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn requests_are_no_handshakes_and_leave_no_connection() {
    let server = start(|config| {
        config.limits.handshakes_per_ip = Some(3);
        config.limits.connections_per_user = 2;
    })
    .await;
    let ada = token("ada", json!({}));
    for _ in 0..10 {
        assert_eq!(publish(server.address, &ada, &says(&id(), "x")).await.0, 201);
    }
    // Those who wait hold a connection each.
    let (_, page) = read(server.address, &ada, "?tail=0").await;
    let query = format!("?epoch={}&after=10&wait_ms=2000", page["epoch"].as_str().unwrap());
    let address = server.address;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (ada, query) = (ada.clone(), query.clone());
            tokio::spawn(async move { read(address, &ada, &query).await.0 })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    let (status, answer) = publish(server.address, &ada, &says(&id(), "x")).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("too_many_connections")), "{answer}");
    for one in waiting {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(publish(server.address, &ada, &says(&id(), "x")).await.0, 201);
}
