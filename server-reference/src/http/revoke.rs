//! The endpoint that revokes access (protocol section 7).

use super::error::{HttpError, bad_request};
use super::request::{Remote, Whole, account_of, authenticated, read, within_budget};
use crate::app::App;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, UserKind, codes};
use tidewire_server_core::access::Scope;

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

/// Lets an operator revoke a user's access.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<StatusCode, HttpError> {
    let identity = authenticated(&app, &remote, &headers).await?;
    if identity.user.kind != UserKind::Operator && !identity.scopes.contains(&Scope::Revoke) {
        let message = "only operators, and services with the scope `revoke`, may take access back";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let account = account_of(&identity)?;
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
        Some(id) if ChannelName::of_dialog(id).is_none() => {
            return Err(bad_request("`dialog` must have 1 to 121 characters out of a-z A-Z 0-9 : _ . -"));
        }
        _ => {}
    }
    within_budget(&app, &identity)?;
    app.revoke(account, kind, &request.user.id, request.dialog.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
