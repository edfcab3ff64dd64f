//! A request as a session of its own: what it may do, and what it costs, is that of a connection
//! with its token.

use super::error::HttpError;
use super::request::{Remote, token};
use crate::app::App;
use crate::transport::fallback::turned_away;
use crate::transport::single::Single;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;
use std::sync::Arc;
use tidewire_core::wire::json::{Object, validate};
use tidewire_core::wire::{ChannelName, codes};

/// A session for the token of a request.
pub(super) async fn open(app: &Arc<App>, remote: &Remote, headers: &HeaderMap) -> Result<Single, HttpError> {
    let token = token(headers)?;
    let address = app.proxies.client(remote.address.ip(), headers);
    let mut session = Single::open(app, address, app.page_of(remote.address.ip(), headers), token)
        .await
        .map_err(turned_away)?;
    let first = session.next().await.ok_or_else(over)?;
    let object = parsed(&first)?;
    match object.str("t").as_deref() {
        Some("welcome") => Ok(session),
        _ => Err(refused(&object)),
    }
}

/// Sends `sub`, and returns the `sub_ok` frame.
pub(super) async fn subscribe(session: &mut Single, sub: &Value) -> Result<String, HttpError> {
    session.send(sub).await;
    loop {
        let frame = session.next().await.ok_or_else(over)?;
        let object = parsed(&frame)?;
        match object.str("t").as_deref() {
            Some("sub_ok") => return Ok(frame),
            Some("sub_err" | "error") => return Err(refused(&object)),
            _ => {}
        }
    }
}

/// A frame of the server's own.
pub(super) fn parsed(frame: &str) -> Result<Object<'_>, HttpError> {
    validate(frame).and_then(Object::parse).map_err(|_| internal())
}

/// A response with this JSON.
pub(super) fn json_text(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], text)
}

/// The name of a channel in a path.
pub(super) fn channel(name: &str) -> Result<ChannelName, HttpError> {
    ChannelName::parse(name).ok_or_else(|| {
        super::error::bad_request("a channel's name has 1 to 128 characters out of a-z A-Z 0-9 : _ . -")
    })
}

/// The response for a frame that refuses something.
pub(super) fn refused(frame: &Object<'_>) -> HttpError {
    let code = frame.str("code").unwrap_or_default();
    let message = frame.str("message").unwrap_or_default();
    HttpError::of_code(&code, &message).after_if(frame.u64("retry_after_ms"))
}

fn internal() -> HttpError {
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, codes::INTERNAL, "the server lost its place")
}

/// The session ended without an answer.
pub(super) fn over() -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, codes::GOAWAY, "the server ended the request")
}
