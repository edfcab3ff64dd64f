//! Messages from the client: one in the body of each request.

use super::link::{Link, Word};
use super::{SEQ, find, unknown};
use crate::app::App;
use crate::http::{HttpError, bad_request, body};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;
use tidewire_core::wire::codes;

/// RFC 6455 section 7.4.1: a protocol error. The client connects again.
const OUT_OF_ORDER: u16 = 1002;

/// Takes a message. Answered once it stands in line, not once it was handled.
pub(super) async fn up(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, HttpError> {
    let link = find(&app, request.headers())?;
    let number = number(request.headers());
    let body = match body(&app, request).await? {
        Ok(body) => body,
        Err(error) => return Err(unread(&app, &link, &error).await),
    };
    link.activity.note();
    let mut inbox = link.inbox.lock().await;
    if number != Some(inbox.next) {
        let message = "each message needs a header Tidewire-Seq, one more than the one before";
        link.outgoing.refuse(OUT_OF_ORDER, codes::BAD_REQUEST, message);
        return Err(bad_request(message));
    }
    let place = inbox.words.clone().reserve_owned().await.map_err(|_| unknown())?;
    inbox.next += 1;
    place.send(Word::Message(body));
    Ok(StatusCode::NO_CONTENT)
}

fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(SEQ)?.to_str().ok()?.parse().ok()
}

/// A message that could not be read; the connection ends with one that is far too long.
async fn unread(app: &App, link: &Link, error: &BytesRejection) -> HttpError {
    if error.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return bad_request("the body could not be read");
    }
    let words = link.inbox.lock().await.words.clone();
    // An error means that it has ended already.
    let _ = words.send(Word::TooBig).await;
    let message = format!("a message may have at most {} bytes", app.config.limits.message_bytes);
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, message)
}
