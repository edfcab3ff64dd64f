//! The routes, the upgrade and the server's health.

use super::error::{HttpError, MAX_BODY, draining};
use super::request::Remote;
use super::{
    channels, connections, dialogs, guard, guests, members, metrics, people, queue, reads, revoke, sessions,
    sites, statics, tickets,
};
use crate::app::App;
use crate::cookie;
use crate::origin::Origin;
use crate::transport::{fallback, socket};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use axum::{Json, Router, middleware};
use serde_json::json;
use std::sync::Arc;
use tidewire_core::wire::{SUBPROTOCOL, Secret, codes};
use tidewire_server_core::Peer;
use tidewire_server_core::store::Write;

/// Small, because every connection has one.
const READ_BUFFER: usize = 4 * 1024;
/// Most bytes that a socket buffers for a client that does not read, in addition to its queue.
const MAX_WRITE_BUFFER: usize = 1024 * 1024;

/// A request's address without the base path; `None` if it does not begin with that. Proxies pass
/// requests on with the base path or without it.
pub(crate) fn below(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(base).filter(|_| !base.is_empty())?;
    let rest = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        // A longer name, such as `/rtx` for the base `/rt`.
        Some(_) => return None,
    };
    rest.parse().ok()
}

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut api = Router::new()
        .route("/v1/dialogs", post(dialogs::create))
        .route("/v1/dialogs/{id}", delete(dialogs::remove))
        .route("/v1/channels/{name}/events", get(channels::read).post(channels::publish))
        .route("/v1/channels/{name}/people", get(people::list))
        .route("/v1/queue", get(queue::list))
        .route("/v1/channels/{name}/reads", get(reads::list).put(reads::mark))
        .route("/v1/channels/{name}/leases/{kind}", put(people::hold).delete(people::release))
        .route("/v1/channels/{name}/members", get(members::list))
        .route("/v1/channels/{name}/members/{kind}/{id}", put(members::set).delete(members::set))
        .route("/v1/revoke", post(revoke::revoke))
        .route("/v1/connections", get(connections::list).delete(connections::close_all))
        .route("/v1/connections/channels", get(connections::channels))
        .route("/v1/connections/{id}", delete(connections::close_one))
        .route("/v1/users/{kind}/{id}/connections", delete(connections::close_of_user))
        .route("/v1/tickets", post(tickets::issue))
        .merge(sessions::routes())
        .route("/v1/sites/{key}", put(sites::put).delete(sites::remove))
        .route_layer(middleware::from_fn_with_state(app.clone(), guard::cookies))
        // Before cookies, because it is said explicitly.
        .route_layer(middleware::from_fn(tickets::of_url))
        // A guest's token is in no cookie.
        .route("/v1/guest", post(guests::guest));
    if app.config.demo {
        api = api.route("/demo/token", post(guests::demo_token));
    }
    let api = api
        .merge(fallback::routes(app.config.limits.message_bytes))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), guard::origins));
    Router::new()
        .merge(api)
        .route("/v1/ws", any(upgrade))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics::read))
        .route("/v1/{*rest}", any(not_found))
        .fallback_service(statics::service(app.config.web_root.as_deref()))
        .layer(middleware::from_fn_with_state(app.clone(), guard::budgets))
        .layer(middleware::map_response(statics::secure))
        .with_state(app)
}

async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return HttpError::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, "this is a WebSocket endpoint")
            .into_response();
    };
    let origin_allowed = app.origin_of(remote.address.ip(), &headers) != Origin::Foreign;
    let address = app.proxies.client(remote.address.ip(), &headers);
    let peer = Peer { origin_allowed, address, is_request: false };
    // The handshake is a GET, but opens a connection that may do everything.
    let cookie = cookie::credential(&app, remote.address.ip(), &Method::POST, &headers);
    let page = app.page_of(remote.address.ip(), &headers);
    let offered = tickets::split(&uri).map(|(_, ticket)| Ok(Secret(ticket))).or(cookie);
    websocket_settings(upgrade, app.config.limits.message_bytes)
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |socket| socket::serve(app, socket, peer, (page, offered), remote.activity))
}

/// The settings of every socket; public for tests of the WebSocket itself.
#[doc(hidden)]
pub fn websocket_settings(upgrade: WebSocketUpgrade, message_bytes: usize) -> WebSocketUpgrade {
    // Twice the limit, so that a message that is slightly too long gets an error instead of a
    // close.
    let longest = message_bytes * 2;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(longest)
        .max_frame_size(longest)
}

async fn health(State(app): State<Arc<App>>) -> Response {
    if app.is_draining() {
        return draining().into_response();
    }
    // Without a write nobody would notice that the disk has room again.
    if app.database.is_failing()
        && let Err(error) = app.store.write(Write::Probe).await
    {
        return HttpError::from(error).into_response();
    }
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "connections": app.engine.connections.count(),
    }))
    .into_response()
}

async fn wrong_method() -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, codes::BAD_REQUEST, "this path does not take this method")
}

async fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, codes::NOT_FOUND, "there is nothing here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_every_path_is_taken_away_where_it_stands() {
        for (path, expected) in [
            ("/rt/v1/ws", Some("/v1/ws")),
            ("/rt/v1/http/down?mode=poll", Some("/v1/http/down?mode=poll")),
            ("/rt", Some("/")),
            ("/rt?x", Some("/?x")),
            ("/rt/", Some("/")),
            ("/v1/ws", None),
            ("/rtx/v1/ws", None),
        ] {
            let found = below(&path.parse().unwrap(), "/rt").map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{path}");
            assert!(below(&path.parse().unwrap(), "").is_none());
        }
    }
}
