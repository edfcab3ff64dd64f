//! A server for each test, and a client that speaks plain JSON.

// Each test program uses its own part of this.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

pub mod exposition;

use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use tidewire_server::config::{Budget, KeyConfig, KeyMaterial, ModelConfig};
use tidewire_server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

pub const SECRET: &str = "a secret of the tests with 32 bytes or more";
pub const PATIENCE: Duration = Duration::from_secs(15);

pub struct TestServer {
    pub server: Server,
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
}

/// Settings for tests: no model, generous budgets, and the dialog `room`, which is open for all.
pub fn config(folder: &tempfile::TempDir) -> Config {
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".to_owned();
    config.database = folder.path().join("tidewire.db");
    config.public_dialogs = vec!["room".to_owned()];
    config.keys = vec![KeyConfig { id: None, material: KeyMaterial::Hs256(SECRET.to_owned()) }];
    config.model = ModelConfig::Off;
    config.limits.user = Budget { ops: 100_000, per_ms: 1_000, burst: 100_000 };
    config
}

pub async fn start(change: impl FnOnce(&mut Config)) -> TestServer {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    change(&mut config);
    let server = Server::start(config).await.unwrap();
    TestServer { address: server.address(), server, folder }
}

impl TestServer {
    pub async fn client(&self, user: &str, subs: Value) -> Client {
        let mut client = Client::connect(self.address).await;
        client.hello(&token(user, json!({})), subs).await;
        client
    }
}

/// Calls `look` until it returns something; panics when that takes too long.
pub async fn soon<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "it did not come about");
        sleep(Duration::from_millis(10)).await;
    }
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Claims of a valid token; a member that is null in `other` is left out.
pub fn claims(user: &str, other: Value) -> Value {
    let mut claims =
        json!({"sub": user, "name": user, "iss": "tidewire", "aud": "tidewire", "exp": now_s() + 3600});
    for (name, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub fn token(user: &str, other: Value) -> String {
    signed(&claims(user, other))
}

/// A token with these claims.
pub fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

pub fn operator(user: &str) -> String {
    token(user, json!({"kind": "operator", "aud": "tidewire-operator", "account": "default"}))
}

/// A token of the application's backend.
pub fn service(scopes: &[&str]) -> String {
    let other = json!({"kind": "service", "aud": "tidewire-service", "account": "default", "scopes": scopes});
    token("backend", other)
}

pub fn message(op: &str, text: &str) -> Value {
    json!({"t": "op", "id": op, "ch": "dialog:room", "kind": "message", "body": {"text": text}})
}

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    waiting: VecDeque<Value>,
    pub close: Option<(u16, String)>,
    /// How many WebSocket messages were received.
    pub messages: usize,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        Client::connect_with(address, None, None).await
    }

    /// Connects; `None` if the server is not there, or ends during the handshake.
    pub async fn try_connect(address: SocketAddr) -> Option<Client> {
        Client::try_dial(address, &[], None).await.ok()
    }

    /// Connects like a proxy, on behalf of this client.
    pub async fn connect_for(address: SocketAddr, client: &str) -> Client {
        Client::dial(address, &[("x-forwarded-for", client)], None).await
    }

    pub async fn connect_with(address: SocketAddr, origin: Option<&str>, receive: Option<u32>) -> Client {
        let headers: Vec<(&'static str, &str)> =
            origin.map(|origin| ("origin", origin)).into_iter().collect();
        Client::dial(address, &headers, receive).await
    }

    pub async fn dial(address: SocketAddr, headers: &[(&'static str, &str)], receive: Option<u32>) -> Client {
        Client::try_dial(address, headers, receive).await.unwrap()
    }

    async fn try_dial(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
        receive: Option<u32>,
    ) -> Result<Client, tokio_tungstenite::tungstenite::Error> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Client { socket, waiting: VecDeque::new(), close: None, messages: 0 })
    }

    pub async fn hello(&mut self, token: &str, subs: Value) -> Value {
        self.say_hello(token, subs).await;
        let frame = self.next().await;
        assert_eq!(frame["t"], "welcome", "{frame}");
        frame
    }

    pub async fn say_hello(&mut self, token: &str, subs: Value) {
        self.send(json!({"t": "hello", "v": 1, "client": id(), "token": token, "subs": subs})).await;
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        // If the server has closed, reading shows it.
        let _ = self.socket.send(Message::Text(text.into())).await;
    }

    /// The next frame; `None` after the close. Pings are answered.
    pub async fn try_next(&mut self) -> Option<Value> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                if frame["t"] == "ping" {
                    self.send(json!({"t": "pong", "n": frame["n"]})).await;
                    continue;
                }
                return Some(frame);
            }
            let message = timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.messages += 1;
                    match serde_json::from_str(&text).unwrap() {
                        Value::Array(frames) => self.waiting.extend(frames),
                        frame => self.waiting.push_back(frame),
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    self.close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        match self.try_next().await {
            Some(frame) => frame,
            None => panic!("closed: {:?}", self.close),
        }
    }

    /// The next frame of this type; others are dropped.
    pub async fn next_of(&mut self, t: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["t"] == t {
                return frame;
            }
        }
    }

    /// The next event of this kind; other frames are dropped.
    pub async fn event(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next_of("event").await;
            if frame["kind"] == kind {
                return frame;
            }
        }
    }

    /// Sends an op and waits for its `ok` or `nack`.
    pub async fn op(&mut self, op: Value) -> Value {
        let id = op["id"].clone();
        self.send(op).await;
        loop {
            let frame = self.next().await;
            if frame["id"] == id && (frame["t"] == "ok" || frame["t"] == "nack") {
                return frame;
            }
        }
    }

    pub async fn say(&mut self, text: &str) -> Value {
        self.op(message(&id(), text)).await
    }

    /// Whether the connection still answers.
    pub async fn is_alive(&mut self) -> bool {
        self.send(json!({"t": "ping", "n": "alive?"})).await;
        while let Some(frame) = self.try_next().await {
            if frame["t"] == "pong" && frame["n"] == "alive?" {
                return true;
            }
        }
        false
    }

    /// Reads to the end; returns the code of the last `error` frame and the close code.
    pub async fn refusal(&mut self) -> (String, u16) {
        let mut code = String::new();
        while let Some(frame) = self.try_next().await {
            if frame["t"] == "error" {
                code = frame["code"].as_str().unwrap().to_owned();
            }
        }
        (code, self.close.clone().map_or(0, |close| close.0))
    }
}

/// Sends a plain HTTP request; returns status, head and body.
pub async fn request(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_lowercase(), body.to_owned())
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    request(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")).await
}

pub async fn post(address: SocketAddr, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let text = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{authorization}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, _, body) = request(address, &text).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}
