//! Finds the connection that a request belongs to.

use super::link::Link;
use crate::app::App;
use crate::http::error::{HttpError, bad_request, draining};
use crate::origin;
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::TurnedAway;

/// The header that carries a connection's id. It is a secret: never part of a URL or a log.
const CONNECTION: &str = "tidewire-connection";
/// When to try again while the server has no room for a connection, in ms.
const CROWDED_RETRY_MS: u64 = 5_000;
/// The header with the number of a client's message, from 1 on, or of the lines that it has had.
const SEQ: &str = "tidewire-seq";

/// The connection that a request belongs to. The request counts as activity.
pub(super) fn find(app: &App, headers: &HeaderMap) -> Result<Arc<Link>, HttpError> {
    let id = headers.get(CONNECTION).and_then(|id| id.to_str().ok());
    let id = id.ok_or_else(|| bad_request("send the connection's id in the header Tidewire-Connection"))?;
    let link = app.links.find(id).ok_or_else(unknown)?;
    link.activity.note();
    Ok(link)
}

/// The number that a request carries.
pub(super) fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(SEQ)?.to_str().ok()?.parse().ok()
}

pub(super) fn unknown() -> HttpError {
    let message = "there is no such connection, or it has ended; open another one";
    HttpError::new(StatusCode::NOT_FOUND, "unknown_connection", message)
}

/// The response that refuses a connection.
pub(crate) fn turned_away(reason: TurnedAway) -> HttpError {
    match reason {
        TurnedAway::GoingAway(_) => draining(),
        TurnedAway::Crowded(who) => too_many(who),
        TurnedAway::Early(wait) => {
            let message = "too many connections were opened from this address";
            HttpError::new(StatusCode::TOO_MANY_REQUESTS, codes::RATE_LIMITED, message).after(wait)
        }
        TurnedAway::Origin => {
            HttpError::new(StatusCode::FORBIDDEN, codes::ORIGIN_NOT_ALLOWED, origin::REFUSAL)
        }
    }
}

pub(super) fn too_many(who: &'static str) -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, codes::TOO_MANY_CONNECTIONS, who).after(CROWDED_RETRY_MS)
}
