//! Reads requests: sender, body and token.

use super::error::{HttpError, bad_request, too_many};
use crate::app::App;
use crate::clock;
use crate::transport::Activity;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::store::{Account, Reply};
use tidewire_server_core::{Identified, Identity};
use tokio::time::timeout;

/// The peer of a socket. An extension of each of its requests.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    pub(crate) activity: Activity,
}

/// A request's body that was received completely and in time.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Arc<App>> for Whole {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Whole, HttpError> {
        Ok(Whole(body(app, request).await??))
    }
}

/// Reads a request's body. The time-out is that of a silent connection.
pub(crate) async fn body(app: &App, request: Request) -> Result<Result<Bytes, BytesRejection>, HttpError> {
    let times = &app.config.timeouts;
    timeout(times.ping + times.grace, Bytes::from_request(request, &())).await.map_err(|_| {
        let message = "the body did not come in time";
        HttpError::new(StatusCode::REQUEST_TIMEOUT, codes::BAD_REQUEST, message)
    })
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, HttpError> {
    // serde's messages may quote the body, which must not be logged.
    serde_json::from_slice(body)
        .map_err(|_| bad_request("the body must be a JSON object with the right members"))
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of a request that has to have one.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, HttpError> {
    bearer(headers).ok_or_else(|| {
        HttpError::new(
            StatusCode::UNAUTHORIZED,
            codes::UNAUTHORIZED,
            "send Authorization: Bearer with a token",
        )
    })
}

/// The user of a request.
pub(crate) async fn authenticated(
    app: &App,
    remote: &Remote,
    headers: &HeaderMap,
) -> Result<Identity, HttpError> {
    let mut identity = match app.engine.identify(token(headers)?, clock::now())? {
        Identified::Known(identity) => identity,
        Identified::Unread(read, pending) => {
            let found = app.read_in_time(read).await.and_then(Reply::session)?;
            app.engine.session_read(pending, found, clock::now())?
        }
    };
    app.engine.admit_from(&mut identity, &app.page_of(remote.address.ip(), headers))?;
    Ok(identity)
}

/// The account in whose name a user acts.
pub(crate) fn account_of(identity: &Identity) -> Result<Account, HttpError> {
    identity.account.clone().ok_or_else(|| {
        let message = "an operator's token must name an account in `account`";
        HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message)
    })
}

/// Requests that write count against the op budget.
pub(crate) fn within_budget(app: &App, identity: &Identity) -> Result<(), HttpError> {
    let budget = app.config.limits.budget(identity.user.kind);
    let taken = app.engine.limiter.take(&identity.key(), budget, clock::mono());
    taken.map_err(|wait| too_many("too many requests; wait a little", wait))
}
