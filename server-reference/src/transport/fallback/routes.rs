//! The routes of plain requests.

use super::{down, drive, up};
use crate::app::App;
use crate::cookie;
use crate::http::error::HttpError;
use crate::http::request::Remote;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use tidewire_server_core::Peer;

/// The routes, without the check of origins, which comes before them.
pub(crate) fn routes(message_bytes: usize) -> Router<Arc<App>> {
    // As with a WebSocket, a message that is slightly too long gets an error instead of a cut
    // connection.
    let up = post(up::up).layer(DefaultBodyLimit::max(message_bytes * 2));
    Router::new()
        .route("/v1/http", post(open))
        .route("/v1/http/up", up)
        .route("/v1/http/down", get(down::down))
}

/// Opens a connection. A refused one leaves nothing behind.
async fn open(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let address = app.proxies.client(remote.address.ip(), &headers);
    let peer = Peer { origin_allowed: true, address, is_request: false };
    let cookie = cookie::credential(&app, remote.address.ip(), &Method::POST, &headers);
    let id = drive::open(&app, peer, app.page_of(remote.address.ip(), &headers), cookie)?;
    let body = Json(json!({"connection": id}));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body).into_response())
}
