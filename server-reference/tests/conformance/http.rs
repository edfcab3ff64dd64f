//! The endpoints of protocol section 7, health and static files.

use crate::support::*;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn a_guest_gets_a_token_and_keeps_the_id_when_it_is_renewed() {
    let server = start(|_| {}).await;
    let (status, first) = post(server.address, "/v1/guest", None, &json!({"nickname": "  Ada "})).await;
    assert_eq!(
        (status, &first["user"]["name"], &first["user"]["kind"]),
        (200, &json!("Ada"), &json!("guest"))
    );
    assert_eq!(first["expires_ms"], 86_400_000);
    let old = first["token"].as_str().unwrap();
    let (_, same) = post(server.address, "/v1/guest", Some(old), &json!({})).await;
    assert_eq!(same["user"], first["user"]);
    let (_, renamed) = post(server.address, "/v1/guest", Some(old), &json!({"nickname": "Eve"})).await;
    assert_eq!((&renamed["user"]["id"], &renamed["user"]["name"]), (&first["user"]["id"], &json!("Eve")));
    let mut client = Client::connect(server.address).await;
    let welcome = client.hello(renamed["token"].as_str().unwrap(), json!([])).await;
    assert_eq!(welcome["user"], renamed["user"]);
    for nickname in [json!(""), json!("x".repeat(41)), json!("a\u{0}b"), json!(7), json!(null)] {
        let (status, body) = post(server.address, "/v1/guest", None, &json!({"nickname": nickname})).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")));
    }
    let (status, body) = post(server.address, "/v1/guest", Some(&token("ada", json!({}))), &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
}

#[tokio::test]
async fn dialogs_need_a_token_and_a_good_id() {
    let server = start(|_| {}).await;
    let (status, body) = post(server.address, "/v1/dialogs", None, &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    let expired = token("ada", json!({"exp": 1}));
    let (status, body) = post(server.address, "/v1/dialogs", Some(&expired), &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("token_expired")));
    let good = token("ada", json!({}));
    let (status, body) = post(server.address, "/v1/dialogs", Some(&good), &json!({})).await;
    assert!(status == 201 && body["id"].as_str().unwrap().len() == 32);
    for id in [String::new(), "with space".to_owned(), "x".repeat(122)] {
        let (status, body) = post(server.address, "/v1/dialogs", Some(&good), &json!({"id": id})).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")));
    }
    let long = json!({"id": "x".repeat(20_000)});
    let (status, body) = post(server.address, "/v1/dialogs", Some(&good), &long).await;
    assert_eq!((status, &body["error"]["code"]), (413, &json!("too_large")));
    let (status, _, body) = get(server.address, "/v1/dialogs").await;
    assert!(status == 405 && body.contains("bad_request"), "{body}");
}

#[tokio::test]
async fn the_demo_hands_out_tokens_only_when_it_is_on() {
    let server = start(|_| {}).await;
    let ask = json!({"role": "operator", "name": "Olga", "ttl_s": 60});
    assert_eq!(post(server.address, "/demo/token", None, &ask).await.0, 404);
    let server = start(|config| {
        config.demo = true;
        config.keys.clear();
    })
    .await;
    let (status, body) = post(server.address, "/demo/token", None, &ask).await;
    assert_eq!(
        (status, &body["user"]["kind"], &body["expires_ms"]),
        (200, &json!("operator"), &json!(60_000))
    );
    let mut client = Client::connect(server.address).await;
    client.hello(body["token"].as_str().unwrap(), json!([{"ch": "dialog:demo"}])).await;
    assert_eq!(client.next().await["t"], "sub_ok");
    let (_, again) = post(server.address, "/demo/token", None, &ask).await;
    assert_eq!(again["user"], body["user"], "the same name is the same user");
    let long = json!({"role": "user", "name": "𝕬".repeat(40)});
    let (_, body) = post(server.address, "/demo/token", None, &long).await;
    Client::connect(server.address).await.hello(body["token"].as_str().unwrap(), json!([])).await;
    let (status, _) = post(server.address, "/demo/token", None, &json!({"role": "root", "name": "x"})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn the_demo_refuses_to_face_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.demo = true;
    config.listen = "0.0.0.0:0".to_owned();
    let Err(error) = tidewire_server::Server::start(config).await else { panic!("it started") };
    assert_eq!(error.code(), "demo_not_local");
}

#[tokio::test]
async fn files_are_served_with_their_types_and_nothing_outside_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("web");
    std::fs::create_dir_all(root.join("dist")).unwrap();
    std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    std::fs::write(root.join("index.html"), "<p>hi").unwrap();
    std::fs::write(root.join("dist/a.wasm"), "\0asm").unwrap();
    std::fs::write(root.join("dist/a.js"), "1").unwrap();
    let server = start(|config| config.web_root = Some(root)).await;
    for (path, kind) in
        [("/", "text/html"), ("/dist/a.wasm", "application/wasm"), ("/dist/a.js", "text/javascript")]
    {
        let (status, head, _) = get(server.address, path).await;
        assert_eq!(status, 200, "{path}");
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        assert!(head.contains("cache-control: no-cache") && head.contains("last-modified"), "{head}");
    }
    for path in [
        "/../secret.txt",
        "/dist/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//etc/passwd",
        "/nothing",
    ] {
        let (status, _, body) = get(server.address, path).await;
        assert!(status == 404 || status == 400, "{path}: {status}");
        assert!(!body.contains("secret") && !body.contains("root:"), "{path}");
    }
    let (_, _, body) = get(server.address, "/nothing").await;
    assert!(body.contains("not_found"), "{body}");
}

#[tokio::test]
async fn every_response_carries_the_strict_headers() {
    let server = start(|_| {}).await;
    for path in ["/", "/healthz", "/nothing", "/v1/ws", "/v1/nothing"] {
        let (_, head, _) = get(server.address, path).await;
        assert!(
            head.contains(
                "content-security-policy: default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
            ),
            "{head}"
        );
        assert!(
            head.contains("frame-ancestors 'none'")
                && head.contains("nosniff")
                && head.contains("no-referrer")
        );
    }
}

#[tokio::test]
async fn a_page_that_is_not_built_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(|config| config.web_root = Some(folder.path().to_owned())).await;
    let (status, _, body) = get(server.address, "/").await;
    assert_eq!(status, 404);
    assert!(body.contains("cargo xtask build") && body.contains("missing_build"), "{body}");
    let mut wrong = config(&folder);
    wrong.web_root = Some(folder.path().join("nowhere"));
    let Err(error) = tidewire_server::Server::start(wrong).await else { panic!("it started") };
    assert_eq!(error.code(), "missing_web_root");
}

#[tokio::test]
async fn a_listed_origin_may_use_the_endpoints_and_another_may_not() {
    let server = start(|config| config.allowed_origins = vec!["https://app.example.com".to_owned()]).await;
    let ask = |method: &str, origin: &str| {
        format!(
            "{method} /v1/guest HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\nconnection: close\r\ncontent-length: 18\r\n\r\n{{\"nickname\":\"Ada\"}}",
            server.address
        )
    };
    let (status, head, _) = request(server.address, &ask("POST", "https://app.example.com")).await;
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: https://app.example.com"), "{head}");
    let (status, head, _) = request(server.address, &ask("OPTIONS", "https://app.example.com")).await;
    assert!(status == 204 && head.contains("access-control-allow-headers: authorization, content-type"));
    let (status, _, _) = request(server.address, &ask("OPTIONS", "https://evil.example.com")).await;
    assert_eq!(status, 204);
    let (status, head, body) = request(server.address, &ask("POST", "https://evil.example.com")).await;
    assert!(status == 403 && body.contains("origin_not_allowed"));
    assert!(head.contains("access-control-allow-origin: https://evil.example.com"), "it can be read: {head}");
}

#[tokio::test]
async fn embedded_files_are_open_to_every_page_compressed_and_kept_by_their_hash() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("tidewire");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(folder.path().join("index.html"), "<!doctype html>").unwrap();
    for name in ["widget.js", "core-0123456789abcdef.wasm"] {
        for (ending, text) in [("", "plain"), (".br", "brotli"), (".gz", "gzip")] {
            std::fs::write(place.join(format!("{name}{ending}")), text).unwrap();
        }
    }
    let root = folder.path().to_owned();
    let server = start(|config| config.web_root = Some(root)).await;
    let ask = async |path: &str, accept: &str| {
        let text = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\norigin: https://shop.example\r\naccept-encoding: {accept}\r\nconnection: close\r\n\r\n"
        );
        request(server.address, &text).await
    };
    for (accept, encoding, content) in [
        ("gzip, deflate, br", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzip"),
        ("identity", None, "plain"),
    ] {
        for (path, kind, cache) in [
            ("/tidewire/widget.js", "text/javascript", "no-cache"),
            (
                "/tidewire/core-0123456789abcdef.wasm",
                "application/wasm",
                "public, max-age=31536000, immutable",
            ),
        ] {
            let (status, head, body) = ask(path, accept).await;
            assert_eq!((status, body.as_str()), (200, content), "{path} {accept}");
            assert!(head.contains(&format!("content-type: {kind}")), "{head}");
            assert!(head.contains(&format!("cache-control: {cache}\r\n")), "{head}");
            assert!(head.contains("access-control-allow-origin: *"), "{head}");
            assert!(head.contains("cross-origin-resource-policy: cross-origin"), "{head}");
            assert!(head.contains("vary: accept-encoding"), "{head}");
            let told = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
            assert_eq!(told, encoding, "{path} {accept}");
        }
    }
    let (status, head, _) = ask("/tidewire/core-00000000deadbeef.wasm", "br").await;
    assert!(
        status == 404 && head.contains("cache-control: no-cache"),
        "what is missing may come yet: {head}"
    );
    let (_, head, _) = ask("/", "br").await;
    assert!(!head.contains("access-control-allow-origin"), "the page itself is nobody else's: {head}");
}

#[tokio::test]
async fn half_a_body_does_not_hold_a_socket() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_millis(100);
        config.timeouts.grace = Duration::from_millis(100);
    })
    .await;
    let half = "POST /v1/guest HTTP/1.1\r\nhost: x\r\ncontent-length: 18\r\n\r\n{\"nickname\"";
    let (status, _, body) = request(server.address, half).await;
    assert!(status == 408 && body.contains("bad_request"), "{status} {body}");
}

#[tokio::test]
async fn a_response_that_nobody_reads_does_not_hold_a_socket() {
    const BYTES: usize = 32 << 20;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("great"), vec![0; BYTES]).unwrap();
    let server = start(|config| {
        config.web_root = Some(folder.path().to_owned());
        config.timeouts.write = Duration::from_millis(100);
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(b"GET /great HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    // Nothing is read for much longer than the server waits.
    sleep(Duration::from_secs(1)).await;
    let mut rest = Vec::new();
    // The data in the system's buffers still comes, then the end or a reset.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server waits");
    assert!(!rest.is_empty() && rest.len() < BYTES, "{}", rest.len());
}
