//! Sites, for the application's backend (protocol section 7).

use super::error::{HttpError, bad_request};
use super::request::{Remote, Whole, account_of, authenticated, read, within_budget};
use crate::app::App;
use crate::site;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::{Account, MAX_SITES, Outcome, Refusal, StoreError};
use tokio::sync::oneshot;

/// A site, as the backend writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteRequest {
    origins: Vec<String>,
    assistant: Option<String>,
}

/// Writes a site of the service's account. It has taken effect when this returns.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Result<Whole, HttpError>,
) -> Result<StatusCode, HttpError> {
    let account = backend(&app, &remote, &headers, &key).await?;
    let Whole(body) = body?;
    let SiteRequest { origins, assistant } = read(&body)?;
    let site = site::site(key, account, &origins, assistant).map_err(|why| bad_request(&why))?;
    let (tell, told) = oneshot::channel();
    // The caller may have stopped waiting.
    app.engine.put_site(site, Box::new(move |result| drop(tell.send(result))));
    answered(told).await
}

/// Deletes a site. Its guests' connections are closed when this returns.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    let account = backend(&app, &remote, &headers, &key).await?;
    let (tell, told) = oneshot::channel();
    // The caller may have stopped waiting.
    app.engine.delete_site(key, account, Box::new(move |result| drop(tell.send(result))));
    answered(told).await
}

async fn backend(app: &App, remote: &Remote, headers: &HeaderMap, key: &str) -> Result<Account, HttpError> {
    let forbidden = |message| HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message);
    let identity = authenticated(app, remote, headers).await?;
    if !identity.scopes.contains(&Scope::Sites) {
        return Err(forbidden("only services with the scope `sites` may do this"));
    }
    let account = account_of(&identity)?;
    if app.engine.access.sites.is_fixed(key) {
        return Err(forbidden("the configuration has this site; change it there"));
    }
    within_budget(app, &identity)?;
    Ok(account)
}

async fn answered(told: oneshot::Receiver<Result<Outcome, StoreError>>) -> Result<StatusCode, HttpError> {
    match told.await.unwrap_or(Err(StoreError::Unavailable))? {
        Outcome::Refused(Refusal::TooManySites) => {
            let message = format!("the server has {MAX_SITES} sites; delete one first");
            Err(HttpError::new(StatusCode::CONFLICT, "conflict", message))
        }
        Outcome::Refused(_) => {
            let message = "the site belongs to another account";
            Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message))
        }
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
