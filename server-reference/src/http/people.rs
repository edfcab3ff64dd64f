//! Who is in a channel, and leases in it, over plain HTTP (protocol section 13).

use super::error::{HttpError, bad_request};
use super::request::{Remote, Whole};
use super::session::{channel, json_text, open, over, parsed, refused, subscribe};
use crate::app::App;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;
use tidewire_core::wire::{LeaseRequest, json::Writer};

/// The `n` of the ping after a lease, whose answer says that the lease was taken.
const TAKEN: &str = "taken";

/// A lease to be held.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    /// As it came.
    body: Box<RawValue>,
    for_ms: u64,
}

/// Who is in a channel: the members of a `people` frame that is a list.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = channel(&name)?;
    let mut session = open(&app, &remote, &headers).await?;
    subscribe(&mut session, &json!({"t": "sub", "ch": name.as_str(), "tail": 0})).await?;
    session.send(&json!({"t": "watch", "ch": name.as_str()})).await;
    let mut people: Vec<String> = Vec::new();
    loop {
        let frame = session.next().await.ok_or_else(over)?;
        let object = parsed(&frame)?;
        match object.str("t").as_deref() {
            Some("people") => {}
            Some("error" | "sub_err") => return Err(refused(&object)),
            _ => continue,
        }
        if let Some(code) = object.str("refused") {
            let message = "the rule for this channel does not have `people = true`";
            return Err(HttpError::of_code(&code, message));
        }
        if object.flag("full") {
            people.clear();
        }
        people.extend(object.opt_array("people").unwrap_or_default().into_iter().map(str::to_owned));
        if !object.flag("more") {
            let answer = Writer::object()
                .str("ch", &name)
                .u64("count", object.u64("count").unwrap_or_default())
                .bool("crowded", object.flag("crowded"))
                .array("people", people.iter().map(String::as_str));
            return Ok(json_text(answer.end()).into_response());
        }
    }
}

/// Holds a lease for some time, or renews it.
pub(super) async fn hold(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path((name, kind)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<StatusCode, HttpError> {
    let Whole(body) = body?;
    let hold: Hold = super::request::read(&body)?;
    if !hold.body.get().starts_with('{') {
        return Err(bad_request("`body` must be an object"));
    }
    let (body, for_ms) = (Some(hold.body.get().to_owned()), Some(hold.for_ms));
    lease(&app, &remote, &headers, &name, kind, body, for_ms).await
}

/// Gives a lease up.
pub(super) async fn release(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path((name, kind)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    lease(&app, &remote, &headers, &name, kind, None, None).await
}

async fn lease(
    app: &Arc<App>,
    remote: &Remote,
    headers: &HeaderMap,
    name: &str,
    kind: String,
    body: Option<String>,
    for_ms: Option<u64>,
) -> Result<StatusCode, HttpError> {
    let ch = channel(name)?;
    let mut session = open(app, remote, headers).await?;
    subscribe(&mut session, &json!({"t": "sub", "ch": ch.as_str(), "tail": 0})).await?;
    session.send_text(&LeaseRequest { ch, kind, body, for_ms, age_ms: None }.encode()).await;
    // A lease has no answer, and answers come in order.
    session.send(&json!({"t": "ping", "n": TAKEN})).await;
    loop {
        let frame = session.next().await.ok_or_else(over)?;
        let object = parsed(&frame)?;
        match object.str("t").as_deref() {
            Some("pong") => return Ok(StatusCode::NO_CONTENT),
            Some("error") => return Err(refused(&object)),
            _ => {}
        }
    }
}
