//! One WebSocket: a task that connects, reports messages and sends those in its queue.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tidewire_core::ConnId;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::carrier::{ABNORMAL, GOODBYE, MESSAGE_BYTES, Report};
use crate::transport::{Endpoint, Stream, Unreachable};

/// Most messages that may wait to be written. The core keeps a few dozen under way, so a full queue
/// means a dead peer.
const QUEUE: usize = 1_024;
/// The driver's handle of a socket's task. Dropping it ends the task without a close frame.
pub(crate) struct Socket {
    outgoing: mpsc::Sender<String>,
    closing: oneshot::Sender<u16>,
}

impl Socket {
    /// Connects in a new task. Nothing is reported after [`Socket::close`].
    pub(crate) fn dial(endpoint: Endpoint, conn: ConnId, reports: mpsc::Sender<Report>) -> Socket {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let (closing, closed) = oneshot::channel();
        tokio::spawn(run(endpoint, conn, reports, queue, closed));
        Socket { outgoing, closing }
    }

    /// Queues a message. False if the socket has ended or its queue is full.
    pub(crate) fn send(&self, message: String) -> bool {
        self.outgoing.try_send(message).is_ok()
    }

    /// Closes the socket. Waiting messages and a close frame are still written in the background,
    /// within a second.
    pub(crate) fn close(self, code: u16) {
        // The receiver is gone when the task has ended by itself.
        let _ = self.closing.send(code);
    }
}

async fn run(
    endpoint: Endpoint,
    conn: ConnId,
    reports: mpsc::Sender<Report>,
    mut queue: mpsc::Receiver<String>,
    mut closed: oneshot::Receiver<u16>,
) {
    // A report that can't be delivered means that the driver has ended.
    let dialed = tokio::select! {
        dialed = dial(&endpoint) => dialed,
        _ = &mut closed => return,
    };
    let socket = match dialed {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(conn = conn.0, cause = %error.code(), "dial failed");
            let _ = reports.send(Report::Closed(conn, ABNORMAL, Some(error.code()))).await;
            return;
        }
    };
    if reports.send(Report::Opened(conn)).await.is_err() {
        return;
    }
    let (mut sink, mut stream) = socket.split();
    let code = tokio::select! {
        code = read(conn, &mut stream, &reports) => Ok(code),
        () = write(&mut sink, &mut queue) => Ok(ABNORMAL),
        code = &mut closed => Err(code),
    };
    match code {
        Ok(code) => {
            let _ = reports.send(Report::Closed(conn, code, None)).await;
            // Answers the peer's close frame.
            let _ = tokio::time::timeout(GOODBYE, sink.close()).await;
        }
        Err(Ok(code)) => {
            let _ = tokio::time::timeout(GOODBYE, goodbye(code, sink, stream, queue)).await;
        }
        Err(Err(_)) => {}
    }
}

async fn dial(endpoint: &Endpoint) -> Result<WebSocketStream<Box<dyn Stream>>, Unreachable> {
    let url = endpoint.socket_url();
    let mut request = url.into_client_request().map_err(|_| Unreachable::BadAnswer)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("tidewire.v1"));
    let stream = endpoint.connect().await?;
    let config = Some(websocket_config());
    let shaken = tokio_tungstenite::client_async_with_config(request, stream, config).await;
    shaken.map(|(socket, _)| socket).map_err(|error| match error {
        Error::Http(response) => Unreachable::Http(response.status().as_u16()),
        Error::Io(_) | Error::ConnectionClosed => Unreachable::NoRoute,
        _ => Unreachable::BadAnswer,
    })
}

/// The settings of every socket; public for tests of the WebSocket itself.
#[doc(hidden)]
pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
}

/// Reports until the socket ends, and returns its close code.
async fn read(
    conn: ConnId,
    stream: &mut SplitStream<WebSocketStream<Box<dyn Stream>>>,
    reports: &mpsc::Sender<Report>,
) -> u16 {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => {
                if reports.send(Report::Received(conn, text)).await.is_err() {
                    return ABNORMAL;
                }
            }
            Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |frame| frame.code.into()),
            Some(Ok(Message::Binary(_))) => return CloseCode::Unsupported.into(),
            // Pings are answered by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => {
                tracing::debug!(conn = conn.0, kind = kind(&error), "socket failed");
                return match error {
                    Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseCode::Size.into(),
                    Error::Utf8(_) => CloseCode::Invalid.into(),
                    Error::Protocol(_) => CloseCode::Protocol.into(),
                    _ => ABNORMAL,
                };
            }
            None => return ABNORMAL,
        }
    }
}

/// Writes until an error. Then it waits, so that the reader can find the close frame that explains
/// the error.
async fn write(
    sink: &mut SplitSink<WebSocketStream<Box<dyn Stream>>, Message>,
    queue: &mut mpsc::Receiver<String>,
) {
    while let Some(message) = queue.recv().await {
        if sink.send(Message::Text(message.into())).await.is_err() {
            tokio::time::sleep(GOODBYE).await;
            return;
        }
    }
    std::future::pending().await
}

async fn goodbye(
    code: u16,
    mut sink: SplitSink<WebSocketStream<Box<dyn Stream>>, Message>,
    mut stream: SplitStream<WebSocketStream<Box<dyn Stream>>>,
    mut queue: mpsc::Receiver<String>,
) {
    let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static("") };
    let wrote = async {
        while let Ok(message) = queue.try_recv() {
            sink.send(Message::Text(message.into())).await?;
        }
        sink.send(Message::Close(Some(frame))).await
    };
    // Reading until the peer closes keeps the system from resetting the connection before the peer
    // has read what was written.
    if wrote.await.is_ok() {
        while let Some(Ok(_)) = stream.next().await {}
    }
}

/// A short text for logs. The library's own messages may contain data that the peer sent.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "closed",
        Error::Io(_) => "io",
        Error::Tls(_) => "tls",
        Error::Capacity(_) => "too_large",
        Error::Protocol(_) => "protocol",
        Error::Utf8(_) => "utf8",
        Error::Http(_) | Error::HttpFormat(_) => "http",
        _ => "other",
    }
}
