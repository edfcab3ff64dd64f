//! Sessions of signed-in users, for the application's backend (protocol section 7).

use super::error::{HttpError, MAX_SESSION, bad_request};
use super::request::{Remote, Whole, account_of, authenticated, read, within_budget};
use crate::app::App;
use crate::clock;
use crate::guest;
use crate::names;
use crate::session;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::wire::{Profile, UserKind, codes};
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::{Account, Done, Outcome, Read, Refusal, Reply, SessionRow, StoreError};
use tokio::sync::oneshot;

/// Most values of one claim. All of them are in memory while the user is connected.
const MAX_VALUES: usize = 10_000;
/// Longest name of a claim, in bytes.
const MAX_CLAIM: usize = 64;
/// Longest name of a user, in characters.
const MAX_NAME: usize = 64;
/// How long a session may last, in ms: revocations are remembered for as long.
const TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=31 * 86_400_000;
/// Claims that say who somebody is: only a token, or the session's own members, may.
const RESERVED: [&str; 11] =
    ["sub", "iss", "aud", "exp", "nbf", "iat", "kind", "name", "account", "scopes", "profile"];

/// A session, as the backend writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRequest {
    user: SessionUser,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    profile: Map<String, Value>,
    ttl_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionUser {
    kind: String,
    id: String,
    name: Option<String>,
}

/// The routes. A session may be larger than other bodies.
pub(super) fn routes() -> Router<Arc<App>> {
    let session = get(show).put(put).delete(end);
    Router::new().route("/v1/sessions/{id}", session).layer(DefaultBodyLimit::max(MAX_SESSION))
}

/// Writes a session. It has taken effect when this returns.
async fn put(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<StatusCode, HttpError> {
    let account = backend(&app, &remote, &headers, &id).await?;
    let Whole(body) = body?;
    let row = row(id, account, read(&body)?)?;
    let (done, told) = answer();
    app.engine.put_session(row, done);
    answered(told).await
}

/// Ends a session. Its connections are closed when this returns.
async fn end(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    let account = backend(&app, &remote, &headers, &id).await?;
    let (done, told) = answer();
    app.engine.end_session(id, account, done);
    answered(told).await
}

/// Shows a session.
async fn show(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let account = backend(&app, &remote, &headers, &id).await?;
    let now = clock::now_ms();
    let found = app.read_in_time(Read::Session(id)).await.and_then(Reply::session)?;
    let Some(row) = found.filter(|row| row.account == account && row.ends_ms > now) else {
        let message = "there is no such session, or it is over";
        return Err(HttpError::new(StatusCode::NOT_FOUND, codes::NOT_FOUND, message));
    };
    let profile: Value = row
        .profile
        .as_ref()
        .and_then(|profile| serde_json::from_str(profile.as_json()).ok())
        .unwrap_or_else(|| json!({}));
    let body = json!({
        "user": {"kind": row.kind.as_str(), "id": row.user, "name": row.name},
        "claims": row.claims,
        "profile": profile,
        "ttl_ms": row.ends_ms - now,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// The account of the service that asks.
async fn backend(app: &App, remote: &Remote, headers: &HeaderMap, id: &str) -> Result<Account, HttpError> {
    let identity = authenticated(app, remote, headers).await?;
    if !identity.scopes.contains(&Scope::Sessions) {
        let message = "only services with the scope `sessions` may do this";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let account = account_of(&identity)?;
    if !session::is_name(id) || (session::is_of_secret(id) && !session::is_digest(id)) {
        return Err(bad_request(
            "a session's id has 1 to 128 visible ASCII characters without `/`; one that begins with \
             `sha256:` goes on with the 43 characters of a digest in base64url",
        ));
    }
    within_budget(app, &identity)?;
    Ok(account)
}

fn answer() -> (Done, oneshot::Receiver<Result<Outcome, StoreError>>) {
    let (tell, told) = oneshot::channel();
    // The caller may have stopped waiting.
    (Box::new(move |result| drop(tell.send(result))), told)
}

async fn answered(told: oneshot::Receiver<Result<Outcome, StoreError>>) -> Result<StatusCode, HttpError> {
    match told.await.unwrap_or(Err(StoreError::Unavailable))? {
        Outcome::Refused(Refusal::SessionTaken) => {
            let message = "this id is another user's session; end that first, or choose another id";
            Err(HttpError::new(StatusCode::CONFLICT, "conflict", message))
        }
        Outcome::Refused(_) => {
            let message = "the session belongs to another account";
            Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message))
        }
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// The session that is to be stored.
fn row(id: String, account: Account, request: SessionRequest) -> Result<SessionRow, HttpError> {
    let kind = match request.user.kind.as_str() {
        "guest" => UserKind::Guest,
        "user" => UserKind::User,
        "operator" => UserKind::Operator,
        _ => return Err(bad_request("`user.kind` must be guest, user or operator")),
    };
    let user = request.user.id;
    if !(1..=128).contains(&user.len()) {
        return Err(bad_request("`user.id` must have 1 to 128 bytes"));
    }
    if kind == UserKind::Guest && user.starts_with(guest::ID_PREFIX) {
        return Err(bad_request("only this server names guests with `guest:` at the beginning of their id"));
    }
    let name = request.user.name;
    let is_shown = |name: &String| {
        (1..=MAX_NAME).contains(&name.trim().chars().count()) && !name.chars().any(names::is_hidden)
    };
    if name.as_ref().is_some_and(|name| !is_shown(name)) {
        return Err(bad_request("`user.name` must have 1 to 64 characters that can be seen"));
    }
    if !TTL_MS.contains(&request.ttl_ms) {
        return Err(bad_request("`ttl_ms` must be 1000 to 2678400000, which is 31 days"));
    }
    let now = clock::now_ms();
    Ok(SessionRow {
        id,
        kind,
        user,
        name: name.map(|name| name.trim().to_owned()),
        profile: profile(&request.profile)?,
        account,
        claims: claims(&request.claims)?,
        since_ms: now,
        ends_ms: now + request.ttl_ms,
    })
}

fn profile(attributes: &Map<String, Value>) -> Result<Option<Profile>, HttpError> {
    session::shown(attributes).map_err(|why| bad_request(&format!("`profile`: {why}")))
}

fn claims(given: &Map<String, Value>) -> Result<BTreeMap<String, BTreeSet<String>>, HttpError> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let mut claims = BTreeMap::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        if !(1..=MAX_CLAIM).contains(&name.len()) || RESERVED.contains(&name.as_str()) {
            return Err(bad_request(
                "names of claims have 1 to 64 bytes, and are none that say who somebody is: those are \
                 members of the session, or the token's",
            ));
        }
        let values = match value {
            Value::Array(values) if values.len() > MAX_VALUES => {
                let message = format!("a claim may have at most {MAX_VALUES} values");
                return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, message));
            }
            Value::Array(values) => values.iter().map(text).collect(),
            value => text(value).map(|text| BTreeSet::from([text])),
        };
        let values: BTreeSet<String> = values
            .ok_or_else(|| bad_request("a claim is a string, a number, a boolean, or an array of them"))?;
        claims.insert(name.clone(), values);
    }
    Ok(claims)
}
