//! The endpoints that give tokens (protocol section 7).

use super::error::{HttpError, bad_request, too_many};
use super::request::{Remote, Whole, bearer, read};
use crate::app::{App, ExchangeError};
use crate::clock;
use crate::guest;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tidewire_core::wire::{User, UserKind, codes};
use tidewire_server_core::access::Page;
use tidewire_server_core::store::Site;
use tidewire_server_core::{AuthError, Budget};

/// The length of an id that a client made for itself, in bytes. It must be hard to guess: anybody
/// who knows it is taken for the client.
const PREVIOUS: std::ops::RangeInclusive<usize> = 16..=128;
/// How often one guest's token may be renewed: each of the guest's tabs does so when it opens.
const RENEWALS: Budget = Budget { ops: 30, per_ms: 60_000, burst: 30 };

#[derive(Deserialize)]
struct GuestRequest {
    nickname: Option<String>,
    /// An id that the client made for itself before it reached this server.
    previous: Option<String>,
    /// The key of the site whose page asks.
    site: Option<String>,
}

pub(super) async fn guest(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<Response, HttpError> {
    let Whole(body) = body?;
    let request: GuestRequest = if body.is_empty() {
        GuestRequest { nickname: None, previous: None, site: None }
    } else {
        read(&body)?
    };
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
    let page = app.page_of(remote.address.ip(), &headers);
    let (user, site) = match bearer(&headers) {
        Some(token) => {
            let identity = app.auth.renewed_guest(token, nickname)?;
            // Not the code of an expired token, with which the client would come back as a new
            // guest.
            app.engine.not_revoked(&identity).map_err(|_| {
                let message = "this guest's access was taken back";
                HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message)
            })?;
            let place = format!("renewal:{}", identity.key());
            app.engine
                .limiter
                .take(&place, RENEWALS, clock::mono())
                .map_err(|wait| too_many("this guest's token was renewed too often; wait a little", wait))?;
            // A guest stays one of their site. It may have other pages by now, or be gone.
            let key = identity.site.map(|guest| guest.site);
            (identity.user, site_of(&app, key, &page)?)
        }
        None => {
            let site = site_of(&app, request.site, &page)?;
            let nickname = nickname.ok_or_else(|| bad_request("`nickname` is missing"))?;
            let address = app.proxies.client(remote.address.ip(), &headers);
            app.address_limiter
                .creates("guest", address, app.config.limits.new_guests)
                .map_err(|wait| too_many("too many guests from this address; wait a little", wait))?;
            let user = match &request.previous {
                None => guest::new_guest(nickname),
                Some(previous) => exchanged(&app, previous, nickname).await?,
            };
            (user, site)
        }
    };
    let ttl = app.config.guest_ttl.as_secs();
    token_response(&user, app.auth.sign_guest(&user, site.as_deref(), clock::now_s() + ttl), ttl)
}

/// The site with this key, if the page is one of it; without a key, whether the page may have guests
/// without one.
fn site_of(app: &App, key: Option<String>, page: &Page) -> Result<Option<Arc<Site>>, HttpError> {
    let sites = &app.engine.access.sites;
    // Not the code of an expired token, with which the client would come back as a new guest.
    let refused = |error: AuthError| match error {
        AuthError::Refused(_) => {
            HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, "there is no site with this key")
        }
        error => error.into(),
    };
    sites.admits(key.as_deref(), page).map_err(refused)?;
    Ok(key.and_then(|key| sites.get(&key)))
}

async fn exchanged(app: &App, previous: &str, nickname: String) -> Result<User, HttpError> {
    app.exchange(previous, nickname).await.map_err(|error| match error {
        ExchangeError::Used => {
            let message = "this id was given away for a guest before; leave `previous` out to be a new one";
            HttpError::new(StatusCode::CONFLICT, "conflict", message)
        }
        ExchangeError::Store(error) => error.into(),
    })
}

#[derive(Deserialize)]
struct DemoRequest {
    role: String,
    name: String,
    ttl_s: Option<u64>,
}

/// Acts as the application's backend for the demo page: the same role and name give the same user.
pub(super) async fn demo_token(
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
    let user = User { id: format!("demo:{}:{short}", request.role), name, kind, profile: None };
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
