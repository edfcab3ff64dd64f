//! One attempt without a WebSocket: messages up as the bodies of requests, down as the lines of
//! responses (protocol section 11).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tidewire_core::{ConnId, Transport};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::carrier::{ABNORMAL, AbortOnDrop, GOODBYE, MESSAGE_BYTES, Report};
use crate::transport::{Endpoint, Unreachable};

/// Longest answer to the request that opens a connection, in bytes.
const ANSWER_BYTES: usize = 4 * 1024;
/// How often to ask where nothing is held open.
const POLL_EVERY: Duration = Duration::from_secs(3);
/// How long the server may hold an answer back.
const WAIT_MS: u64 = 25_000;
/// An empty answer that comes sooner than this was not held back: who would ask again at once would
/// never stop.
const HELD: Duration = Duration::from_secs(1);
/// A socket that was idle for longer is not used again: servers close theirs after 5 s, and a
/// request could cross that.
const IDLE: Duration = Duration::from_secs(2);
/// Says goodbye.
const BYE: &str = r#"{"t":"bye"}"#;

/// A request or its response failed, or the server refused it.
struct Failed(Unreachable);

impl From<Unreachable> for Failed {
    fn from(cause: Unreachable) -> Failed {
        Failed(cause)
    }
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Failed {
        Failed(if error.is_parse() { Unreachable::BadAnswer } else { Unreachable::NoRoute })
    }
}

impl From<hyper::http::Error> for Failed {
    fn from(_: hyper::http::Error) -> Failed {
        Failed(Unreachable::BadAnswer)
    }
}

#[derive(Deserialize)]
struct Opened {
    connection: String,
}

#[derive(Deserialize)]
struct Closing {
    t: String,
    code: u16,
}

/// Carries one attempt, like a socket's task.
pub(crate) async fn run(
    endpoint: Endpoint,
    conn: ConnId,
    transport: Transport,
    reports: mpsc::Sender<Report>,
    queue: mpsc::Receiver<String>,
    mut closed: oneshot::Receiver<u16>,
) {
    let endpoint = Arc::new(endpoint);
    let mut up = Line::new(Arc::clone(&endpoint));
    let opened = tokio::select! {
        opened = open(&mut up) => opened,
        _ = &mut closed => return,
    };
    // A report that can't be delivered means that the driver has ended.
    let connection = match opened {
        Ok(connection) => connection,
        Err(Failed(cause)) => {
            tracing::debug!(conn = conn.0, transport = transport.as_str(), cause = %cause.code(), "dial failed");
            let _ = reports.send(Report::Closed(conn, ABNORMAL, Some(cause.code()))).await;
            return;
        }
    };
    if reports.send(Report::Opened(conn)).await.is_err() {
        return;
    }
    let quiet = AtomicBool::new(false);
    let mut down = Line::new(endpoint);
    let fetching = fetch(&mut down, &connection, conn, transport, &reports, &quiet);
    let sending = send_all(&mut up, &connection, queue);
    tokio::pin!(fetching, sending);
    let ended = tokio::select! {
        code = &mut fetching => Ok(code),
        _ = &mut sending => Ok(ABNORMAL),
        closed = &mut closed => Err(closed),
    };
    match ended {
        Ok(code) => {
            tracing::debug!(conn = conn.0, code, "connection over");
            let _ = reports.send(Report::Closed(conn, code, None)).await;
        }
        // The queue has an end now; what waits in it is still sent, and `bye`.
        Err(Ok(_)) => {
            quiet.store(true, Ordering::Relaxed);
            let goodbye = async {
                tokio::select! {
                    _ = &mut sending => {}
                    _ = &mut fetching => {}
                }
            };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        Err(Err(_)) => {}
    }
}

/// The new connection's id, a secret.
async fn open(line: &mut Line) -> Result<String, Failed> {
    let request = line.request(Method::POST, "/v1/http", None).body(Full::default())?;
    let response = line.ask(request).await?;
    if response.status() != StatusCode::CREATED {
        return Err(Failed(Unreachable::Http(response.status().as_u16())));
    }
    let broken = |_| Failed(Unreachable::BadAnswer);
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(broken)?;
    line.rest();
    let opened: Opened =
        serde_json::from_slice(&body.to_bytes()).map_err(|_| Failed(Unreachable::BadAnswer))?;
    Ok(opened.connection)
}

/// Sends one message after the other, then `bye`. An error is the end of the connection.
async fn send_all(
    line: &mut Line,
    connection: &str,
    mut queue: mpsc::Receiver<String>,
) -> Result<(), Failed> {
    let (mut seq, mut said_bye) = (0_u64, false);
    loop {
        let message = match queue.recv().await {
            Some(message) => message,
            None if said_bye => return Ok(()),
            None => BYE.to_owned(),
        };
        said_bye = message == BYE;
        seq += 1;
        let request = line
            .request(Method::POST, "/v1/http/up", Some(connection))
            .header("tidewire-seq", seq)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(message))?;
        let response = line.ask(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        body.map_err(|_| Failed(Unreachable::BadAnswer))?;
        line.rest();
        if status != StatusCode::NO_CONTENT {
            return Err(Failed(Unreachable::Http(status.as_u16())));
        }
    }
}

/// Reports what comes until the connection ends, and returns its close code.
async fn fetch(
    line: &mut Line,
    connection: &str,
    conn: ConnId,
    transport: Transport,
    reports: &mpsc::Sender<Report>,
    quiet: &AtomicBool,
) -> u16 {
    let (path, held) = match transport {
        Transport::LongPoll => (format!("/v1/http/down?mode=poll&wait={WAIT_MS}"), true),
        Transport::Poll => (String::from("/v1/http/down?mode=poll&wait=0"), false),
        _ => (String::from("/v1/http/down?mode=stream"), true),
    };
    loop {
        let asked = Instant::now();
        let Ok(mut body) = ask_for_lines(line, &path, connection).await else { return ABNORMAL };
        let mut lines = Lines::default();
        let mut any = false;
        loop {
            let message = match lines.next(&mut body).await {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(code) => return code,
            };
            if let Some(code) = closing(&message) {
                return code;
            }
            any = true;
            if !quiet.load(Ordering::Relaxed) && reports.send(Report::Received(conn, message)).await.is_err()
            {
                return ABNORMAL;
            }
        }
        // A stream that ends without saying why broke.
        if transport == Transport::Stream {
            return ABNORMAL;
        }
        line.rest();
        if !held || (!any && asked.elapsed() < HELD) {
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

async fn ask_for_lines(line: &mut Line, path: &str, connection: &str) -> Result<Incoming, Failed> {
    let request = line.request(Method::GET, path, Some(connection)).body(Full::default())?;
    let response = line.ask(request).await?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(Failed(Unreachable::Http(status.as_u16()))),
    }
}

/// The close code, if this is the connection's last line.
fn closing(line: &str) -> Option<u16> {
    if line.len() > 256 || !line.contains("\"close\"") {
        return None;
    }
    serde_json::from_str::<Closing>(line).ok().filter(|last| last.t == "close").map(|last| last.code)
}

/// Splits a body into its lines as they come.
#[derive(Default)]
struct Lines {
    buffer: BytesMut,
    /// So much of the buffer has no line feed in it.
    looked: usize,
}

impl Lines {
    /// The next line, without its end; none at the end of the body. An error is a close code.
    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Utf8Bytes>, u16> {
        loop {
            if let Some(line) = self.split() {
                if line.is_empty() {
                    continue;
                }
                // RFC 6455 section 7.4.1: not UTF-8.
                return Utf8Bytes::try_from(line).map(Some).map_err(|_| 1007);
            }
            if self.buffer.len() > MESSAGE_BYTES {
                return Err(1009);
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Err(ABNORMAL),
                // Half a line means that the body was cut off.
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ABNORMAL),
            }
        }
    }

    fn split(&mut self) -> Option<Bytes> {
        let new = self.buffer.get(self.looked..).unwrap_or_default();
        match new.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let mut line = self.buffer.split_to(self.looked + at + 1);
                self.looked = 0;
                line.truncate(line.len() - 1);
                Some(line.freeze())
            }
            None => {
                self.looked = self.buffer.len();
                None
            }
        }
    }
}

/// Requests one after the other, over as few sockets as possible.
struct Line {
    endpoint: Arc<Endpoint>,
    open: Option<Open>,
}

/// A socket to the server, and the task that moves its bytes.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// When the last response was read whole; none while one is being read.
    idle_since: Option<Instant>,
    _task: AbortOnDrop,
}

impl Line {
    fn new(endpoint: Arc<Endpoint>) -> Line {
        Line { endpoint, open: None }
    }

    fn request(&self, method: Method, path: &str, connection: Option<&str>) -> hyper::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(self.endpoint.path(path))
            .header(HOST, self.endpoint.authority());
        match connection {
            Some(connection) => request.header("tidewire-connection", connection),
            None => request,
        }
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let kept = self.open.take().filter(|open| {
            open.sender.is_ready() && open.idle_since.is_some_and(|since| since.elapsed() < IDLE)
        });
        let open = match kept {
            Some(open) => open,
            None => {
                let stream = TokioIo::new(self.endpoint.connect().await?);
                let (sender, connection) = handshake(stream).await?;
                let task = tokio::spawn(async move {
                    // Whoever waits for the response hears of the error.
                    let _ = connection.await;
                });
                Open { sender, idle_since: None, _task: AbortOnDrop(task.abort_handle()) }
            }
        };
        let open = self.open.insert(Open { idle_since: None, ..open });
        Ok(open.sender.send_request(request).await?)
    }

    /// The response was read whole: the socket can carry another request.
    fn rest(&mut self) {
        if let Some(open) = &mut self.open {
            open.idle_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for part in ["{\"a\"", ":1}\n{}", "\n", "\n{\"b\"", ":", "2}\n[1"] {
            lines.buffer.extend_from_slice(part.as_bytes());
            while let Some(line) = lines.split() {
                found.push(String::from_utf8(line.to_vec()).expect("text"));
            }
        }
        assert_eq!(found, ["{\"a\":1}", "{}", "", "{\"b\":2}"]);
        assert_eq!(&lines.buffer[..], b"[1");
    }

    #[test]
    fn only_a_last_line_is_taken_for_one() {
        assert_eq!(closing(r#"{"t":"close","code":4000,"reason":"goaway"}"#), Some(4000));
        assert_eq!(closing(r#"{"reason":"","code":1000,"t":"close"}"#), Some(1000));
        for other in [
            r#"{"t":"event","kind":"close","code":4000}"#,
            r#"{"t":"close"}"#,
            r#"{"t":"close","code":70000}"#,
            r#"["close"]"#,
        ] {
            assert_eq!(closing(other), None, "{other}");
        }
    }
}
