//! Members of channels, for the application's backend (protocol section 7).

use super::error::{HttpError, bad_request};
use super::request::{Remote, account_of, authenticated, within_budget};
use crate::app::App;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, UserKind, codes};
use tidewire_server_core::Identity;
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::{
    Account, MAX_MEMBERSHIPS, Outcome, Read, Refusal, Reply, SetMember, key_of,
};
use tokio::sync::oneshot;

/// Most members in one response.
const PAGE: usize = 1_000;

/// Where a list goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    after: Option<String>,
}

/// Makes a user a member of a channel (PUT), or ends that (DELETE). It has taken effect when this
/// returns.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path((channel, kind, id)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    let (identity, account, channel) = backend(&app, &remote, &headers, &channel).await?;
    let kind = match kind.as_str() {
        "guest" => UserKind::Guest,
        "user" => UserKind::User,
        _ => return Err(bad_request("members are `user` or `guest`")),
    };
    if !(1..=128).contains(&id.len()) {
        return Err(bad_request("a user's id has 1 to 128 bytes"));
    }
    within_budget(&app, &identity)?;
    let (user, member) = (key_of(kind, &id), method == Method::PUT);
    let (tell, told) = oneshot::channel();
    // The caller may have stopped waiting.
    let done = Box::new(move |result| drop(tell.send(result)));
    app.engine.set_member(SetMember { channel, user, member, account }, done);
    match told.await.unwrap_or(Err(tidewire_server_core::store::StoreError::Unavailable))? {
        Outcome::Refused(Refusal::TooManyMemberships) => {
            let message = format!("a user is a member of at most {MAX_MEMBERSHIPS} channels");
            Err(HttpError::new(StatusCode::CONFLICT, codes::TOO_MANY_MEMBERSHIPS, message))
        }
        Outcome::Refused(_) => Err(HttpError::new(
            StatusCode::FORBIDDEN,
            codes::FORBIDDEN,
            "the channel belongs to another account",
        )),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Lists the members of a channel.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(channel): Path<String>,
    place: Result<Query<Place>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let (_, account, channel) = backend(&app, &remote, &headers, &channel).await?;
    let Ok(Query(place)) = place else {
        return Err(bad_request("the only parameter is `after`, with the last member of the page before"));
    };
    let found = app.store.read(Read::Channel(channel.clone())).await.and_then(Reply::channel)?;
    if found.is_some_and(|row| row.account != account) {
        let message = "the channel belongs to another account";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let after = place.after.unwrap_or_default();
    // One more says whether there are more.
    let read = Read::Members { channel, after, most: PAGE + 1 };
    let mut users = app.store.read(read).await.and_then(Reply::users)?;
    let more = users.len() > PAGE;
    users.truncate(PAGE);
    let member = |key: &String| -> Option<Value> {
        let (kind, id) = key.split_once(':')?;
        Some(json!({"kind": kind, "id": id}))
    };
    let members: Vec<Value> = users.iter().filter_map(member).collect();
    let after = users.last().filter(|_| more);
    Ok(Json(json!({"members": members, "after": after})).into_response())
}

/// The service that asks, its account, and the channel.
async fn backend(
    app: &App,
    remote: &Remote,
    headers: &HeaderMap,
    channel: &str,
) -> Result<(Identity, Account, ChannelName), HttpError> {
    let identity = authenticated(app, remote, headers).await?;
    if !identity.scopes.contains(&Scope::Members) {
        let message = "only services with the scope `members` may do this";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let account = account_of(&identity)?;
    let name = ChannelName::parse(channel)
        .ok_or_else(|| bad_request("a channel's name has 1 to 128 characters out of a-z A-Z 0-9 : _ . -"))?;
    Ok((identity, account, name))
}
