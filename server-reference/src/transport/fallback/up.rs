//! Messages from the client: one in the body of each request.

use super::link::{Inbox, Link, Word};
use super::requests::{SEQ, find, unknown};
use crate::app::App;
use crate::http::error::{HttpError, bad_request};
use crate::http::request::body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewire_core::wire::codes;

/// RFC 6455 section 7.4.1: a protocol error. The client connects again.
const OUT_OF_ORDER: u16 = 1002;

/// Most messages of a connection that wait for their turn; a client sends one at a time.
const MOST_QUEUED: usize = 4;

/// Takes a message. Answered once it stands in line, not once it was handled.
pub(super) async fn up(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, HttpError> {
    let link = find(&app, request.headers())?;
    let number = number(request.headers());
    let _queued = Queued::new(&link)?;
    // Whatever was read of a body goes with the connection.
    tokio::select! {
        biased;
        () = link.ended() => Err(unknown()),
        taken = take(&app, &link, number, request) => taken,
    }
}

/// Bodies are read one after the other, so that a connection holds one of them at most.
async fn take(
    app: &App,
    link: &Link,
    number: Option<u64>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let mut inbox = link.inbox.lock().await;
    if number != Some(inbox.next) {
        let message = "each message needs a header Tidewire-Seq, one more than the one before";
        return Err(out_of_order(link, message));
    }
    let body = match body(app, request).await? {
        Ok(body) => body,
        Err(error) => return Err(unread(app, &inbox, &error).await),
    };
    link.activity.note();
    let place = inbox.words.clone().reserve_owned().await.map_err(|_| unknown())?;
    inbox.next += 1;
    place.send(Word::Message(body));
    Ok(StatusCode::NO_CONTENT)
}

/// A message that waits for its turn, or is being read.
struct Queued<'a>(&'a Link);

impl Queued<'_> {
    fn new(link: &Link) -> Result<Queued<'_>, HttpError> {
        let before = link.queued.fetch_add(1, Ordering::Relaxed);
        let queued = Queued(link);
        if before >= MOST_QUEUED {
            let message = "a client sends its next message when the one before is answered";
            return Err(out_of_order(link, message));
        }
        Ok(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

fn out_of_order(link: &Link, message: &str) -> HttpError {
    link.outgoing.refuse(OUT_OF_ORDER, codes::BAD_REQUEST, message);
    bad_request(message)
}

fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(SEQ)?.to_str().ok()?.parse().ok()
}

/// A message that could not be read; the connection ends with one that is far too long.
async fn unread(app: &App, inbox: &Inbox, error: &BytesRejection) -> HttpError {
    if error.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return bad_request("the body could not be read");
    }
    // An error means that it has ended already.
    let _ = inbox.words.send(Word::TooBig).await;
    let message = format!("a message may have at most {} bytes", app.config.limits.message_bytes);
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, message)
}
