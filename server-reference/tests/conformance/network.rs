//! Behaviour of networks, proxies and browsers that the protocol does not require.

use crate::support::*;
use futures_util::StreamExt;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn what_is_no_websocket_message_closes_with_its_own_code() {
    let server = start(|_| {}).await;
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    };
    let unmasked = vec![0x81, 0x02, b'[', b']'];
    let mut long_ping = vec![0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0];
    long_ping.extend([0; 126]);
    for (name, bytes, code) in [
        ("a byte that is no UTF-8", masked(0x81, b"\xff"), 1007),
        ("a surrogate in UTF-8", masked(0x81, b"\xed\xa0\x80"), 1007),
        ("a character that is cut", masked(0x81, b"\xe2\x82"), 1007),
        ("no mask", unmasked, 1002),
        ("a reserved bit", masked(0xc1, b"{}"), 1002),
        ("a reserved opcode", masked(0x83, b"{}"), 1002),
        ("a reserved control opcode", masked(0x8b, b""), 1002),
        ("a control frame in parts", masked(0x09, b""), 1002),
        ("a control frame that is too long", long_ping, 1002),
        ("a continuation of nothing", masked(0x80, b"{}"), 1002),
        ("a message within a message", [masked(0x01, b"{"), masked(0x81, b"{}")].concat(), 1002),
    ] {
        let mut client = server.client("ada", json!([])).await;
        client.socket.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(client.refusal().await, ("bad_frame".to_owned(), code), "{name}");
    }
    // A peer that disappears is no error.
    let client = server.client("ada", json!([])).await;
    drop(client);
    assert!(server.client("bob", json!([])).await.is_alive().await);
}

#[tokio::test]
async fn whoever_comes_during_a_drain_is_told_and_sent_away_with_4000() {
    let server = start(|config| config.timeouts.goaway = Duration::from_millis(800)).await;
    let mut ada = server.client("ada", json!([])).await;
    let address = server.address;
    let drain = tokio::spawn(server.server.drain());
    assert_eq!(ada.next_of("goaway").await["reason"], "restart");
    let mut late = Client::connect(address).await;
    let goaway = late.next().await;
    assert_eq!((&goaway["t"], &goaway["spread_ms"]), (&json!("goaway"), &json!(5000)));
    assert_eq!(late.refusal().await, (String::new(), 4000));
    let text = format!(
        "POST /v1/http HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (status, head, body) = request(address, &text).await;
    assert!(status == 503 && body.contains("goaway") && head.contains("retry-after: "), "{head}{body}");
    assert_eq!(ada.refusal().await, (String::new(), 4000));
    drain.await.unwrap();
}

#[tokio::test]
async fn a_refusal_before_the_body_was_read_says_that_the_connection_ends() {
    let server = start(|_| {}).await;
    let long = "x".repeat(20_000);
    let head = |path: &str, more: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nhost: {}\r\n{more}content-length: {length}\r\n\r\n", server.address)
    };
    for (name, text, closes) in [
        ("too long", head("/v1/guest", "", 200_000) + &long, true),
        ("no connection", head("/v1/http/up", "tidewire-connection: x\r\n", 2) + "{}", true),
        ("nothing there", head("/v1/nothing", "", 2) + "{}", true),
        ("a foreign page", head("/v1/guest", "origin: https://evil.example\r\n", 2) + "{}", true),
        ("read, and wrong", head("/v1/guest", "", 2) + "{}", false),
        ("no body", head("/v1/dialogs", "", 0), false),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let (mut answer, mut part) = (String::new(), [0; 4096]);
        let mut ended = false;
        // A response comes at once, and so does the end of a connection.
        while let Ok(read) = timeout(Duration::from_millis(700), stream.read(&mut part)).await {
            match read {
                Ok(count @ 1..) => answer.push_str(&String::from_utf8_lossy(&part[..count])),
                _ => {
                    ended = true;
                    break;
                }
            }
        }
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 4"), "{name}: {answer}");
        assert_eq!(answer.contains("connection: close"), closes, "{name}: {answer}");
        assert_eq!(ended, closes, "{name}");
    }
}

#[tokio::test]
async fn behind_a_proxy_that_names_ports_each_client_has_its_own_address() {
    let server = start(|config| {
        config.limits.connections_per_ip = Some(1);
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let mut clients = Vec::new();
    for named in ["198.51.100.1:1000", "198.51.100.2:1000", "[2001:db8:0:1::1]:7", "2001:db8:0:2::1"] {
        let mut client = Client::connect_for(server.address, named).await;
        client.hello(&token("ada", json!({})), json!([])).await;
        clients.push(client);
    }
    for named in ["198.51.100.1:2000", "[2001:db8:0:1::2]:8"] {
        let mut again = Client::connect_for(server.address, named).await;
        assert_eq!(again.refusal().await, ("too_many_connections".to_owned(), 4007), "{named}");
    }
}

#[tokio::test]
async fn a_public_address_with_a_path_stands_before_every_path_or_does_not() {
    let server = start(|config| config.public_url = Some("https://h.example/rt/".to_owned())).await;
    for base in ["", "/rt"] {
        let path = format!("{base}/healthz");
        assert_eq!(get(server.address, &path).await.0, 200, "{path}");
        let ask = |origin: &str| {
            format!(
                "POST {base}/v1/guest HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\nconnection: close\r\n\
                 content-length: 18\r\n\r\n{{\"nickname\":\"Ada\"}}",
                server.address
            )
        };
        assert_eq!(request(server.address, &ask("https://h.example")).await.0, 200);
        let (status, _, body) = request(server.address, &ask(&format!("http://{}", server.address))).await;
        assert!(status == 403 && body.contains("--public-url"), "{body}");
        let request = format!("ws://{}{base}/v1/ws", server.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert!(timeout(Duration::from_millis(100), socket.next()).await.is_err(), "it waits for hello");
    }
    assert_eq!(get(server.address, "/rtx/healthz").await.0, 404);
}

#[tokio::test]
async fn settings_that_could_never_work_are_refused_at_the_start() {
    for (origin, url) in [(Some("app.example.com"), None), (None, Some("app.example.com"))] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        config.allowed_origins = origin.map(str::to_owned).into_iter().collect();
        config.public_url = url.map(str::to_owned);
        let Err(error) = tidewire_server::Server::start(config).await else { panic!("it started") };
        assert_eq!(error.code(), "bad_value");
    }
}
