//! The metrics, for a service of the server's own account.

use super::error::HttpError;
use super::request::{Remote, authenticated};
use crate::app::App;
use crate::metrics;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::access::Scope;
use tidewire_server_core::store::Account;

/// Answers with the metrics.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let identity = authenticated(&app, &remote, &headers).await?;
    // They are about all accounts.
    if identity.account != Some(Account::Own) || !identity.scopes.contains(&Scope::Metrics) {
        let message = "only services of the server's own account with the scope `metrics` may do this";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    Ok(metrics::response(&app))
}
