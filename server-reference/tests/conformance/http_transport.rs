//! Protocol section 11: connections over plain requests.

use crate::support::*;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tidewire_server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Stream,
    LongPoll,
    Poll,
}

const MODES: [Mode; 3] = [Mode::Stream, Mode::LongPoll, Mode::Poll];

struct Http {
    client: reqwest::Client,
    base: String,
    id: String,
    mode: Mode,
    /// The number of the next message.
    seq: u64,
    open: Option<Response>,
    buffer: Vec<u8>,
    waiting: VecDeque<Value>,
    close: Option<(u16, String)>,
}

fn browserless() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Http {
    async fn connect(address: SocketAddr, mode: Mode) -> Http {
        Http::connect_with(browserless(), address, mode).await
    }

    async fn connect_with(client: reqwest::Client, address: SocketAddr, mode: Mode) -> Http {
        let base = format!("http://{address}/v1/http");
        let response = client.post(&base).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body: Value = response.json().await.unwrap();
        let id = body["connection"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 22, "128 bits in base64url");
        Http {
            client,
            base,
            id,
            mode,
            seq: 1,
            open: None,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            close: None,
        }
    }

    fn up(&self, seq: Option<u64>, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let up = self.client.post(format!("{}/up", self.base)).header("tidewire-connection", &self.id);
        let up = match seq {
            Some(seq) => up.header("tidewire-seq", seq.to_string()),
            None => up,
        };
        up.header("content-type", "text/plain").body(body)
    }

    fn down(&self, query: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}/down?{query}", self.base)).header("tidewire-connection", &self.id)
    }

    async fn send_text(&mut self, text: String) -> StatusCode {
        let response = self.up(Some(self.seq), text).send().await.unwrap();
        self.seq += 1;
        response.status()
    }

    async fn send(&mut self, frame: Value) {
        assert_eq!(self.send_text(frame.to_string()).await, StatusCode::NO_CONTENT);
    }

    async fn hello(&mut self, token: &str, subs: Value) -> Value {
        self.send(json!({"t": "hello", "v": 1, "client": id(), "token": token, "subs": subs})).await;
        let frame = self.next().await;
        assert_eq!(frame["t"], "welcome", "{frame}");
        frame
    }

    /// Reads more; false if the connection has ended.
    async fn read(&mut self) -> bool {
        if self.close.is_some() {
            return false;
        }
        let more = match self.mode {
            Mode::Stream => {
                if self.open.is_none() {
                    self.open = Some(self.down("mode=stream").send().await.unwrap());
                }
                let response = self.open.as_mut().unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                assert!(response.headers().get("content-length").is_none());
                timeout(PATIENCE, response.chunk()).await.expect("nothing came").unwrap_or(None)
            }
            Mode::LongPoll | Mode::Poll => {
                let wait = if self.mode == Mode::Poll { 0 } else { 25_000 };
                let response = self.down(&format!("mode=poll&wait={wait}")).send();
                let response = timeout(PATIENCE, response).await.expect("nothing came").unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                assert_eq!(response.headers()["content-type"], "application/x-ndjson");
                assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
                assert_eq!(response.headers()["x-accel-buffering"], "no");
                let length = response.headers()["content-length"].to_str().unwrap().to_owned();
                let body = response.bytes().await.unwrap();
                assert_eq!(length, body.len().to_string());
                if body.is_empty() {
                    sleep(Duration::from_millis(20)).await;
                }
                Some(body)
            }
        };
        let Some(more) = more else { return false };
        self.buffer.extend_from_slice(&more);
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            match serde_json::from_slice(&line).unwrap() {
                Value::Array(frames) => self.waiting.extend(frames),
                frame if frame["t"] == "close" => {
                    let code = frame["code"].as_u64().unwrap() as u16;
                    self.close = Some((code, frame["reason"].as_str().unwrap().to_owned()));
                }
                frame => self.waiting.push_back(frame),
            }
        }
        true
    }

    async fn try_next(&mut self) -> Option<Value> {
        loop {
            match self.waiting.pop_front() {
                Some(frame) if frame["t"] == "ping" => {
                    // If the server has closed, reading shows it.
                    self.send_text(json!({"t": "pong", "n": frame["n"]}).to_string()).await;
                }
                Some(frame) => return Some(frame),
                None if !self.read().await => return None,
                None => {}
            }
        }
    }

    async fn next(&mut self) -> Value {
        match self.try_next().await {
            Some(frame) => frame,
            None => panic!("closed: {:?}", self.close),
        }
    }

    async fn next_of(&mut self, t: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["t"] == t {
                return frame;
            }
        }
    }

    /// Reads to the end: the code of the last `error` frame and the close code.
    async fn refusal(&mut self) -> (String, u16) {
        let mut code = String::new();
        while let Some(frame) = self.try_next().await {
            if frame["t"] == "error" {
                code = frame["code"].as_str().unwrap().to_owned();
            }
        }
        (code, self.close.clone().map_or(0, |close| close.0))
    }

    /// Whether the server still knows the connection.
    async fn is_known(&self) -> bool {
        self.down("mode=poll&wait=0").send().await.unwrap().status() != StatusCode::NOT_FOUND
    }
}

fn room() -> Value {
    json!([{"ch": "dialog:room"}])
}

fn small_header(server: &TestServer, name: &str, value: &str) -> String {
    format!(
        "POST /v1/http HTTP/1.1\r\nhost: {}\r\n{name}: {value}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        server.address
    )
}

async fn code_of(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// The server's number of connections.
async fn count(server: &TestServer) -> u64 {
    let (_, _, body) = get(server.address, "/healthz").await;
    serde_json::from_str::<Value>(&body).unwrap()["connections"].as_u64().unwrap()
}

/// Waits until the server has this many connections.
async fn connections(server: &TestServer, expected: u64) {
    soon(async || (count(server).await == expected).then_some(())).await;
}

#[tokio::test]
async fn a_conversation_goes_both_ways_in_every_mode() {
    for mode in MODES {
        let server = start(|_| {}).await;
        let mut bob = server.client("bob", room()).await;
        bob.next_of("sub_ok").await;
        let mut ada = Http::connect(server.address, mode).await;
        let welcome = ada.hello(&token("ada", json!({})), room()).await;
        assert_eq!(welcome["user"]["id"], "ada");
        assert_eq!(ada.next().await["mode"], "fresh");
        // The order is kept within a message and between messages.
        for n in 0..5 {
            let (first, second) = (id(), id());
            let after = json!({"t": "op", "id": second, "ch": "dialog:room", "kind": "message", "body": {"text": "b"}, "after": first});
            ada.send(json!([message(&first, &format!("a{n}")), after])).await;
            for id in [first, second] {
                assert_eq!(ada.next_of("ok").await["id"], id);
                assert_eq!(bob.event("message").await["id"], id);
            }
        }
        server.client("eve", json!([])).await.say("hi").await;
        let event = ada.next_of("event").await;
        assert_eq!(bob.event("message").await, event, "{mode:?}: the same as on a socket");
        ada.send(json!({"t": "bye"})).await;
        assert_eq!(ada.refusal().await.1, 1000);
        assert!(!ada.is_known().await);
    }
}

#[tokio::test]
async fn line_breaks_between_the_tokens_of_a_body_do_not_end_the_line() {
    let server = start(|_| {}).await;
    let mut bob = server.client("bob", room()).await;
    bob.next_of("sub_ok").await;
    let mut ada = Http::connect(server.address, Mode::LongPoll).await;
    ada.hello(&token("ada", json!({})), room()).await;
    ada.next_of("sub_ok").await;
    let body = "{\r\n  \"text\": \"one\\ntwo\"\n}";
    bob.send_text(format!(
        r#"{{"t":"op","id":"{}","ch":"dialog:room","kind":"message","body":{body}}}"#,
        id()
    ))
    .await;
    assert_eq!(ada.next_of("event").await["body"]["text"], "one\ntwo");
}

#[tokio::test]
async fn a_foreign_page_is_refused_and_a_listed_one_may_send_the_headers() {
    let server = start(|config| config.allowed_origins = vec!["https://app.example.com".to_owned()]).await;
    let foreign = small_header(&server, "origin", "https://evil.example.com");
    let (status, _, body) = request(server.address, &foreign).await;
    assert!(status == 403 && body.contains("origin_not_allowed"), "{body}");
    connections(&server, 0).await;
    let listed = small_header(&server, "origin", "https://app.example.com");
    let (status, head, _) = request(server.address, &listed).await;
    assert_eq!(status, 201);
    assert!(head.contains("access-control-allow-origin: https://app.example.com"), "{head}");
    for path in ["/v1/http", "/v1/http/up", "/v1/http/down"] {
        let ask = |origin: &str| {
            format!(
                "OPTIONS {path} HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\naccess-control-request-method: POST\r\nconnection: close\r\n\r\n",
                server.address
            )
        };
        let (status, head, _) = request(server.address, &ask("https://app.example.com")).await;
        assert_eq!(status, 204);
        assert!(head.contains("tidewire-connection, tidewire-seq"), "{head}");
        assert!(head.contains("access-control-allow-methods: get, post"), "{head}");
        assert!(head.contains("access-control-max-age"), "{head}");
        // Allowed only so that the page can read the refusal of the request that follows.
        assert_eq!(request(server.address, &ask("https://evil.example.com")).await.0, 204);
    }
}

#[tokio::test]
async fn tokens_are_checked_as_on_a_socket() {
    let server = start(|_| {}).await;
    for (token, expected) in [
        (token("ada", json!({"exp": now_s() - 31})), ("token_expired", 4020)),
        ("no.token.at.all".to_owned(), ("unauthorized", 4501)),
    ] {
        let mut ada = Http::connect(server.address, Mode::Stream).await;
        ada.send(json!({"t": "hello", "v": 1, "client": id(), "token": token, "subs": []})).await;
        assert_eq!(ada.refusal().await, (expected.0.to_owned(), expected.1));
        assert!(!ada.is_known().await);
    }
    let mut ada = Http::connect(server.address, Mode::Poll).await;
    ada.send(json!({"t": "ping", "n": "1"})).await;
    assert_eq!(ada.refusal().await, ("hello_required".to_owned(), 4500));
    connections(&server, 0).await;
}

#[tokio::test]
async fn the_caps_count_both_kinds_of_connections() {
    let server = start(|config| config.limits.connections_per_ip = Some(2)).await;
    let _first = server.client("ada", json!([])).await;
    let mut second = Http::connect(server.address, Mode::LongPoll).await;
    second.hello(&token("ada", json!({})), json!([])).await;
    let third = browserless().post(format!("http://{}/v1/http", server.address)).send().await.unwrap();
    assert_eq!(third.headers()["retry-after"], "5");
    assert_eq!(code_of(third).await, (StatusCode::SERVICE_UNAVAILABLE, "too_many_connections".to_owned()));
    let mut fourth = Client::connect(server.address).await;
    assert_eq!(fourth.refusal().await, ("too_many_connections".to_owned(), 4007));

    let server = start(|config| config.limits.handshakes_per_ip = Some(2)).await;
    let mut one = server.client("ada", json!([])).await;
    Http::connect(server.address, Mode::Poll).await;
    let third = browserless().post(format!("http://{}/v1/http", server.address)).send().await.unwrap();
    let wait: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((20..=30).contains(&wait), "{wait}");
    assert_eq!(code_of(third).await, (StatusCode::TOO_MANY_REQUESTS, "rate_limited".to_owned()));
    assert!(one.is_alive().await);
}

#[tokio::test]
async fn refused_connections_are_not_collected() {
    let server = start(|config| config.limits.connections = 1).await;
    let client = browserless();
    let mut statuses = Vec::new();
    for _ in 0..270 {
        statuses
            .push(client.post(format!("http://{}/v1/http", server.address)).send().await.unwrap().status());
    }
    let kept = statuses.iter().filter(|status| **status == StatusCode::CREATED).count();
    assert_eq!(kept, 1);
    let response = client.post(format!("http://{}/v1/http", server.address)).send().await.unwrap();
    assert_eq!(code_of(response).await, (StatusCode::SERVICE_UNAVAILABLE, "too_many_connections".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_for_no_connection_is_told_so() {
    let server = start(|_| {}).await;
    let ada = Http::connect(server.address, Mode::Poll).await;
    let send = |method: Method, path: &str, id: Option<&str>| {
        let request = ada.client.request(method, format!("{}{path}", ada.base));
        match id {
            Some(id) => request.header("tidewire-connection", id),
            None => request,
        }
        .send()
    };
    let unknown = (StatusCode::NOT_FOUND, "unknown_connection".to_owned());
    let bad = (StatusCode::BAD_REQUEST, "bad_request".to_owned());
    let wrong = (StatusCode::METHOD_NOT_ALLOWED, "bad_request".to_owned());
    let other = "AAAAAAAAAAAAAAAAAAAAAA";
    for (method, path, id, expected) in [
        (Method::POST, "/up", Some(other), &unknown),
        (Method::GET, "/down?mode=poll", Some(other), &unknown),
        (Method::GET, "/down?mode=stream", Some(""), &unknown),
        (Method::POST, "/up", None, &bad),
        (Method::GET, "/down?mode=stream", None, &bad),
        (Method::GET, "/down", Some(ada.id.as_str()), &bad),
        (Method::GET, "/down?mode=poll&wait=25001", Some(&ada.id), &bad),
        (Method::GET, "/up", Some(&ada.id), &wrong),
        (Method::GET, "", Some(&ada.id), &wrong),
    ] {
        let found = code_of(send(method.clone(), path, id).await.unwrap()).await;
        assert_eq!(&found, expected, "{method} {path}");
    }
    // A HEAD must not take messages that wait for a GET.
    let head = send(Method::HEAD, "/down?mode=poll", Some(&ada.id)).await.unwrap();
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_client_that_has_not_had_all_lines_is_told_and_its_connection_ends() {
    let server = start(|_| {}).await;
    for (had, is_right) in [(2, true), (1, false), (3, false), (0, false)] {
        let mut ada = Http::connect(server.address, Mode::Poll).await;
        ada.hello(&token("ada", json!({})), json!([])).await;
        // The second line of the connection, in a response that nobody reads.
        ada.send(json!({"t": "ping", "n": "lost"})).await;
        while ada.down("mode=poll&wait=1000").send().await.unwrap().bytes().await.unwrap().is_empty() {}
        let down = ada.down("mode=poll&wait=0").header("tidewire-seq", had.to_string());
        let body = down.send().await.unwrap().text().await.unwrap();
        let ends = body.contains(r#""code":"bad_request""#) && body.contains(r#"{"t":"close","code":1002"#);
        assert_eq!(!ends, is_right, "{had}: {body}");
    }
}

#[tokio::test]
async fn a_hole_or_a_repeat_in_the_numbers_ends_the_connection() {
    let server = start(|_| {}).await;
    for seq in [Some(1), Some(3), Some(0), None] {
        let mut ada = Http::connect(server.address, Mode::LongPoll).await;
        ada.hello(&token("ada", json!({})), room()).await;
        ada.next_of("sub_ok").await;
        let refused = ada.up(seq, message(&id(), "not taken").to_string()).send().await.unwrap();
        assert_eq!(code_of(refused).await, (StatusCode::BAD_REQUEST, "bad_request".to_owned()));
        assert_eq!(ada.refusal().await, ("bad_request".to_owned(), 1002));
        assert!(!ada.is_known().await);
    }
    let mut reader = server.client("bob", room()).await;
    assert_eq!(reader.next_of("sub_ok").await["head"], 0);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_told_and_one_far_beyond_it_ends_the_connection() {
    let server = start(|config| config.limits.message_bytes = 2_000).await;
    let mut ada = Http::connect(server.address, Mode::LongPoll).await;
    ada.hello(&token("ada", json!({})), json!([])).await;
    assert_eq!(ada.send_text("x".repeat(2_001)).await, StatusCode::NO_CONTENT);
    assert_eq!(ada.next().await["code"], "too_large");
    assert_eq!(ada.send_text("[1]".to_owned()).await, StatusCode::NO_CONTENT);
    assert_eq!(ada.next().await["code"], "bad_frame");
    let binary = ada.up(Some(ada.seq), vec![0xff, 0xfe]).send().await.unwrap();
    assert_eq!(binary.status(), StatusCode::NO_CONTENT);
    ada.seq += 1;
    assert_eq!(ada.next().await["code"], "bad_frame");
    assert_eq!(ada.send_text("x".repeat(4_001)).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(ada.refusal().await, ("too_large".to_owned(), 1009));
    let mut flood = Http::connect(server.address, Mode::Poll).await;
    for _ in 0..21 {
        flood.send_text("nonsense".to_owned()).await;
    }
    assert_eq!(flood.refusal().await, ("bad_request".to_owned(), 4500));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_taken_and_the_connection_stays() {
    let server = start(|_| {}).await;
    let mut ada = Http::connect(server.address, Mode::LongPoll).await;
    ada.hello(&token("ada", json!({})), room()).await;
    ada.next_of("sub_ok").await;
    let op = message(&id(), "whole").to_string();
    let mut broken = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/http/up HTTP/1.1\r\nhost: {}\r\ntidewire-connection: {}\r\ntidewire-seq: {}\r\ncontent-length: {}\r\n\r\n",
        server.address,
        ada.id,
        ada.seq,
        op.len()
    );
    broken.write_all(head.as_bytes()).await.unwrap();
    broken.write_all(&op.as_bytes()[..20]).await.unwrap();
    // Time for the server to read the part before it sees the end; nothing shows when it has.
    sleep(Duration::from_millis(50)).await;
    drop(broken);
    ada.send_text(op).await;
    assert_eq!(ada.next_of("ok").await["offset"], 1);
}

#[tokio::test]
async fn a_newer_connection_of_the_session_takes_over_whatever_carries_it() {
    let server = start(|config| config.limits.connections_per_user = 1).await;
    let (client, session) = (id(), id());
    let hello = || json!({"t": "hello", "v": 1, "client": client, "session": session, "token": token("ada", json!({})), "subs": []});
    let mut socket = Client::connect(server.address).await;
    socket.send(hello()).await;
    socket.next_of("welcome").await;
    let mut stream = Http::connect(server.address, Mode::Stream).await;
    stream.send(hello()).await;
    stream.next_of("welcome").await;
    assert_eq!(socket.refusal().await, ("replaced".to_owned(), 4008));
    let mut poll = Http::connect(server.address, Mode::Poll).await;
    poll.send(hello()).await;
    poll.next_of("welcome").await;
    assert_eq!(stream.refusal().await, ("replaced".to_owned(), 4008));
    let mut socket = Client::connect(server.address).await;
    socket.send(hello()).await;
    socket.next_of("welcome").await;
    assert_eq!(poll.refusal().await, ("replaced".to_owned(), 4008));
    assert!(socket.is_alive().await);
}

#[tokio::test]
async fn a_drain_announces_itself_and_closes_in_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.timeouts.goaway = Duration::from_millis(300);
    let server = Server::start(config).await.unwrap();
    let address = server.address();
    let mut clients = Vec::new();
    for mode in MODES {
        let mut client = Http::connect(address, mode).await;
        client.hello(&token("ada", json!({})), json!([])).await;
        clients.push(tokio::spawn(async move {
            let goaway = client.next().await;
            assert_eq!((&goaway["t"], &goaway["after_ms"]), (&json!("goaway"), &json!(300)), "{mode:?}");
            // New sockets are accepted until all clients were notified.
            client.client = browserless();
            let refused = client.client.post(&client.base).send().await.unwrap();
            assert_eq!(code_of(refused).await.1, "goaway");
            assert_eq!(client.try_next().await, None);
            assert_eq!(client.close, Some((4000, "goaway".to_owned())), "{mode:?}");
        }));
    }
    // Time for the requests to arrive and wait; nothing shows when they do.
    sleep(Duration::from_millis(100)).await;
    timeout(PATIENCE, server.drain()).await.unwrap();
    for client in clients {
        client.await.unwrap();
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_second_request_takes_over_and_the_older_ends_empty() {
    let server = start(|_| {}).await;
    let mut ada = Http::connect(server.address, Mode::LongPoll).await;
    ada.hello(&token("ada", json!({})), room()).await;
    ada.next_of("sub_ok").await;
    for older in ["mode=stream", "mode=poll&wait=25000"] {
        let older = ada.down(older).send();
        let older = tokio::spawn(async move { older.await.unwrap().bytes().await.unwrap() });
        // Time for the request to arrive; it gets no response yet.
        sleep(Duration::from_millis(100)).await;
        assert!(!older.is_finished());
        let newer = ada.down("mode=poll&wait=25000").send();
        let newer = tokio::spawn(async move { newer.await.unwrap().bytes().await.unwrap() });
        assert!(timeout(PATIENCE, older).await.unwrap().unwrap().is_empty());
        ada.send(json!({"t": "ping", "n": "x"})).await;
        assert_eq!(newer.await.unwrap(), "{\"t\":\"pong\",\"n\":\"x\"}\n");
    }
}

#[tokio::test]
async fn a_long_poll_is_answered_at_once_or_empty_when_its_time_is_over() {
    let server = start(|_| {}).await;
    let mut ada = Http::connect(server.address, Mode::LongPoll).await;
    ada.hello(&token("ada", json!({})), json!([])).await;
    let begun = std::time::Instant::now();
    let empty = ada.down("mode=poll&wait=300").send().await.unwrap();
    assert_eq!((empty.status(), empty.content_length()), (StatusCode::OK, Some(0)));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let begun = std::time::Instant::now();
    ada.send(json!({"t": "ping", "n": "x"})).await;
    assert_eq!(ada.next().await["t"], "pong");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_stream_that_breaks_ends_the_connection_at_once() {
    let server = start(|_| {}).await;
    let mut ada = Http::connect(server.address, Mode::Stream).await;
    ada.hello(&token("ada", json!({})), room()).await;
    connections(&server, 1).await;
    drop(ada.open.take());
    connections(&server, 0).await;
    assert!(!ada.is_known().await);
}

#[tokio::test]
async fn whoever_polls_no_more_is_given_up_after_ping_and_grace() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_millis(300);
        config.timeouts.grace = Duration::from_millis(300);
    })
    .await;
    let mut ada = Http::connect(server.address, Mode::Poll).await;
    ada.hello(&token("ada", json!({})), json!([])).await;
    // Requests keep the connection alive, also without a pong.
    for _ in 0..10 {
        sleep(Duration::from_millis(100)).await;
        assert!(ada.is_known().await);
    }
    // Then silence, for longer than ping and grace.
    sleep(Duration::from_millis(900)).await;
    ada.waiting.clear();
    assert_eq!(ada.refusal().await, ("ping_timeout".to_owned(), 4001));
}

#[tokio::test]
async fn whoever_asks_for_pages_and_fetches_none_is_given_up_too() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_millis(300);
        config.timeouts.grace = Duration::from_millis(300);
    })
    .await;
    let mut bob = server.client("bob", json!([])).await;
    for _ in 0..20 {
        bob.say(&"x".repeat(16_000)).await;
    }
    let mut ada = Http::connect(server.address, Mode::Poll).await;
    let sub = || json!({"t": "sub", "ch": "dialog:room", "tail": 1000});
    // After two pages the queue has no room for the next, so the session waits.
    ada.send(json!([
        {"t": "hello", "v": 1, "client": id(), "token": token("ada", json!({})), "subs": []}, sub(), sub(), sub(), sub()
    ]))
    .await;
    // Longer than ping and grace.
    sleep(Duration::from_millis(900)).await;
    let refusal = timeout(PATIENCE, ada.refusal()).await.expect("fetching would keep it alive");
    assert_eq!(refusal, ("ping_timeout".to_owned(), 4001));
}

#[tokio::test]
async fn a_connection_without_a_hello_ends() {
    let server = start(|config| config.timeouts.hello = Duration::from_millis(200)).await;
    let mut ada = Http::connect(server.address, Mode::LongPoll).await;
    assert_eq!(ada.refusal().await, ("hello_timeout".to_owned(), 4006));
}

#[tokio::test]
async fn who_fetches_nothing_loses_the_connection_and_is_told() {
    let server = start(|config| config.limits.queue_messages = 20).await;
    let mut bob = server.client("bob", json!([])).await;
    let mut slow = Http::connect(server.address, Mode::Poll).await;
    slow.hello(&token("ada", json!({})), room()).await;
    slow.next_of("sub_ok").await;
    for n in 0..30 {
        bob.say(&n.to_string()).await;
    }
    assert_eq!(slow.refusal().await, ("slow_consumer".to_owned(), 4002));
}

#[tokio::test]
async fn a_stream_that_is_not_read_loses_the_connection() {
    let server = start(|config| {
        config.timeouts.write = Duration::from_millis(500);
        // The limits of the queue must not be what ends the connection.
        config.limits.queue_bytes = 64 << 20;
        config.limits.queue_messages = 100_000;
    })
    .await;
    let mut slow = Http::connect(server.address, Mode::LongPoll).await;
    slow.hello(&token("ada", json!({})), room()).await;
    slow.next_of("sub_ok").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(server.address).await.unwrap();
    let ask = format!(
        "GET /v1/http/down?mode=stream HTTP/1.1\r\nhost: {}\r\ntidewire-connection: {}\r\n\r\n",
        server.address, slow.id
    );
    socket.write_all(ask.as_bytes()).await.unwrap();
    socket.read_exact(&mut [0; 15]).await.unwrap();
    let mut bob = server.client("bob", json!([])).await;
    let text = "x".repeat(16_000);
    for _ in 0..600 {
        bob.say(&text).await;
        if count(&server).await == 1 {
            break;
        }
    }
    connections(&server, 1).await;
    assert!(bob.is_alive().await);
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_thousand_connections_are_no_burden() {
    let server = start(|config| {
        config.limits.connections_per_dialog = 2_000;
        config.limits.connections_per_user = 2_000;
    })
    .await;
    let client = browserless();
    let token = token("ada", json!({}));
    let mut all = Vec::new();
    let mut before = 0;
    for n in 0..1_100 {
        if n == 100 {
            before = resident();
        }
        let mut one = Http::connect_with(client.clone(), server.address, Mode::Poll).await;
        one.hello(&token, room()).await;
        all.push(one);
    }
    let each = resident().saturating_sub(before) / 1_000;
    println!("{each} bytes a connection, its test client included");
    assert!(each < 32 * 1024, "{each}");
    let mut bob = server.client("bob", json!([])).await;
    bob.say("to all").await;
    for one in &mut all {
        assert_eq!(one.next_of("event").await["body"]["text"], "to all");
    }
}
