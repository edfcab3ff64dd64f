//! Tickets, for where only a URL can carry a credential (protocol section 7).

use super::error::{HttpError, too_many};
use super::request::{Remote, authenticated, token};
use crate::app::App;
use crate::clock;
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use tidewire_core::wire::codes;
use tidewire_server_core::Budget;
use tidewire_server_core::access::is_ticket;

/// How many tickets a user may ask for. Each is in memory until it is used or its time is over.
const TICKETS: Budget = Budget { ops: 60, per_ms: 60_000, burst: 30 };
/// The parameter of a URL that carries one.
const PARAMETER: &str = "ticket=";

/// A ticket that nobody was given, in the place of a token: no token may stand in a URL.
const NONE: &str = "ticket~none";

/// Gives the caller a ticket.
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    if is_ticket(token(&headers)?) {
        let message = "a ticket gives no other ticket; send your token or cookie";
        return Err(HttpError::new(StatusCode::FORBIDDEN, codes::FORBIDDEN, message));
    }
    let identity = authenticated(&app, &remote, &headers).await?;
    app.engine
        .limiter
        .take(&format!("tickets:{}", identity.key()), TICKETS, clock::mono())
        .map_err(|wait| too_many("this user asked for too many tickets; wait a little", wait))?;
    let secret = clock::random_id() + &clock::random_id();
    let ticket = app.engine.issue_ticket(identity, &secret, clock::now());
    let ms = u64::try_from(app.config.timeouts.ticket.as_millis()).unwrap_or(u64::MAX);
    let body = Json(json!({"ticket": ticket, "expires_ms": ms}));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Lets a stream of events use the ticket in its URL as its token. Nothing after this sees it in the
/// URL.
pub(super) async fn of_url(mut request: Request, next: Next) -> Response {
    if request.method() == Method::GET
        && request.uri().path().ends_with("/events")
        && let Some((uri, ticket)) = split(request.uri())
    {
        *request.uri_mut() = uri;
        if !request.headers().contains_key(header::AUTHORIZATION)
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {ticket}"))
        {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
    }
    next.run(request).await
}

/// The address without its ticket, and the ticket, if it has one.
pub(crate) fn split(uri: &Uri) -> Option<(Uri, String)> {
    let (mut ticket, mut rest) = (None, Vec::new());
    for pair in uri.query()?.split('&') {
        match pair.strip_prefix(PARAMETER) {
            // `~` may stand in a URL as it is, but some libraries escape it.
            Some(value) => {
                ticket = Some(value.replace("%7E", "~").replace("%7e", "~"))
                    .filter(|text| is_ticket(text))
                    .or(Some(NONE.to_owned()))
            }
            None => rest.push(pair),
        }
    }
    let query = rest.join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    Some((format!("{}{mark}{query}", uri.path()).parse().ok()?, ticket?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_taken_out_of_the_address() {
        for (uri, rest, ticket) in [
            ("/v1/ws?ticket=ticket~a", "/v1/ws", Some("ticket~a")),
            ("/v1/x?tail=1&ticket=ticket%7Ea&epoch=e", "/v1/x?tail=1&epoch=e", Some("ticket~a")),
            ("/v1/x?ticket=ticket~a&ticket=ticket~b", "/v1/x", Some("ticket~b")),
            ("/v1/x?ticket=a.b.c", "/v1/x", Some(NONE)),
            ("/v1/x?ticket=", "/v1/x", Some(NONE)),
            ("/v1/x?tickets=a", "", None),
            ("/v1/x", "", None),
        ] {
            let found = split(&uri.parse().unwrap());
            let found = found.as_ref().map(|(uri, ticket)| (uri.to_string(), ticket.as_str()));
            assert_eq!(found, ticket.map(|ticket| (rest.to_owned(), ticket)), "{uri}");
        }
    }
}
