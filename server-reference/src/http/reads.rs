//! How far a channel was read, over plain HTTP (protocol section 13).

use super::error::HttpError;
use super::request::{Remote, Whole};
use super::session::{channel, json_text, open, over, parsed, refused, subscribe};
use crate::app::App;
use crate::transport::single::Single;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::json::Writer;

/// How far the caller has read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    offset: u64,
}

/// The caller's position, what is unread after it, and the positions of others: the members of a
/// `marks` frame.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let ch = channel(&name)?;
    let mut session = open(&app, &remote, &headers).await?;
    subscribe(&mut session, &json!({"t": "sub", "ch": ch.as_str(), "tail": 0})).await?;
    let frame = marks(&mut session, &json!({"t": "marks", "ch": ch.as_str()})).await?;
    let object = parsed(&frame)?;
    let number = |name| object.u64(name).unwrap_or_default();
    let answer = Writer::object()
        .str("ch", &ch)
        .u64("offset", number("offset"))
        .u64("unread", number("unread"))
        .bool("more", object.flag("more"))
        .u64("head", number("head"))
        .bool("crowded", object.flag("crowded"))
        .raw("users", object.raw("users").unwrap_or("[]"));
    Ok(json_text(answer.end()).into_response())
}

/// Stores how far the caller has read; answers with their position, which may be a later one.
pub(super) async fn mark(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<Response, HttpError> {
    let Whole(body) = body?;
    let Mark { offset } = super::request::read(&body)?;
    let ch = channel(&name)?;
    let mut session = open(&app, &remote, &headers).await?;
    subscribe(&mut session, &json!({"t": "sub", "ch": ch.as_str(), "tail": 0})).await?;
    let frame = marks(&mut session, &json!({"t": "mark", "ch": ch.as_str(), "offset": offset})).await?;
    let stored = parsed(&frame)?.u64("offset").unwrap_or_default();
    Ok(json_text(Writer::object().str("ch", &ch).u64("offset", stored).end()).into_response())
}

/// Sends a frame and returns the `marks` frame that answers it.
async fn marks(session: &mut Single, ask: &Value) -> Result<String, HttpError> {
    session.send(ask).await;
    loop {
        let frame = session.next().await.ok_or_else(over)?;
        let object = parsed(&frame)?;
        match object.str("t").as_deref() {
            Some("marks") => {}
            Some("error") => return Err(refused(&object)),
            _ => continue,
        }
        return match object.str("refused") {
            Some(code) => {
                let message = "the read position was refused";
                Err(HttpError::of_code(&code, message).after_if(object.u64("retry_after_ms")))
            }
            None => Ok(frame),
        };
    }
}
