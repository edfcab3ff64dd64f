//! The registry of connections, for the application's backend (protocol section 7).

use super::error::{HttpError, bad_request};
use super::request::{Remote, account_of, authenticated, within_budget};
use crate::app::App;
use crate::clock;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, UserKind, codes};
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::{Account, key_of};
use tidewire_server_core::{ConnectionFilter, ConnectionInfo, MAX_LISTED, Whose};

/// Connections in one response unless `most` says otherwise.
const PAGE: usize = 100;
/// Channels in one response unless `most` says otherwise.
const TOP: usize = 20;

/// Which connections are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    user: Option<String>,
    channel: Option<String>,
    after: Option<String>,
    most: Option<usize>,
}

/// How many channels are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Busiest {
    most: Option<usize>,
}

/// Whether all connections are meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct All {
    all: Option<bool>,
}

/// Lists connections of the account.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let account = backend(&app, &remote, &headers).await?;
    let Ok(Query(wanted)) = wanted else {
        return Err(bad_request("the parameters are `user`, `channel`, `after` and `most`"));
    };
    let filter = filter(wanted)?;
    let (found, more) = app.engine.connections.list(&account, &filter, clock::now());
    let after = found.last().filter(|_| more).map(|last| name(last.id));
    let connections: Vec<Value> = found.iter().map(shown).collect();
    Ok(Json(json!({"connections": connections, "after": after})).into_response())
}

/// Lists the channels of the account with the most connections.
pub(super) async fn channels(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    busiest: Result<Query<Busiest>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let account = backend(&app, &remote, &headers).await?;
    let most = match busiest {
        Ok(Query(Busiest { most })) => most.unwrap_or(TOP),
        Err(_) => return Err(bad_request("the only parameter is `most`")),
    };
    if !(1..=MAX_LISTED).contains(&most) {
        return Err(bad_request(&format!("`most` is 1 to {MAX_LISTED}")));
    }
    let busiest = app.engine.hub.busiest(&account, most);
    let channels: Vec<Value> = busiest
        .iter()
        .map(|(ch, connections)| json!({"ch": ch.as_str(), "connections": connections}))
        .collect();
    Ok(Json(json!({"channels": channels})).into_response())
}

/// Closes a connection.
pub(super) async fn close_one(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    let account = backend(&app, &remote, &headers).await?;
    let whose = Whose::One(number(&id)?);
    match app.engine.connections.kick(&account, &whose, 0) {
        0 => Err(HttpError::new(StatusCode::NOT_FOUND, codes::NOT_FOUND, "there is no such connection")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Closes all connections of a user.
pub(super) async fn close_of_user(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let account = backend(&app, &remote, &headers).await?;
    let whose = Whose::User(user(&kind, &id)?);
    Ok(closed(app.engine.connections.kick(&account, &whose, 0)))
}

/// Closes all connections of the account.
pub(super) async fn close_all(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    all: Result<Query<All>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let account = backend(&app, &remote, &headers).await?;
    if !matches!(all, Ok(Query(All { all: Some(true) }))) {
        return Err(bad_request("this closes every connection of the account: say so with all=true"));
    }
    let spread_ms = u64::try_from(app.config.timeouts.spread.as_millis()).unwrap_or(u64::MAX);
    Ok(closed(app.engine.connections.kick(&account, &Whose::Account, spread_ms)))
}

fn closed(number: usize) -> Response {
    Json(json!({"closed": number})).into_response()
}

/// The account of the service that asks. Each request costs one of its op budget.
async fn backend(app: &App, remote: &Remote, headers: &HeaderMap) -> Result<Account, HttpError> {
    let identity = authenticated(app, remote, headers).await?;
    if !identity.scopes.contains(&Scope::Connections) {
        let message = "only services with the scope `connections` may do this";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let account = account_of(&identity)?;
    within_budget(app, &identity)?;
    Ok(account)
}

fn filter(wanted: Wanted) -> Result<ConnectionFilter, HttpError> {
    let user = wanted.user.map(|key| match key.split_once(':') {
        Some((kind, id)) => user(kind, id),
        None => Err(bad_request("`user` is a kind and an id, such as user:42")),
    });
    let channel = wanted.channel.map(|name| {
        let message = "`channel` has 1 to 128 characters out of a-z A-Z 0-9 : _ . -";
        ChannelName::parse(&name).ok_or_else(|| bad_request(message))
    });
    let most = wanted.most.unwrap_or(PAGE);
    if !(1..=MAX_LISTED).contains(&most) {
        return Err(bad_request(&format!("`most` is 1 to {MAX_LISTED}")));
    }
    let after = wanted.after.map(|id| number(&id)).transpose()?.unwrap_or_default();
    Ok(ConnectionFilter { user: user.transpose()?, channel: channel.transpose()?, after, most })
}

fn user(kind: &str, id: &str) -> Result<String, HttpError> {
    let kind = match kind {
        "guest" => UserKind::Guest,
        "user" => UserKind::User,
        "operator" => UserKind::Operator,
        "service" => UserKind::Service,
        _ => return Err(bad_request("a user's kind is guest, user, operator or service")),
    };
    if !(1..=128).contains(&id.len()) {
        return Err(bad_request("a user's id has 1 to 128 bytes"));
    }
    Ok(key_of(kind, id))
}

/// A connection's id as `welcome` gives it.
fn name(id: u64) -> String {
    format!("c{id}")
}

fn number(id: &str) -> Result<u64, HttpError> {
    let digits = id.strip_prefix('c').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| bad_request("a connection's id is that of its welcome, such as c42"))
}

fn shown(connection: &ConnectionInfo) -> Value {
    let user = &connection.user;
    let channels: Vec<&str> = connection.channels.iter().map(|channel| channel.as_str()).collect();
    let runs: Vec<&str> = connection.runs.iter().map(|run| run.as_str()).collect();
    json!({
        "id": name(connection.id),
        "user": {"id": user.id, "name": user.name, "kind": user.kind.as_str()},
        "transport": connection.transport.as_str(),
        "channels": channels,
        "runs": runs,
        "created_ms": connection.created_ms,
        "heard_ms": connection.heard_ms,
        "active_ms": connection.active_ms,
        "waiting_bytes": connection.waiting_bytes,
    })
}
