//! Channels over plain HTTP: publishing, reading and following events (protocol section 13).
//!
//! Each request is a session of its own, so it may do what a connection of its token may do, and
//! costs the same.

use super::error::HttpError;
use super::request::{Remote, Whole};
use super::session::{channel, json_text, open, over, parsed, refused, subscribe};
use crate::app::App;
use crate::clock;
use crate::transport::single::Single;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::{ChannelName, Op, OpId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Longest wait for events, in ms.
const MAX_WAIT_MS: u64 = 25_000;
/// The header with an op's id, for those who repeat requests by it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How many ms a reader of a stream waits before it connects again.
const RECONNECT_MS: u64 = 1_000;

/// An op to be published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpRequest {
    id: Option<String>,
    kind: String,
    /// As it came.
    body: Box<RawValue>,
    after: Option<String>,
}

/// Where reading begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    epoch: Option<String>,
    after: Option<u64>,
    tail: Option<u64>,
    wait_ms: Option<u64>,
}

/// Publishes an event. The answer comes after the commit, and is the `ok` frame.
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<Response, HttpError> {
    let name = channel(&name)?;
    let Whole(body) = body?;
    let request: OpRequest = super::request::read(&body)?;
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    let id = match (request.id, key) {
        (Some(id), Some(key)) if id != key => {
            return Err(super::error::bad_request("`id` and the header Idempotency-Key differ"));
        }
        (Some(id), _) => id,
        (None, Some(key)) => key.to_owned(),
        (None, None) => clock::random_uuid().to_string(),
    };
    let mut session = open(&app, &remote, &headers).await?;
    let op = Op {
        id: OpId::from(id),
        ch: name,
        kind: request.kind,
        body: request.body.get().to_owned(),
        after: request.after.map(OpId::from),
    };
    session.send_text(&op.encode()).await;
    loop {
        let frame = session.next().await.ok_or_else(over)?;
        let object = parsed(&frame)?;
        match object.str("t").as_deref() {
            Some("ok") => {
                let again = object.opt_flag("dup").unwrap_or_default();
                let status = if again { StatusCode::OK } else { StatusCode::CREATED };
                return Ok((status, json_text(frame)).into_response());
            }
            Some("nack" | "error") => return Err(refused(&object)),
            _ => {}
        }
    }
}

/// Reads the events after a cursor, or the newest ones. The answer is the `sub_ok` frame. With
/// `wait_ms` it comes when there is an event, or then. With `Accept: text/event-stream` it is a
/// stream of events that does not end.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(name): Path<String>,
    place: Result<Query<Place>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = channel(&name)?;
    let Ok(Query(place)) = place else {
        return Err(super::error::bad_request(
            "ask with epoch and after, or with tail, and wait_ms; numbers are whole and not negative",
        ));
    };
    if place.wait_ms.is_some_and(|wait| wait > MAX_WAIT_MS) {
        return Err(super::error::bad_request("`wait_ms` may be at most 25000"));
    }
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/event-stream") {
        let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
        let place = last.and_then(cursor).unwrap_or(place);
        let mut session = open(&app, &remote, &headers).await?;
        let first = subscribe_at(&mut session, &name, &place).await?;
        return Ok(follow(session, name, first));
    }
    let until = Instant::now() + Duration::from_millis(place.wait_ms.unwrap_or(0));
    let mut session = open(&app, &remote, &headers).await?;
    let mut page = subscribe_at(&mut session, &name, &place).await?;
    if is_empty(&page)? && timeout_at(until, event(&mut session)).await.is_ok_and(|came| came) {
        // Read again, because the event is one of the page's now.
        session.send(&json!({"t": "unsub", "ch": name.as_str()})).await;
        page = subscribe_at(&mut session, &name, &cursor_of(&page)?).await?;
    }
    Ok(json_text(page).into_response())
}

/// Subscribes at a place, and returns the `sub_ok` frame.
async fn subscribe_at(session: &mut Single, name: &ChannelName, place: &Place) -> Result<String, HttpError> {
    let mut sub = json!({"t": "sub", "ch": name.as_str()});
    match (&place.epoch, place.after) {
        (Some(epoch), Some(after)) => {
            sub["epoch"] = epoch.as_str().into();
            sub["offset"] = after.into();
        }
        (None, None) => {}
        _ => return Err(super::error::bad_request("`epoch` and `after` go together")),
    }
    if let Some(tail) = place.tail {
        sub["tail"] = tail.into();
    }
    subscribe(session, &sub).await
}

/// Waits for an event; false if the session has ended.
async fn event(session: &mut Single) -> bool {
    while let Some(frame) = session.next().await {
        if frame.starts_with("{\"t\":\"event\"") {
            return true;
        }
    }
    false
}

/// A response with one server-sent event for each event of the channel, piece of an answer, and
/// reset.
fn follow(session: Single, name: ChannelName, first: String) -> Response {
    let (lines, mut taken) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        // An error means that nobody reads any more.
        let _ = pass_on(session, &name, first, &lines).await;
    });
    let body = Body::from_stream(stream::poll_fn(move |cx| {
        taken.poll_recv(cx).map(|line| line.map(Ok::<_, Infallible>))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

type Gone = mpsc::error::SendError<Bytes>;

async fn pass_on(
    mut session: Single,
    name: &ChannelName,
    first: String,
    lines: &mpsc::Sender<Bytes>,
) -> Result<(), Gone> {
    let mut epoch = String::new();
    let mut next = Some(first);
    lines.send(format!("retry: {RECONNECT_MS}\n\n").into()).await?;
    while let Some(frame) = next {
        let Ok(object) = parsed(&frame) else { return Ok(()) };
        match object.str("t").as_deref() {
            Some(t @ ("sub_ok" | "page")) => {
                if t == "sub_ok" {
                    epoch = object.str("epoch").unwrap_or_default().into_owned();
                    if object.str("mode").as_deref() == Some("reset") {
                        let reason = object.str("reason").unwrap_or_default();
                        let from = object.u64("from").unwrap_or_default();
                        let data = json!({"reason": reason, "from": from});
                        lines.send(sent("reset", None, &data.to_string())).await?;
                    }
                }
                let mut last = object.u64("from").unwrap_or_default();
                for event in object.opt_array("events").unwrap_or_default() {
                    last += 1;
                    lines.send(sent("event", Some((&epoch, last)), event)).await?;
                }
                for run in object.opt_array("runs").unwrap_or_default() {
                    lines.send(sent("run", None, run)).await?;
                }
                if object.opt_flag("more").unwrap_or_default() {
                    session.send(&json!({"t": "next", "ch": name.as_str(), "from": last})).await;
                }
            }
            Some("event") => {
                let offset = object.u64("offset").unwrap_or_default();
                lines.send(sent("event", Some((&epoch, offset)), &frame)).await?;
            }
            Some(t @ ("piece" | "signal")) => lines.send(sent(t, None, &frame)).await?,
            Some("ping") => lines.send(Bytes::from_static(b": still here\n\n")).await?,
            Some("sub_err" | "error") => return lines.send(sent("error", None, &frame)).await,
            _ => {}
        }
        next = tokio::select! {
            frame = session.next() => frame,
            () = lines.closed() => return Ok(()),
        };
    }
    Ok(())
}

/// A server-sent event. JSON on one line needs no escapes there.
fn sent(event: &str, cursor: Option<(&str, u64)>, data: &str) -> Bytes {
    let id = cursor.map(|(epoch, offset)| format!("id: {epoch}:{offset}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n").into()
}

/// The cursor in the id of a server-sent event.
fn cursor(last: &str) -> Option<Place> {
    let (epoch, offset) = last.rsplit_once(':')?;
    let after = Some(offset.parse().ok()?);
    Some(Place { epoch: Some(epoch.to_owned()), after, tail: None, wait_ms: None })
}

/// The cursor after an empty page.
fn cursor_of(page: &str) -> Result<Place, HttpError> {
    let object = parsed(page)?;
    let epoch = object.str("epoch").map(|epoch| epoch.into_owned());
    Ok(Place { epoch, after: object.u64("from"), tail: None, wait_ms: None })
}

fn is_empty(page: &str) -> Result<bool, HttpError> {
    Ok(parsed(page)?.opt_array("events").unwrap_or_default().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_from_its_end_because_an_epoch_may_hold_anything() {
        let place = cursor("a:b:7").unwrap();
        assert_eq!((place.epoch.as_deref(), place.after), (Some("a:b"), Some(7)));
        for bad in ["", "7", "a:", "a:x", "a:-1"] {
            assert!(cursor(bad).is_none(), "{bad}");
        }
    }
}
