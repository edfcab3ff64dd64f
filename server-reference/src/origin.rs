//! Which pages may use the server: those of its own host, and those of the configured origins.

use crate::app::App;
use crate::http::HttpError;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tidewire_core::wire::codes;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From no page, or from one of this host.
    Own,
    /// From a page on the list.
    Listed,
    /// From any other.
    Foreign,
}

/// Compares `Origin` with `Host` and the list. Browsers always send `Origin` with a WebSocket and a cross-origin `POST`.
pub(crate) fn check(headers: &HeaderMap, allowed: &[String]) -> Origin {
    let Some(origin) = headers.get(header::ORIGIN) else { return Origin::Own };
    let Ok(origin) = origin.to_str() else { return Origin::Foreign };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| is_host(origin, host)) {
        Origin::Own
    } else if allowed
        .iter()
        .any(|entry| entry == "*" || entry.trim_end_matches('/').eq_ignore_ascii_case(origin))
    {
        Origin::Listed
    } else {
        Origin::Foreign
    }
}

fn is_host(origin: &str, host: &str) -> bool {
    let (place, port) = match origin.split_once("://") {
        Some(("http", place)) => (place, ":80"),
        Some(("https", place)) => (place, ":443"),
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !place.is_empty() && bare(place) == bare(host)
}

/// Answers pre-flights and keeps foreign pages away from the endpoints.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let from = check(request.headers(), &app.config.allowed_origins);
    let mut response = if from == Origin::Foreign {
        let message = "this origin is not on the server's list; add it with --allowed-origin";
        return HttpError::new(StatusCode::FORBIDDEN, codes::ORIGIN_NOT_ALLOWED, message).into_response();
    } else if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if let (Origin::Listed, Some(origin)) = (from, origin) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, tidewire-connection, tidewire-seq"),
        );
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(origin: &'static str, host: &'static str, allowed: &[&str]) -> Origin {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::HOST, HeaderValue::from_static(host));
        check(&headers, &allowed.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_own_host_is_recognised_with_and_without_the_usual_port() {
        assert_eq!(of("http://127.0.0.1:8080", "127.0.0.1:8080", &[]), Origin::Own);
        assert_eq!(of("https://example.com", "example.com:443", &[]), Origin::Own);
        assert_eq!(of("https://EXAMPLE.com", "example.com", &[]), Origin::Own);
    }

    #[test]
    fn lookalikes_are_foreign() {
        for origin in ["http://127.0.0.1:8081", "http://example.com.evil.org", "null", "file://", "http://"] {
            assert_eq!(of(origin, "example.com", &["https://app.example.com"]), Origin::Foreign, "{origin}");
        }
    }

    #[test]
    fn the_list_is_exact() {
        let list = ["https://app.example.com/"];
        assert_eq!(of("https://app.example.com", "api.example.com", &list), Origin::Listed);
        assert_eq!(of("http://app.example.com", "api.example.com", &list), Origin::Foreign);
        assert_eq!(of("https://anything.org", "api.example.com", &["*"]), Origin::Listed);
    }
}
