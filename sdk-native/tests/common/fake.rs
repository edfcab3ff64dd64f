//! A server whose every word a test chooses.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::soon;

pub const USER: &str = r#"{"id":"user:1","name":"Ada","kind":"user"}"#;

pub struct Fake {
    listener: TcpListener,
    pub url: String,
}

impl Fake {
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        Fake { listener, url }
    }

    /// The next connection, before the upgrade.
    pub async fn connection(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.expect("accepted").0
    }

    /// The next connection, upgraded.
    pub async fn session(&self) -> Session {
        let stream = self.connection().await;
        // The library fixes the signature.
        #[allow(clippy::result_large_err)]
        let accept = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri().path(), "/v1/ws");
            assert_eq!(request.headers()["sec-websocket-protocol"], "tidewire.v1");
            let protocol = HeaderValue::from_static("tidewire.v1");
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let socket = soon("the upgrade", tokio_tungstenite::accept_hdr_async(stream, accept)).await;
        Session { socket: socket.expect("upgraded") }
    }

    /// The next connection, upgraded and welcomed; returns the `hello` too.
    pub async fn welcomed(&self) -> (Session, Value) {
        let mut session = self.session().await;
        let hello = session.receive("hello").await;
        session.welcome().await;
        (session, hello)
    }
}

pub struct Session {
    pub socket: WebSocketStream<TcpStream>,
}

impl Session {
    pub async fn send(&mut self, frame: &Value) {
        self.text(frame.to_string()).await;
    }

    pub async fn text(&mut self, text: impl Into<String>) {
        self.message(Message::text(text.into())).await;
    }

    pub async fn message(&mut self, message: Message) {
        soon("a write", self.socket.send(message)).await.expect("written");
    }

    pub async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.message(Message::Close(Some(frame))).await;
    }

    /// Welcomes, with limits that stand in nobody's way.
    pub async fn welcome(&mut self) {
        let user: Value = serde_json::from_str(USER).expect("JSON");
        self.send(&json!({
            "t": "welcome", "conn": "c1", "user": user, "now": 1_795_228_800_000_u64, "ping_ms": 25_000, "grace_ms": 10_000,
            "token_ttl_ms": 3_600_000,
            "limits": {"message_bytes": 65_536, "subscriptions": 100, "inflight": 32, "inflight_bytes": 262_144,
                "ops": 1_000, "per_ms": 1_000, "burst": 1_000},
        }))
        .await;
    }

    /// Says that a channel is empty and live.
    pub async fn empty(&mut self, channel: &str) {
        self.send(&json!({"t": "sub_ok", "ch": channel, "epoch": "e1", "mode": "fresh", "from": 0, "head": 0, "events": [],
            "more": false, "runs": []}))
            .await;
    }

    /// The next frame of this type; others are passed over.
    pub async fn receive(&mut self, wanted: &str) -> Value {
        loop {
            let message = soon(wanted, self.socket.next()).await.expect("open").expect("a message");
            let Message::Text(text) = message else { continue };
            let frames = match serde_json::from_str(&text).expect("JSON") {
                Value::Array(frames) => frames,
                frame => vec![frame],
            };
            if let Some(frame) = frames.into_iter().find(|frame| frame["t"] == wanted) {
                return frame;
            }
        }
    }

    /// The close code the client sends, or `None` where it just goes.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match soon("the end", self.socket.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// The event of a message.
pub fn event(channel: &str, offset: u64, text: &str) -> Value {
    json!({"t": "event", "ch": channel, "offset": offset, "id": format!("00000000-0000-7000-8000-{offset:012}"), "kind": "message",
        "at": 1_795_228_800_000_u64, "by": {"id": "user:2", "name": "Bob", "kind": "user"}, "body": {"text": text}})
}
