//! Sockets from a chosen address, with a minimum of HTTP and WebSocket.

use crate::Failure;
use crate::process::SECRET;
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Time-out for a frame or a response.
const PATIENCE: Duration = Duration::from_secs(20);

/// A socket from 127.0.0.`from`.
pub(crate) async fn connect(address: SocketAddr, from: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0))?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection after the upgrade.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    waiting: Vec<Value>,
    pub(crate) close: Option<u16>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, from: u8) -> Result<Client, Failure> {
        let stream = connect(address, from).await?;
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse()?);
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Client { socket, waiting: Vec::new(), close: None })
    }

    /// Connects, and waits for the welcome.
    pub(crate) async fn welcome(
        address: SocketAddr,
        from: u8,
        user: &str,
        subs: Value,
    ) -> Result<Client, Failure> {
        let mut client = Client::connect(address, from).await?;
        let hello = json!({"t": "hello", "v": 1, "client": id(), "token": token(user)?, "subs": subs});
        client.send(&hello).await?;
        client.until("welcome").await?;
        Ok(client)
    }

    pub(crate) async fn send(&mut self, frame: &Value) -> Result<(), Failure> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// The next frame that is not a ping; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if !self.waiting.is_empty() {
                let frame = self.waiting.remove(0);
                if frame["t"] == "ping" {
                    self.send(&json!({"t": "pong", "n": frame["n"]})).await?;
                    continue;
                }
                return Ok(Some(frame));
            }
            match timeout(PATIENCE, self.socket.next()).await? {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text)? {
                    Value::Array(frames) => self.waiting = frames,
                    frame => self.waiting.push(frame),
                },
                Some(Ok(Message::Close(close))) => self.close = close.map(|close| close.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// Reads until a frame of this type.
    pub(crate) async fn until(&mut self, t: &str) -> Result<Value, Failure> {
        while let Some(frame) = self.next().await? {
            if frame["t"] == t {
                return Ok(frame);
            }
            if frame["t"] == "error" || frame["t"] == "nack" {
                return Err(format!("the server refuses: {}", frame["code"]).into());
            }
        }
        Err(format!("the server closed: {:?}", self.close).into())
    }
}

/// Makes a request on a socket of its own; returns status and body.
pub(crate) async fn post(
    address: SocketAddr,
    from: u8,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<(u16, Value), Failure> {
    let mut stream = connect(address, from).await?;
    stream.write_all(request(path, token, &body.to_string(), "connection: close\r\n").as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |parts| parts.1);
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

pub(crate) fn request(path: &str, token: Option<&str>, body: &str, more: &str) -> String {
    let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\n{authorization}{more}content-length: {length}\r\n\r\n{body}"
    )
}

pub(crate) fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A user's token.
pub(crate) fn token(user: &str) -> Result<String, Failure> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims =
        json!({"sub": user, "iss": "tidewire", "aud": "tidewire", "iat": now_s, "exp": now_s + 3_600});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}
