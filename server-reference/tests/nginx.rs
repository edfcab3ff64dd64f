//! A real nginx as a proxy: its defaults, a base path, and its buffering.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::*;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// What a WebSocket needs of nginx; everything else is nginx's default.
const UPGRADE: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
    proxy_set_header Connection $upgrade; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";

/// An nginx that ends with the test.
struct Nginx {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<&'static str> {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!(
            "SKIPPED: nginx is not installed; `cargo xtask test` installs it, or: apt-get install nginx-light"
        );
    }
    found
}

impl Nginx {
    async fn start(program: &str, port: u16, locations: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {top}/{name};\n"))
            .collect();
        let text = format!(
            "daemon off; master_process off; pid {top}/pid; error_log {top}/error;\nevents {{}}\n\
             http {{ access_log off; {temporary}\nmap $http_upgrade $upgrade {{ default upgrade; '' close; }}\n\
             server {{ listen 127.0.0.1:{port}; {locations} }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, text).unwrap();
        let child = Command::new(program)
            .args(["-p", &top.to_string(), "-e", &format!("{top}/error"), "-c"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Nginx { child, port, _folder: folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(
                Instant::now() < until,
                "nginx does not listen: {}",
                std::fs::read_to_string(nginx._folder.path().join("error")).unwrap()
            );
            sleep(Duration::from_millis(20)).await;
        }
        nginx
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Sends a hello through nginx as a page of this origin; returns the first frame.
async fn hello(port: u16, path: &str, origin: &str) -> Value {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse().unwrap());
    request.headers_mut().insert("origin", origin.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let hello = json!({"t": "hello", "v": 1, "client": id(), "token": token("ada", json!({})), "subs": []});
    let _ = socket.send(Message::text(hello.to_string())).await;
    match timeout(PATIENCE, socket.next()).await.unwrap() {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_knows_its_public_address_needs_no_header_of_nginx() {
    let Some(program) = program() else { return };
    let port = tidewire_ports::free();
    let public = format!("http://127.0.0.1:{port}");
    for (public_url, expected) in [(Some(public.clone()), "welcome"), (None, "error")] {
        let server = start(|config| {
            config.public_url = public_url;
            config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        })
        .await;
        let location = format!("location / {{ proxy_pass http://{}; {UPGRADE} }}", server.address);
        let nginx = Nginx::start(program, port, &location).await;
        // nginx's `Host` header is the address that it forwards to, not the one that the client
        // requested.
        let first = hello(nginx.port, "/v1/ws", &public).await;
        assert_eq!(first["t"], expected, "{first}");
        if expected == "error" {
            assert_eq!(first["code"], "origin_not_allowed");
            assert!(first["message"].as_str().unwrap().contains("--public-url"), "{first}");
        }
    }
}

#[tokio::test]
async fn a_server_below_a_path_answers_whether_or_not_nginx_takes_the_path_away() {
    let Some(program) = program() else { return };
    for end in ["", "/"] {
        let port = tidewire_ports::free();
        let public = format!("http://127.0.0.1:{port}");
        let server = start(|config| config.public_url = Some(format!("{public}/rt/"))).await;
        let location = format!("location /rt/ {{ proxy_pass http://{}{end}; {UPGRADE} }}", server.address);
        let nginx = Nginx::start(program, port, &location).await;
        assert_eq!(hello(nginx.port, "/rt/v1/ws", &public).await["t"], "welcome");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let guest = http.post(format!("{}/rt/v1/guest", nginx.base())).header("origin", &public);
        let guest: Value = guest.body(r#"{"nickname":"Ada"}"#).send().await.unwrap().json().await.unwrap();
        assert_eq!(guest["user"]["name"], "Ada");
    }
}

#[tokio::test]
async fn forwarded_host_and_scheme_stand_for_a_public_address() {
    let Some(program) = program() else { return };
    let server = start(|config| config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]).await;
    let headers = "proxy_set_header X-Forwarded-Host chat.example; proxy_set_header X-Forwarded-Proto https;";
    let location = format!("location / {{ proxy_pass http://{}; {UPGRADE} {headers} }}", server.address);
    let nginx = Nginx::start(program, tidewire_ports::free(), &location).await;
    assert_eq!(hello(nginx.port, "/v1/ws", "https://chat.example").await["t"], "welcome");
    for foreign in ["http://chat.example", "https://other.example"] {
        assert_eq!(hello(nginx.port, "/v1/ws", foreign).await["code"], "origin_not_allowed", "{foreign}");
    }
}

#[tokio::test]
async fn plain_requests_go_through_an_nginx_of_which_nothing_was_set_and_nothing_is_held_back() {
    let Some(program) = program() else { return };
    let server = start(|_| {}).await;
    let location = format!("location / {{ proxy_pass http://{}; }}", server.address);
    let nginx = Nginx::start(program, tidewire_ports::free(), &location).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("{}/v1/http", nginx.base());
    let opened: Value = http.post(&base).send().await.unwrap().json().await.unwrap();
    let connection = opened["connection"].as_str().unwrap();
    let mut seq = 0;
    let mut up = async |frame: Value| {
        seq += 1;
        let up = http.post(format!("{base}/up")).header("tidewire-connection", connection);
        let up = up.header("tidewire-seq", seq.to_string()).body(frame.to_string()).send().await.unwrap();
        assert_eq!(up.status(), 204);
    };
    let subs = json!([{"ch": "dialog:room"}]);
    up(json!({"t": "hello", "v": 1, "client": id(), "token": token("ada", json!({})), "subs": subs})).await;
    let down = http.get(format!("{base}/down?mode=stream")).header("tidewire-connection", connection);
    let mut down = timeout(PATIENCE, down.send()).await.unwrap().unwrap();
    assert_eq!(down.status(), 200);
    let mut until = async |part: &str| {
        let mut text = String::new();
        while !text.contains(part) {
            let more =
                timeout(PATIENCE, down.chunk()).await.expect("it is held back").unwrap().expect("more");
            text.push_str(std::str::from_utf8(&more).unwrap());
        }
    };
    until("sub_ok").await;
    for n in 0..5 {
        let begun = Instant::now();
        up(message(&id(), &format!("word {n}"))).await;
        until(&format!("word {n}")).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    // This nginx forwards no WebSocket, and the response says what is wrong.
    let refused = http.get(format!("{}/v1/ws", nginx.base())).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    // A message that is too long for nginx (1 MiB by default) would be too long for the server too.
    let long = http.post(format!("{base}/up")).header("tidewire-connection", connection);
    assert_eq!(long.body("x".repeat(2 << 20)).send().await.unwrap().status(), 413);
}
