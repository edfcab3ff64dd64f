//! Connections over plain requests, for networks that let no WebSocket through (protocol section 11).
//!
//! The session behind one is the same as behind a socket: messages come up as the bodies of requests, and go down as the lines
//! of a response that stays open, or of one that waits until there is something to say.

mod down;
mod link;
mod links;
mod up;

pub(crate) use links::Links;

use crate::app::App;
use crate::http::{HttpError, Remote, bad_request, draining};
use crate::origin;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use link::Link;
use serde_json::json;
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::{Peer, TurnedAway};

/// The header that carries a connection's id. It is a secret: never part of a URL or a log.
const CONNECTION: &str = "tidewire-connection";
/// When to come again while all connections are taken, in ms.
const CROWDED_RETRY_MS: u64 = 5_000;
/// The header that numbers the messages of a client, from 1 on.
const SEQ: &str = "tidewire-seq";

/// The routes; the guard against foreign origins stands before them.
pub(crate) fn routes(message_bytes: usize) -> Router<Arc<App>> {
    // As on a socket a message that is a little too long gets an answer instead of an end.
    let up = post(up::up).layer(DefaultBodyLimit::max(message_bytes * 2));
    Router::new()
        .route("/v1/http", post(open))
        .route("/v1/http/up", up)
        .route("/v1/http/down", get(down::down))
}

/// Opens a connection, unless it is one too many: then it holds nothing.
async fn open(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let address = app.proxies.client(remote.address.ip(), &headers);
    let peer = Peer { origin_allowed: true, address };
    let id = link::open(&app, peer)?;
    let body = Json(json!({"connection": id}));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// The connection that a request is for. The request counts as a sign of life.
fn find(app: &App, headers: &HeaderMap) -> Result<Arc<Link>, HttpError> {
    let id = headers.get(CONNECTION).and_then(|id| id.to_str().ok());
    let id = id.ok_or_else(|| bad_request("send the connection's id in the header Tidewire-Connection"))?;
    let link = app.links.find(id).ok_or_else(unknown)?;
    link.activity.note();
    Ok(link)
}

fn unknown() -> HttpError {
    let message = "there is no such connection, or it has ended; open another one";
    HttpError::new(StatusCode::NOT_FOUND, "unknown_connection", message)
}

/// Says in a response why there is no place for a connection.
fn turned_away(reason: TurnedAway) -> HttpError {
    match reason {
        TurnedAway::GoingAway(_) => draining(),
        TurnedAway::Crowded(who) => too_many(who),
        TurnedAway::Early(wait) => {
            let message = "too many connections were opened from this address";
            HttpError::new(StatusCode::TOO_MANY_REQUESTS, codes::RATE_LIMITED, message).after(wait)
        }
        TurnedAway::Origin => {
            HttpError::new(StatusCode::FORBIDDEN, codes::ORIGIN_NOT_ALLOWED, origin::REFUSAL)
        }
    }
}

fn too_many(who: &'static str) -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, codes::TOO_MANY_CONNECTIONS, who).after(CROWDED_RETRY_MS)
}
