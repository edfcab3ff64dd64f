//! Protocol section 7: a token in a cookie, and who may use it.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;

const APP: &str = "https://app.example.com";

async fn server() -> TestServer {
    start(|config| {
        config.cookie = Some("session".to_owned());
        config.allowed_origins = vec![APP.to_owned(), "null".to_owned()];
    })
    .await
}

/// A socket whose handshake has this origin and these cookies.
async fn socket(server: &TestServer, origin: Option<&str>, cookies: &[&str]) -> Client {
    let mut headers: Vec<(&'static str, &str)> =
        origin.map(|origin| ("origin", origin)).into_iter().collect();
    headers.extend(cookies.iter().map(|cookie| ("cookie", *cookie)));
    Client::dial(server.address, &headers, None).await
}

fn hello() -> Value {
    json!({"t": "hello", "v": 1, "client": id(), "subs": [{"ch": "dialog:room"}]})
}

/// A request with these header lines; returns status, head and body.
async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, Value) {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, head, body) = request(address, &text).await;
    (status, head, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_page_needs_no_token_because_its_cookie_has_one() {
    let server = server().await;
    let cookie = format!("theme=dark; session={}", token("ada", json!({})));
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), APP] {
        let mut client = socket(&server, Some(origin), &[&cookie]).await;
        client.send(hello()).await;
        assert_eq!(client.next_of("welcome").await["user"]["id"], "ada", "{origin}");
        assert_eq!(client.say("hi").await["t"], "ok");
        let headers = format!("origin: {origin}\r\ncookie: {cookie}\r\n");
        let (status, ..) = ask(server.address, "POST", "/v1/dialogs", &headers, "{}").await;
        assert_eq!(status, 201, "{origin}");
    }
    // A page reads from its own server without an `Origin`.
    let headers = format!("sec-fetch-site: same-origin\r\ncookie: {cookie}\r\n");
    let (status, _, page) = ask(server.address, "GET", "/v1/channels/dialog:room/events", &headers, "").await;
    assert_eq!((status, page["head"].as_u64()), (200, Some(2)));
}

#[tokio::test]
async fn plain_requests_carry_the_cookie_too() {
    let server = server().await;
    let headers = format!("origin: {APP}\r\ncookie: session={}\r\n", token("ada", json!({})));
    let (status, _, opened) = ask(server.address, "POST", "/v1/http", &headers, "").await;
    assert_eq!(status, 201);
    let link = format!("tidewire-connection: {}\r\n", opened["connection"].as_str().unwrap());
    let up = format!("{link}tidewire-seq: 1\r\norigin: {APP}\r\n");
    let (status, ..) = ask(server.address, "POST", "/v1/http/up", &up, &hello().to_string()).await;
    assert_eq!(status, 204);
    let down = "/v1/http/down?mode=poll&wait=5000";
    let (_, _, body) = request(
        server.address,
        &format!("GET {down} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{link}\r\n"),
    )
    .await;
    assert!(body.contains("\"welcome\"") && body.contains("\"ada\""), "{body}");
}

#[tokio::test]
async fn hostile_cookies_are_refused_by_name_on_sockets_and_requests() {
    let server = server().await;
    let own = format!("http://{}", server.address);
    let good = format!("session={}", token("ada", json!({})));
    let expired = format!("session={}", token("ada", json!({"exp": now_s() - 60})));
    let long = format!("session={}", token("ada", json!({"x": "x".repeat(4_096)})));
    let twice = format!("{good}; session={}", token("eve", json!({})));
    for (origin, cookies, code, close, status) in [
        // Sandboxed pages of anybody's have the origin `null`.
        (Some("null"), vec![good.as_str()], "origin_not_allowed", 4503, 403),
        (Some("https://evil.example"), vec![good.as_str()], "origin_not_allowed", 4503, 403),
        (Some("https://app.example.com.evil.example"), vec![good.as_str()], "origin_not_allowed", 4503, 403),
        (None, vec![good.as_str()], "origin_not_allowed", 4503, 403),
        (Some(own.as_str()), vec![twice.as_str()], "unauthorized", 4501, 401),
        (Some(own.as_str()), vec![good.as_str(), good.as_str()], "unauthorized", 4501, 401),
        (Some(own.as_str()), vec![long.as_str()], "unauthorized", 4501, 401),
        (Some(own.as_str()), vec!["session=a b"], "unauthorized", 4501, 401),
        (Some(own.as_str()), vec!["session=x.y.z"], "unauthorized", 4501, 401),
        (Some(own.as_str()), vec![expired.as_str()], "token_expired", 4020, 401),
        (Some(own.as_str()), vec!["session="], "unauthorized", 4501, 401),
        (Some(own.as_str()), vec![], "unauthorized", 4501, 401),
    ] {
        let mut client = socket(&server, origin, &cookies).await;
        client.send(hello()).await;
        assert_eq!(client.refusal().await, (code.to_owned(), close), "{origin:?} {cookies:?}");
        let mut headers = origin.map_or(String::new(), |origin| format!("origin: {origin}\r\n"));
        cookies.iter().for_each(|cookie| headers += &format!("cookie: {cookie}\r\n"));
        let (found, _, body) = ask(server.address, "POST", "/v1/dialogs", &headers, "{}").await;
        assert_eq!((found, &body["error"]["code"]), (status, &json!(code)), "{origin:?} {cookies:?}");
        assert!(!body.to_string().contains("eyJ"), "a message holds the token");
    }
}

#[tokio::test]
async fn a_request_that_another_site_makes_the_browser_send_is_refused() {
    let server = server().await;
    let cookie = format!("cookie: session={}\r\n", token("ada", json!({})));
    let path = "/v1/channels/dialog:room/events";
    let op = json!({"kind": "message", "body": {"text": "forged"}}).to_string();
    for (site, method, status) in [
        ("cross-site", "POST", 403),
        ("same-site", "POST", 403),
        ("cross-site", "GET", 403),
        ("same-site", "GET", 403),
        ("same-origin", "POST", 201),
        ("none", "GET", 200),
    ] {
        let headers = format!("sec-fetch-site: {site}\r\n{cookie}");
        let (found, _, body) = ask(server.address, method, path, &headers, &op).await;
        assert_eq!(found, status, "{site} {method}: {body}");
    }
    // A program without a browser says nothing of the page: it may read, and has to send a token to write.
    assert_eq!(ask(server.address, "GET", path, &cookie, "").await.0, 200);
    assert_eq!(ask(server.address, "POST", path, &cookie, &op).await.0, 403);
}

#[tokio::test]
async fn what_is_said_explicitly_counts_and_the_cookie_never_stands_in_for_it() {
    let server = server().await;
    let cookie = format!("session={}", token("ada", json!({})));
    let bob = token("bob", json!({}));
    let mut client = socket(&server, Some(APP), &[&cookie]).await;
    assert_eq!(client.hello(&bob, json!([])).await["user"]["id"], "bob");
    for bad in ["", "x.y.z"] {
        let mut client = socket(&server, Some(APP), &[&cookie]).await;
        client.say_hello(bad, json!([])).await;
        assert_eq!(client.refusal().await, ("unauthorized".to_owned(), 4501));
        let headers = format!("origin: {APP}\r\ncookie: {cookie}\r\nauthorization: Bearer {bad}\r\n");
        assert_eq!(ask(server.address, "POST", "/v1/dialogs", &headers, "{}").await.0, 401);
    }
    // A token needs no origin, and a foreign cookie beside it changes nothing.
    let mut client = socket(&server, None, &[&cookie]).await;
    client.hello(&bob, json!([])).await;
    // A guest is one by their own token, whoever is signed in.
    let headers = format!("origin: {APP}\r\ncookie: {cookie}\r\n");
    let (status, _, guest) =
        ask(server.address, "POST", "/v1/guest", &headers, &json!({"nickname": "Gast"}).to_string()).await;
    assert_eq!((status, &guest["user"]["kind"]), (200, &json!("guest")));
}

#[tokio::test]
async fn only_pages_of_origins_listed_by_name_may_send_cookies_across() {
    let allow = |head: &str| {
        let value = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(": ")?.1.to_owned())
        };
        (value("access-control-allow-origin"), value("access-control-allow-credentials"))
    };
    let with = server().await;
    let without = start(|config| config.allowed_origins = vec![APP.to_owned()]).await;
    let open = start(|config| {
        config.cookie = Some("session".to_owned());
        config.allowed_origins = vec!["*".to_owned()];
    })
    .await;
    for (server, origin, credentials) in [
        (&with, APP, Some("true")),
        (&with, "null", None),
        (&with, "https://evil.example", None),
        (&without, APP, None),
        (&open, APP, None),
    ] {
        for method in ["OPTIONS", "POST"] {
            let headers = format!("origin: {origin}\r\naccess-control-request-method: POST\r\n");
            let (_, head, _) = ask(server.address, method, "/v1/dialogs", &headers, "{}").await;
            let expected = (Some(origin.to_owned()), credentials.map(str::to_owned));
            assert_eq!(allow(&head), expected, "{method} {origin}");
        }
    }
    // Pages of anybody's may use the server, but with a token alone.
    let cookie = format!("session={}", token("ada", json!({})));
    let mut client = socket(&open, Some(APP), &[&cookie]).await;
    client.send(hello()).await;
    assert_eq!(client.refusal().await, ("origin_not_allowed".to_owned(), 4503));
}

#[tokio::test]
async fn without_the_setting_no_cookie_counts() {
    let server = start(|_| {}).await;
    let own = format!("http://{}", server.address);
    let cookie = format!("session={}", token("ada", json!({})));
    let mut client = socket(&server, Some(&own), &[&cookie]).await;
    client.send(hello()).await;
    assert_eq!(client.refusal().await, ("unauthorized".to_owned(), 4501));
}
