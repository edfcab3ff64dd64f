//! What waits for a client, as lines: each is a message, the last one of a connection says how it
//! closed.
//!
//! A response takes only what it has a place for, so that nothing is under way to nobody while
//! another response could take it.

use super::link::Link;
use super::requests::find;
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
use tidewire_server_core::{Close, ToWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Longest time that a client may want to wait, in ms.
const MAX_WAIT_MS: u64 = 25_000;
/// A response that ends takes no further message once it has so many bytes.
const POLL_BYTES: usize = 256 * 1024;

enum Mode {
    /// The response stays open.
    Stream,
    /// It ends with what there is, or after this time.
    Poll(Duration),
}

/// Sends down what waits.
pub(super) async fn down(State(app): State<Arc<App>>, request: Request) -> Result<Response, HttpError> {
    // The router takes a HEAD for a GET; it would throw away what it took.
    if request.method() != Method::GET {
        let message = "this path does not take this method";
        return Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, codes::BAD_REQUEST, message));
    }
    let mode = mode(request.uri().query().unwrap_or_default()).ok_or_else(|| {
        bad_request("ask for mode=stream, or for mode=poll and wait=0 to wait=25000 milliseconds")
    })?;
    let link = find(&app, request.headers())?;
    let turn = Turn::next(&link);
    let body = match mode {
        Mode::Stream => streamed(link, turn, app.config.timeouts.write),
        Mode::Poll(wait) => Body::from(polled(&link, turn, wait).await),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

fn mode(query: &str) -> Option<Mode> {
    let pairs: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=')).collect::<Option<_>>()?;
    let known = |name: &str| pairs.iter().filter(|pair| pair.0 == name).count() == 1;
    // One that is said twice, or that is not one of these, is a mistake of whoever asks.
    if !pairs.iter().all(|(name, _)| matches!(*name, "mode" | "wait") && known(name)) {
        return None;
    }
    let value = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1);
    match value("mode")? {
        "stream" if pairs.len() > 1 => None,
        "stream" => Some(Mode::Stream),
        "poll" => {
            let wait = value("wait").map_or(Ok(0), str::parse).ok()?;
            (wait <= MAX_WAIT_MS).then(|| Mode::Poll(Duration::from_millis(wait)))
        }
        _ => None,
    }
}

/// The right to take what waits: the newest request has it.
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

    /// Returns once a newer request came.
    async fn over(&mut self) {
        let mine = self.mine;
        // The link is in the hands of whoever waits, so the sender lives.
        let _ = self.readers.wait_for(|newest| *newest != mine).await;
    }
}

/// A body that ends.
async fn polled(link: &Link, mut turn: Turn, wait: Duration) -> Vec<u8> {
    let mut lines = Vec::new();
    let ready = async {
        let reading = link.reading.lock().await;
        link.bells.work(&link.outgoing).await;
        reading
    };
    // From the taking on nothing is awaited: a client that went away before has lost nothing.
    let _reading = tokio::select! {
        biased;
        () = turn.over() => return lines,
        reading = ready => reading,
        () = sleep(wait) => return lines,
    };
    while lines.len() < POLL_BYTES {
        match link.outgoing.take() {
            Some(ToWrite::Write(text)) => push_line(&mut lines, &text),
            Some(ToWrite::Close(close)) => {
                push_line(&mut lines, &closing(close));
                link.finish();
                break;
            }
            None => break,
        }
    }
    lines
}

/// A body that stays open.
fn streamed(link: Arc<Link>, turn: Turn, write: Duration) -> Body {
    let (lines, mut taken) = mpsc::channel::<Bytes>(1);
    tokio::spawn(stream(link, turn, lines, write));
    Body::from_stream(stream::poll_fn(move |cx| {
        taken.poll_recv(cx).map(|line| line.map(Ok::<_, Infallible>))
    }))
}

/// Hands line after line to the response, as it is read.
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
            () = link.bells.work(&link.outgoing) => {}
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
        let mut line = Vec::new();
        match link.outgoing.take() {
            Some(ToWrite::Write(text)) => push_line(&mut line, &text),
            Some(ToWrite::Close(close)) => {
                push_line(&mut line, &closing(close));
                place.send(line.into());
                return link.finish();
            }
            None => continue,
        }
        place.send(line.into());
    }
}

/// White space between the tokens of a message may hold line breaks; within its strings they are
/// escaped.
fn push_line(lines: &mut Vec<u8>, message: &str) {
    let from = lines.len();
    lines.reserve(message.len() + 1);
    lines.extend_from_slice(message.as_bytes());
    lines.iter_mut().skip(from).filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    lines.push(b'\n');
}

fn closing(close: Close) -> String {
    // A reason is one of the protocol's words.
    format!(r#"{{"t":"close","code":{},"reason":"{}"}}"#, close.code, close.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_white_space_it_has() {
        let mut lines = Vec::new();
        push_line(&mut lines, "{\"a\":\r\n1}");
        push_line(&mut lines, "{}");
        assert_eq!(String::from_utf8(lines).unwrap(), "{\"a\":  1}\n{}\n");
    }

    #[test]
    fn only_the_two_modes_and_sensible_times_are_taken() {
        assert!(matches!(mode("mode=stream"), Some(Mode::Stream)));
        assert!(matches!(mode("mode=poll"), Some(Mode::Poll(Duration::ZERO))));
        assert!(matches!(mode("wait=25000&mode=poll"), Some(Mode::Poll(wait)) if wait.as_secs() == 25));
        for query in
            ["", "mode=", "mode=socket", "mode=poll&wait=25001", "mode=poll&wait=-1", "mode=poll&wait="]
                .into_iter()
                .chain([
                    "mode=poll&mode=poll",
                    "mode=poll&wait=1&wait=1",
                    "mode=stream&wait=1",
                    "mode=poll&token=x",
                ])
        {
            assert!(mode(query).is_none(), "{query}");
        }
    }
}
