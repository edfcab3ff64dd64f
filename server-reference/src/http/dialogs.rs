//! The endpoints that create and delete dialogs (protocol section 7).

use super::error::{HttpError, bad_request, too_many};
use super::request::{Remote, Whole, account_of, authenticated, read, within_budget};
use crate::app::App;
use crate::clock;
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, UserKind, codes};
use tidewire_server_core::Identity;
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::{CreateDialog, Outcome, Refusal, Write, key_of};

#[derive(Deserialize)]
struct DialogRequest {
    id: Option<String>,
    owner: Option<Owner>,
}

/// Whose a dialog is that a service creates.
#[derive(Deserialize)]
struct Owner {
    kind: String,
    id: String,
}

/// Creates a dialog. Guests may not choose its id: one who takes `order-1` first could read what
/// its rightful owner later writes there.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<Response, HttpError> {
    let identity = authenticated(&app, &remote, &headers).await?;
    let Whole(body) = body?;
    let request: DialogRequest =
        if body.is_empty() { DialogRequest { id: None, owner: None } } else { read(&body)? };
    if let Some(id) = &request.id {
        ChannelName::of_dialog(id).ok_or_else(bad_id)?;
        if app.config.public_dialogs.contains(id) {
            return Ok(Json(json!({"id": id})).into_response());
        }
        if identity.user.kind == UserKind::Guest {
            let message = "a guest may not choose a dialog's id; leave `id` out, and the server makes one";
            return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
        }
    }
    let owner = owner_of(&identity, request.owner)?;
    within_budget(&app, &identity)?;
    let address = app.proxies.client(remote.address.ip(), &headers);
    within_quota(&app, &identity, address)?;
    let id = request.id.unwrap_or_else(clock::random_id);
    let name = ChannelName::of_dialog(&id).ok_or_else(bad_id)?;
    let account = account_of(&identity)?;
    match app.store.write(Write::CreateDialog(CreateDialog { name, owner, account })).await? {
        Outcome::Created => Ok((StatusCode::CREATED, Json(json!({"id": id}))).into_response()),
        Outcome::Refused(Refusal::DialogTaken) => {
            let message = "this id is not for this user; choose another, or leave `id` out";
            Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message))
        }
        _ => Ok(Json(json!({"id": id})).into_response()),
    }
}

/// Deletes a dialog with all its events. Only its owner and operators may.
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    let identity = authenticated(&app, &remote, &headers).await?;
    let name = ChannelName::of_dialog(&id).ok_or_else(bad_id)?;
    if app.config.public_dialogs.contains(&id) {
        let message = "the configuration holds this dialog open; take it out there first";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    within_budget(&app, &identity)?;
    let found = app.loader.channel(&name).await?;
    let may = found.as_ref().is_some_and(|channel| match identity.user.kind {
        UserKind::Operator => identity.account.as_ref() == Some(&channel.account),
        UserKind::Service => {
            identity.account.as_ref() == Some(&channel.account) && identity.scopes.contains(&Scope::Dialogs)
        }
        _ => channel.is_owned_by(&identity.key()),
    });
    if !may {
        let message = "there is no such dialog, or not for this user";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    drop(found);
    app.delete_dialog(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creating a dialog has a budget of its own beside that for ops, because dialogs stay.
fn within_quota(app: &App, identity: &Identity, address: IpAddr) -> Result<(), HttpError> {
    let budget = app.config.limits.new_dialogs;
    let refused = |wait| too_many("too many dialogs were created; wait a little", wait);
    match identity.user.kind {
        // Counted by address, because anybody can become any number of guests.
        UserKind::Guest => app.address_limiter.creates("dialog", address, budget).map_err(refused),
        _ => {
            let place = format!("dialogs:{}", identity.key());
            app.engine.limiter.take(&place, budget, clock::mono()).map_err(refused)
        }
    }
}

/// Whose a new dialog is: its creator's. A service says whose, or it is nobody's.
fn owner_of(identity: &Identity, owner: Option<Owner>) -> Result<Option<String>, HttpError> {
    let forbidden = |message| HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message);
    match (identity.user.kind, owner) {
        (UserKind::Service, _) if !identity.scopes.contains(&Scope::Dialogs) => {
            Err(forbidden("this service's token lacks the scope `dialogs`"))
        }
        (UserKind::Service, None) => Ok(None),
        (UserKind::Service, Some(Owner { kind, id })) => {
            let kind = match kind.as_str() {
                "guest" => UserKind::Guest,
                "user" => UserKind::User,
                _ => return Err(bad_request("`owner.kind` must be guest or user")),
            };
            if !(1..=128).contains(&id.len()) {
                return Err(bad_request("`owner.id` must have 1 to 128 bytes"));
            }
            Ok(Some(key_of(kind, &id)))
        }
        (_, Some(_)) => Err(forbidden("only a service creates dialogs for others; leave `owner` out")),
        (_, None) => Ok(Some(identity.key())),
    }
}

fn bad_id() -> HttpError {
    bad_request("`id` must have 1 to 121 characters out of a-z A-Z 0-9 : _ . -")
}
