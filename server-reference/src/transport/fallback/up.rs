//! Messages from the client, each in the body of a request.

use super::link::{Link, Word};
use super::requests::{find, number, unknown};
use crate::app::App;
use crate::http::error::{HttpError, bad_request};
use crate::http::request::body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::requests::OutOfOrder;
use tokio::sync::mpsc::Sender;

/// Takes a message. The response is sent when the message is queued, not when it is handled.
pub(super) async fn up(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, HttpError> {
    let link = find(&app, request.headers())?;
    let number = number(request.headers());
    let _queued = Queued::new(&link)?;
    // A body that was read in part is dropped with its connection.
    tokio::select! {
        biased;
        () = link.ended() => Err(unknown()),
        taken = take(&app, &link, number, request) => taken,
    }
}

/// Bodies are read one after the other, so that a connection never holds more than one.
async fn take(
    app: &App,
    link: &Link,
    number: Option<u64>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let words = link.words.lock().await;
    link.inbox.lock().check(number).map_err(|why| out_of_order(link, why))?;
    let body = match body(app, request).await? {
        Ok(body) => body,
        Err(error) => return Err(unread(app, &words, &error).await),
    };
    link.activity.note();
    let place = words.clone().reserve_owned().await.map_err(|_| unknown())?;
    link.inbox.lock().take();
    place.send(Word::Message(body));
    Ok(StatusCode::NO_CONTENT)
}

/// Counts a message that waits or is being read.
struct Queued<'a>(&'a Link);

impl Queued<'_> {
    fn new(link: &Link) -> Result<Queued<'_>, HttpError> {
        let entered = link.inbox.lock().enter();
        let queued = Queued(link);
        entered.map_err(|why| out_of_order(link, why))?;
        Ok(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.inbox.lock().leave();
    }
}

fn out_of_order(link: &Link, why: OutOfOrder) -> HttpError {
    why.refuse(&link.outgoing);
    bad_request(why.message())
}

/// Handles a message that could not be read. One that is far too long ends the connection.
async fn unread(app: &App, words: &Sender<Word>, error: &BytesRejection) -> HttpError {
    if error.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return bad_request("the body could not be read");
    }
    // An error means that the connection has ended already.
    let _ = words.send(Word::TooBig).await;
    let message = format!("a message may have at most {} bytes", app.config.limits.message_bytes);
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, message)
}
