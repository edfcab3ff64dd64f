//! Which dialogs wait for an operator, over plain HTTP (protocol section 13).

use super::error::HttpError;
use super::request::{Remote, account_of, authenticated, within_budget};
use super::session::json_text;
use crate::app::App;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tidewire_core::wire::json::Writer;
use tidewire_core::wire::{Handler, UserKind, codes};
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::{Read, Reply};

/// Most dialogs in a response.
const MOST: usize = 1_000;

/// The dialogs of the caller's account for which an operator is asked for, the first one first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let identity = authenticated(&app, &remote, &headers).await?;
    let may = match identity.user.kind {
        UserKind::Operator => true,
        UserKind::Service => identity.scopes.contains(&Scope::Read),
        _ => false,
    };
    if !may {
        let message = "only operators, and services with the scope `read`, may do this";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let account = account_of(&identity)?;
    within_budget(&app, &identity)?;
    // One more says whether there are more.
    let read = Read::Queued { account, most: MOST + 1 };
    let mut queued = app.store.read(read).await.and_then(Reply::handed)?;
    let more = queued.len() > MOST;
    queued.truncate(MOST);
    let since = |handler: &Handler| match handler {
        Handler::Queued { since } => *since,
        _ => 0,
    };
    let answer = Writer::object()
        .each("dialogs", &queued, |writer, one| {
            writer.begin().str("ch", &one.name).u64("since", since(&one.handler)).close()
        })
        .bool("more", more);
    Ok(json_text(answer.end()).into_response())
}
