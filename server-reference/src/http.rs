//! The HTTP side: the upgrade, the endpoints of protocol section 7, health and static files.

use crate::app::App;
use crate::clock;
use crate::dialogs;
use crate::fallback;
use crate::gate;
use crate::guest;
use crate::origin::{self, Origin};
use crate::socket;
use crate::{activity::Activity, statics};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use tidewire_core::wire::{DIALOG_PREFIX, SUBPROTOCOL, User, UserKind, codes, is_channel_name};
use tidewire_server_core::store::{StoreError, Write};
use tidewire_server_core::{AuthError, Budget, Identity, Peer};
use tokio::time::timeout;

/// When to come again where nothing more exact is known, in ms.
const RETRY_MS: u64 = 1_000;
/// Longest body of a request, in bytes.
const MAX_BODY: usize = 16 * 1024;
/// Small, because it is held for every connection.
const READ_BUFFER: usize = 4 * 1024;
/// How long an id is that a client made for itself: whoever guesses one takes its maker's place.
const PREVIOUS: std::ops::RangeInclusive<usize> = 16..=128;
/// How often a guest's token may be renewed: each tab of theirs does it when it opens.
const RENEWALS: Budget = Budget { ops: 30, per_ms: 60_000, burst: 30 };
/// The most that a client which does not read makes a socket hold besides its queue.
const MAX_WRITE_BUFFER: usize = 1024 * 1024;

/// Who is on the other side of a socket; set for each connection.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    pub(crate) activity: Activity,
}

/// An endpoint's refusal: `{"error": {"code", "message"}}` with a fitting status.
pub(crate) struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_ms: Option<u64>,
}

impl HttpError {
    /// A refusal that says when to come again, if that is of use at all.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> HttpError {
        let later = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        HttpError { status, code, message: message.into(), retry_after_ms: later.then_some(RETRY_MS) }
    }

    /// The same with the time to wait, in ms.
    pub(crate) fn after(self, wait_ms: u64) -> HttpError {
        HttpError { retry_after_ms: Some(wait_ms), ..self }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(wait) = self.retry_after_ms {
            error["retry_after_ms"] = wait.into();
        }
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        if let Some(wait) = self.retry_after_ms {
            // Whole seconds (RFC 9110 section 10.2.3).
            response.headers_mut().insert(header::RETRY_AFTER, wait.div_ceil(1000).max(1).into());
        }
        response
    }
}

impl From<BytesRejection> for HttpError {
    fn from(error: BytesRejection) -> HttpError {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("a body may have at most {MAX_BODY} bytes");
                HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, message)
            }
            _ => bad_request("the body could not be read"),
        }
    }
}

impl From<AuthError> for HttpError {
    fn from(error: AuthError) -> HttpError {
        HttpError::new(StatusCode::UNAUTHORIZED, error.code(), error.to_string())
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> HttpError {
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string())
    }
}

/// A request's body, which came whole and in time.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Arc<App>> for Whole {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Whole, HttpError> {
        Ok(Whole(body(app, request).await??))
    }
}

/// Reads a request's body. Whoever sends half of it is waited for as long as a silent connection is.
pub(crate) async fn body(app: &App, request: Request) -> Result<Result<Bytes, BytesRejection>, HttpError> {
    let times = &app.config.timeouts;
    timeout(times.ping + times.grace, Bytes::from_request(request, &())).await.map_err(|_| {
        let message = "the body did not come in time";
        HttpError::new(StatusCode::REQUEST_TIMEOUT, codes::BAD_REQUEST, message)
    })
}

/// The address of a request without what stands before every path, if it does: proxies pass a path on with it or without.
pub(crate) fn below(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(base).filter(|_| !base.is_empty())?;
    let rest = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        // Another path that begins alike.
        Some(_) => return None,
    };
    rest.parse().ok()
}

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut api = Router::new()
        .route("/v1/guest", post(guest))
        .route("/v1/dialogs", post(dialogs::create))
        .route("/v1/dialogs/{id}", delete(dialogs::remove))
        .route("/v1/revoke", post(revoke));
    if app.config.demo {
        api = api.route("/demo/token", post(demo_token));
    }
    let api = api
        .merge(fallback::routes(app.config.limits.message_bytes))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), origin::guard));
    Router::new()
        .merge(api)
        .route("/v1/ws", any(upgrade))
        .route("/healthz", get(health))
        .route("/v1/{*rest}", any(not_found))
        .fallback_service(statics::service(app.config.web_root.as_deref()))
        .layer(middleware::from_fn_with_state(app.clone(), gate::guard))
        .layer(middleware::map_response(statics::secure))
        .with_state(app)
}

async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return HttpError::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, "this is a WebSocket endpoint")
            .into_response();
    };
    let origin_allowed = app.origin_of(remote.address.ip(), &headers) != Origin::Foreign;
    let address = app.proxies.client(remote.address.ip(), &headers);
    let peer = Peer { origin_allowed, address };
    websocket_settings(upgrade, app.config.limits.message_bytes)
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |socket| socket::serve(app, socket, peer, remote.activity))
}

/// For tests of the WebSocket itself: the settings of every socket.
#[doc(hidden)]
pub fn websocket_settings(upgrade: WebSocketUpgrade, message_bytes: usize) -> WebSocketUpgrade {
    // Twice the limit, so that a message that is a little too long gets an answer instead of a close.
    let longest = message_bytes * 2;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(longest)
        .max_frame_size(longest)
}

pub(crate) fn draining() -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, codes::GOAWAY, "the server is about to stop")
}

async fn health(State(app): State<Arc<App>>) -> Response {
    if app.is_draining() {
        return draining().into_response();
    }
    // While nothing is written nobody would notice that the disk has room again.
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

#[derive(Deserialize)]
struct GuestRequest {
    nickname: Option<String>,
    /// An id that the client made for itself before it knew this server.
    previous: Option<String>,
}

async fn guest(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<Response, HttpError> {
    let Whole(body) = body?;
    let request: GuestRequest =
        if body.is_empty() { GuestRequest { nickname: None, previous: None } } else { read(&body)? };
    let nickname = match request.nickname {
        None => None,
        Some(text) => Some(guest::nickname(&text).ok_or_else(|| {
            bad_request("`nickname` must have 1 to 40 characters and no control characters")
        })?),
    };
    if request.previous.as_ref().is_some_and(|id| !PREVIOUS.contains(&id.len())) {
        return Err(bad_request("`previous` must have 16 to 128 bytes: shorter ids can be guessed"));
    }
    if nickname.as_deref().is_some_and(|name| app.auth.is_reserved(name)) {
        let message = "this nickname is reserved; choose another";
        return Err(HttpError::new(StatusCode::BAD_REQUEST, "reserved_name", message));
    }
    let user = match bearer(&headers) {
        Some(token) => {
            let identity = guest::renewed(&app.auth, token, nickname)?;
            // Not as a token that is of no use any more: the client would come back as a new guest.
            app.engine.not_revoked(&identity).map_err(|_| {
                let message = "this guest's access was taken back";
                HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message)
            })?;
            let place = format!("renewal:{}", identity.key());
            app.engine
                .limiter
                .take(&place, RENEWALS, clock::mono())
                .map_err(|wait| too_many("this guest's token was renewed too often; wait a little", wait))?;
            identity.user
        }
        None => {
            let nickname = nickname.ok_or_else(|| bad_request("`nickname` is missing"))?;
            let address = app.proxies.client(remote.address.ip(), &headers);
            app.gate
                .creates("guest", address, app.config.limits.new_guests)
                .map_err(|wait| too_many("too many guests from this address; wait a little", wait))?;
            match &request.previous {
                None => guest::new_guest(nickname),
                Some(previous) => app.exchange(previous, nickname).await?,
            }
        }
    };
    let ttl = app.config.guest_ttl.as_secs();
    token_response(&user, app.auth.sign_guest(&user, clock::now_s() + ttl), ttl)
}

#[derive(Deserialize)]
struct RevokeRequest {
    user: RevokedUser,
    dialog: Option<String>,
}

#[derive(Deserialize)]
struct RevokedUser {
    kind: String,
    id: String,
}

/// An operator takes a user's access back.
async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<StatusCode, HttpError> {
    let identity = authenticated(&app, &headers)?;
    if identity.user.kind != UserKind::Operator {
        let message = "only operators may take access back";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let Whole(body) = body?;
    let request: RevokeRequest = read(&body)?;
    let kind = match request.user.kind.as_str() {
        "guest" => UserKind::Guest,
        "user" => UserKind::User,
        "operator" => UserKind::Operator,
        _ => return Err(bad_request("`user.kind` must be guest, user or operator")),
    };
    if !(1..=128).contains(&request.user.id.len()) {
        return Err(bad_request("`user.id` must have 1 to 128 bytes"));
    }
    match &request.dialog {
        Some(_) if kind == UserKind::Operator => {
            return Err(bad_request("operators see every dialog; leave `dialog` out"));
        }
        Some(id) if id.is_empty() || !is_channel_name(&format!("{DIALOG_PREFIX}{id}")) => {
            return Err(bad_request("`dialog` must have 1 to 121 characters out of a-z A-Z 0-9 : _ . -"));
        }
        _ => {}
    }
    within_budget(&app, &identity)?;
    app.revoke(kind, &request.user.id, request.dialog.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct DemoRequest {
    role: String,
    name: String,
    ttl_s: Option<u64>,
}

/// Plays the application's backend for the demo page: the same role and name are the same user.
async fn demo_token(
    State(app): State<Arc<App>>,
    body: Result<Whole, HttpError>,
) -> Result<Response, HttpError> {
    let Whole(body) = body?;
    let request: DemoRequest = read(&body)?;
    let kind = match request.role.as_str() {
        "user" => UserKind::User,
        "operator" => UserKind::Operator,
        _ => return Err(bad_request("`role` must be user or operator")),
    };
    let name = guest::nickname(&request.name)
        .ok_or_else(|| bad_request("`name` must have 1 to 40 characters and no control characters"))?;
    let ttl = request.ttl_s.unwrap_or(3600).clamp(1, 24 * 3600);
    // `sub` has at most 128 bytes.
    let short: String = name
        .chars()
        .scan(0, |size, c| {
            *size += c.len_utf8();
            (*size <= 100).then_some(c)
        })
        .collect();
    let user = User { id: format!("demo:{}:{short}", request.role), name, kind };
    token_response(&user, app.auth.sign_application(&user, clock::now_s() + ttl), ttl)
}

fn token_response(user: &User, token: Option<String>, ttl_s: u64) -> Result<Response, HttpError> {
    let token = token.ok_or_else(|| {
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, codes::INTERNAL, "the token could not be signed")
    })?;
    let user = json!({"id": user.id, "name": user.name, "kind": user.kind.as_str()});
    let body = json!({"token": token, "user": user, "expires_ms": ttl_s * 1000});
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn wrong_method() -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, codes::BAD_REQUEST, "this path does not take this method")
}

async fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

pub(crate) fn bad_request(message: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, message)
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, HttpError> {
    // serde's messages may quote the body, which may hold what belongs in no log.
    serde_json::from_slice(body)
        .map_err(|_| bad_request("the body must be a JSON object with the right members"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn authenticated(app: &App, headers: &HeaderMap) -> Result<Identity, HttpError> {
    let token = bearer(headers).ok_or_else(|| {
        HttpError::new(
            StatusCode::UNAUTHORIZED,
            codes::UNAUTHORIZED,
            "send Authorization: Bearer with a token",
        )
    })?;
    Ok(app.engine.identify(token, clock::now())?)
}

/// Requests that write take from the budget of ops.
pub(crate) fn within_budget(app: &App, identity: &Identity) -> Result<(), HttpError> {
    let budget = app.config.limits.budget(identity.user.kind);
    let taken = app.engine.limiter.take(&identity.key(), budget, clock::mono());
    taken.map_err(|wait| too_many("too many requests; wait a little", wait))
}

pub(crate) fn too_many(message: &str, wait_ms: u64) -> HttpError {
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, codes::RATE_LIMITED, message).after(wait_ms)
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
