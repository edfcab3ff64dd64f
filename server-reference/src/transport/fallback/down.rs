//! Responses to a client, with one message in each line. The last line of a connection is its
//! close.
//!
//! A response takes only as much from the queue as it can write, so nothing is lost when another
//! response takes over.

use super::link::Link;
use super::requests::{find, number};
use crate::app::App;
use crate::http::error::{HttpError, bad_request};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::codes;
use tidewire_server_core::Transport;
use tidewire_server_core::requests::{Lines, Mode, POLL_BYTES};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Sends queued messages to the client.
pub(super) async fn down(State(app): State<Arc<App>>, request: Request) -> Result<Response, HttpError> {
    // The router would treat a HEAD as a GET, and messages would be lost.
    if request.method() != Method::GET {
        let message = "this path does not take this method";
        return Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, codes::BAD_REQUEST, message));
    }
    let mode = Mode::parse(request.uri().query().unwrap_or_default()).ok_or_else(|| {
        bad_request("ask for mode=stream, or for mode=poll and wait=0 to wait=25000 milliseconds")
    })?;
    let link = find(&app, request.headers())?;
    if let Err(why) = link.inbox.lock().check_told(number(request.headers())) {
        // This response brings the error and the close.
        why.refuse(&link.outgoing);
    }
    link.outgoing.travels_by(match mode {
        Mode::Stream => Transport::Stream,
        Mode::Poll { .. } => Transport::Poll,
    });
    let turn = Turn::next(&link);
    let body = match mode {
        Mode::Stream => streamed(link, turn, app.config.timeouts.write),
        Mode::Poll { wait_ms } => Body::from(polled(&link, turn, Duration::from_millis(wait_ms)).await),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// The right to take from the queue: the newest request has it.
struct Turn {
    readers: watch::Receiver<u64>,
    mine: u64,
}

impl Turn {
    fn next(link: &Link) -> Turn {
        let mut mine = 0;
        link.readers.send_modify(|readers| {
            *readers += 1;
            mine = *readers;
        });
        Turn { readers: link.readers.subscribe(), mine }
    }

    /// Returns once a newer request has come.
    async fn over(&mut self) {
        let mine = self.mine;
        // The caller holds the link, so the sender exists.
        let _ = self.readers.wait_for(|newest| *newest != mine).await;
    }
}

/// The body of a response that ends.
async fn polled(link: &Link, mut turn: Turn, wait: Duration) -> Vec<u8> {
    let ready = async {
        let reading = link.reading.lock().await;
        link.notifiers.work(&link.outgoing).await;
        reading
    };
    // There is no `await` from the taking on: if the client went away before, it has lost nothing.
    let _reading = tokio::select! {
        biased;
        () = turn.over() => return Vec::new(),
        reading = ready => reading,
        () = sleep(wait) => return Vec::new(),
    };
    let lines = Lines::take(&link.outgoing, POLL_BYTES);
    link.inbox.lock().tells(&lines);
    if lines.last {
        link.finish();
    }
    lines.bytes
}

/// The body of a response that stays open.
fn streamed(link: Arc<Link>, turn: Turn, write: Duration) -> Body {
    let (lines, mut taken) = mpsc::channel::<Bytes>(1);
    tokio::spawn(stream(link, turn, lines, write));
    Body::from_stream(stream::poll_fn(move |cx| {
        taken.poll_recv(cx).map(|line| line.map(Ok::<_, Infallible>))
    }))
}

/// Passes lines to the response, as fast as it is read.
async fn stream(link: Arc<Link>, mut turn: Turn, lines: mpsc::Sender<Bytes>, write: Duration) {
    let _reading = tokio::select! {
        biased;
        () = turn.over() => return,
        () = lines.closed() => return link.broken(),
        reading = link.reading.lock() => reading,
    };
    loop {
        tokio::select! {
            biased;
            () = lines.closed() => return link.broken(),
            () = turn.over() => return,
            () = link.notifiers.work(&link.outgoing) => {}
        }
        let place = tokio::select! {
            biased;
            place = timeout(write, lines.reserve()) => place,
            () = turn.over() => return,
        };
        let place = match place {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return link.broken(),
            Err(_) => {
                tracing::info!(conn = link.outgoing.id(), "a write took too long");
                link.outgoing.close(codes::close::SLOW_CONSUMER, codes::SLOW_CONSUMER);
                return link.broken();
            }
        };
        let lines = Lines::take(&link.outgoing, 1);
        link.inbox.lock().tells(&lines);
        if !lines.bytes.is_empty() {
            place.send(lines.bytes.into());
        }
        if lines.last {
            return link.finish();
        }
    }
}
