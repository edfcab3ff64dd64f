//! The HTTP requests of a connection without a WebSocket. They share as few sockets as possible,
//! and report the parts of their responses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tidewire_core::{ConnId, Request, RequestId};
use tokio::sync::mpsc;

use crate::carrier::{AbortOnDrop, Reply, Report};
use crate::transport::{Endpoint, Unreachable};

/// A socket that was idle for longer is not used again: servers close idle sockets after 5 s, and a
/// request could cross the close.
const IDLE: Duration = Duration::from_secs(2);

/// The requests under way.
pub(crate) struct Requests {
    sockets: Sockets,
    reports: mpsc::Sender<Report>,
    running: HashMap<RequestId, AbortOnDrop>,
}

impl Requests {
    /// No requests yet.
    pub(crate) fn new(endpoint: Endpoint, reports: mpsc::Sender<Report>) -> Requests {
        let sockets = Sockets { endpoint: Arc::new(endpoint), idle: Arc::default() };
        Requests { sockets, reports, running: HashMap::new() }
    }

    /// Makes a request in a task of its own.
    pub(crate) fn begin(&mut self, request: Request) {
        let (id, sockets, reports) = (request.id, self.sockets.clone(), self.reports.clone());
        let task = tokio::spawn(async move {
            let last = match sockets.carry_out(request, &reports).await {
                Ok(()) => Reply::End,
                Err(cause) => {
                    tracing::debug!(request = id.0, cause = %cause.code(), "request failed");
                    Reply::Failed(cause.code())
                }
            };
            // A report that can't be delivered means that the driver has ended.
            let _ = reports.send(Report::Response(id, last)).await;
        });
        self.running.insert(id, AbortOnDrop(task.abort_handle()));
    }

    /// Aborts a request, or removes one that has ended.
    pub(crate) fn remove(&mut self, id: RequestId) {
        self.running.remove(&id);
    }

    /// Whether no request is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// The sockets to the server.
#[derive(Clone)]
struct Sockets {
    endpoint: Arc<Endpoint>,
    idle: Arc<Mutex<Vec<Idle>>>,
}

/// A socket that can carry another request of its connection.
struct Idle {
    conn: ConnId,
    since: Instant,
    open: Open,
}

/// An HTTP/1.1 connection and the task that moves its bytes.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    _task: AbortOnDrop,
}

impl Sockets {
    /// Makes a request and reports all parts of its response but the last.
    async fn carry_out(&self, request: Request, reports: &mpsc::Sender<Report>) -> Result<(), Unreachable> {
        let mut open = match self.kept(request.conn) {
            Some(open) => open,
            None => self.open().await?,
        };
        let mut built = hyper::Request::builder()
            .method(request.method.as_str())
            .uri(self.endpoint.path(request.path))
            .header(HOST, self.endpoint.authority());
        for (name, value) in request.headers {
            built = built.header(name, value);
        }
        if request.body.is_some() {
            built = built.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::from(request.body.unwrap_or_default());
        let built = built.body(body).map_err(|_| Unreachable::BadAnswer)?;
        let response = open.sender.send_request(built).await.map_err(|error| why(&error))?;
        let report = async |reply| reports.send(Report::Response(request.id, reply)).await;
        if report(Reply::Status(response.status().as_u16())).await.is_err() {
            return Ok(());
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame.map_err(|error| why(&error))?.into_data()
                && report(Reply::Body(bytes)).await.is_err()
            {
                return Ok(());
            }
        }
        self.idle.lock().push(Idle { conn: request.conn, since: Instant::now(), open });
        Ok(())
    }

    /// A socket of this connection that can be used again.
    fn kept(&self, conn: ConnId) -> Option<Open> {
        let mut idle = self.idle.lock();
        idle.retain(|one| one.open.sender.is_ready() && one.since.elapsed() < IDLE);
        let at = idle.iter().rposition(|one| one.conn == conn)?;
        Some(idle.remove(at).open)
    }

    async fn open(&self) -> Result<Open, Unreachable> {
        let stream = TokioIo::new(self.endpoint.connect().await?);
        let (sender, connection) = handshake(stream).await.map_err(|error| why(&error))?;
        let task = tokio::spawn(async move {
            // The error is reported to the request that waits for the response.
            let _ = connection.await;
        });
        Ok(Open { sender, _task: AbortOnDrop(task.abort_handle()) })
    }
}

fn why(error: &hyper::Error) -> Unreachable {
    if error.is_parse() { Unreachable::BadAnswer } else { Unreachable::NoRoute }
}
