//! Clients that speak the protocol and do nothing else, so that they cost little.

use crate::Failure;
use crate::figures::Part;
use crate::process::{SECRET, Server, dialog};
use crate::{TEXT_BYTES, WARM_UP};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Time-out for a frame.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket after the upgrade.
pub(crate) type Socket = WebSocketStream<TcpStream>;

/// A connection that was welcomed and is subscribed to its dialog.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    channel: String,
}

/// The members of a frame that are read.
#[derive(Deserialize)]
struct Frame {
    t: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    code: String,
}

/// Lets clients write as fast as they are acknowledged, each in a dialog of its own.
pub(crate) async fn load(
    server: &Server,
    clients: u32,
    inflight: u32,
    time: Duration,
) -> Result<Part, Failure> {
    let connected = connect(server, clients).await?;
    let from = Instant::now() + WARM_UP;
    let until = from + time;
    let mut tasks = JoinSet::new();
    for client in connected {
        tasks.spawn(client.write(TEXT_BYTES, inflight, from, until, u64::MAX));
    }
    tokio::time::sleep_until(from.into()).await;
    let before = server.commits()?;
    tokio::time::sleep_until(until.into()).await;
    let commits = server.commits()?.wrapping_sub(before);
    let mut part = Part { time, commits: commits.into(), ..Part::default() };
    while let Some(done) = tasks.join_next().await {
        let mut written = done??;
        part.waits.append(&mut written.waits);
        part.acked += written.acked;
    }
    Ok(part)
}

/// Connects clients, each with a user and a dialog of its own.
pub(crate) async fn connect(server: &Server, clients: u32) -> Result<Vec<Client>, Failure> {
    let mut connected = Vec::new();
    for number in 0..clients {
        connected.push(Client::connect(server.address, number, number, None).await?);
    }
    Ok(connected)
}

/// The ops that a client wrote.
pub(crate) struct Written {
    /// How long each op took that was acknowledged within the measured time.
    waits: Vec<Duration>,
    /// How many ops were acknowledged in all.
    acked: u64,
}

impl Client {
    /// Connects the user with the number `user`, subscribed to the dialog with the number `of`.
    /// `receive` is the size of the socket's receive buffer, in bytes.
    pub(crate) async fn connect(
        address: SocketAddr,
        user: u32,
        of: u32,
        receive: Option<u32>,
    ) -> Result<Client, Failure> {
        let channel = format!("dialog:{}", dialog(of));
        let mut client = Client { socket: dial(address, receive).await?, channel };
        let hello = json!({"t": "hello", "v": 1, "client": new_id(), "token": token(user)?,
            "subs": [{"ch": client.channel, "tail": 0}]});
        client.socket.send(Message::text(hello.to_string())).await?;
        while !client.receive().await?.iter().any(|frame| frame.t == "sub_ok") {}
        Ok(client)
    }

    /// Writes texts of `bytes` bytes until `until`, at most `most` of them and `inflight` at a
    /// time, and waits until all are acknowledged. Time is measured from `from` on.
    pub(crate) async fn write(
        mut self,
        bytes: usize,
        inflight: u32,
        from: Instant,
        until: Instant,
        most: u64,
    ) -> Result<Written, Failure> {
        let text = "x".repeat(bytes);
        let (mut open, mut sent) = (HashMap::new(), 0);
        let mut written = Written { waits: Vec::new(), acked: 0 };
        loop {
            while open.len() < inflight as usize && sent < most && Instant::now() < until {
                let id = new_id();
                let op = json!({"t": "op", "id": id, "ch": self.channel, "kind": "message", "body": {"text": text}});
                open.insert(id, Instant::now());
                sent += 1;
                self.socket.feed(Message::text(op.to_string())).await?;
            }
            self.socket.flush().await?;
            if open.is_empty() {
                return Ok(written);
            }
            for frame in self.receive().await? {
                match frame.t.as_str() {
                    "ok" => {
                        let now = Instant::now();
                        let begun = open.remove(&frame.id).ok_or("an op was acknowledged twice")?;
                        written.acked += 1;
                        if (from..until).contains(&now) {
                            written.waits.push(now - begun);
                        }
                    }
                    "nack" | "error" => return Err(format!("the server refuses: {}", frame.code).into()),
                    _ => {}
                }
            }
        }
    }

    /// Waits for the end of the connection, and returns the close code; `None` if it ended without
    /// one.
    pub(crate) async fn end(mut self) -> Result<Option<u16>, Failure> {
        timeout(PATIENCE, async {
            let mut code = None;
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Close(Some(close)) = message {
                    code = Some(close.code.into());
                }
            }
            code
        })
        .await
        .map_err(|_| Failure::from("the server keeps a peer that does not read"))
    }

    /// The frames of the next message.
    async fn receive(&mut self) -> Result<Vec<Frame>, Failure> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await?.ok_or("the server hung up")?? {
                Message::Text(text) if text.starts_with('[') => return Ok(serde_json::from_str(&text)?),
                Message::Text(text) => return Ok(vec![serde_json::from_str(&text)?]),
                Message::Close(close) => return Err(format!("the server closed: {close:?}").into()),
                _ => {}
            }
        }
    }
}

/// Opens a WebSocket. `receive` is the size of the socket's receive buffer, in bytes.
pub(crate) async fn dial(address: SocketAddr, receive: Option<u32>) -> Result<Socket, Failure> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse()?);
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

/// A user's token.
pub(crate) fn token(user: u32) -> Result<String, Failure> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims: Value = json!({"sub": format!("bench-{user}"), "name": "Bench", "iss": "tidewire", "aud": "tidewire",
        "iat": now_s, "exp": now_s + 3_600});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
