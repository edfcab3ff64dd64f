//! Static files of the web root, and the headers that every response carries.

use crate::http::HttpError;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::path::Path;
use tower_http::services::ServeDir;

/// Scripts and styles of our own host only; `wasm-unsafe-eval` is what compiling WebAssembly needs.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Serves the folder; without one, or without its index, `/` says how to get it.
pub(crate) fn service(root: Option<&Path>) -> Router {
    match root {
        Some(root) if root.join("index.html").is_file() => {
            let files = ServeDir::new(root).fallback(get(missing));
            Router::new().fallback_service(files)
        }
        Some(root) => {
            let files = ServeDir::new(root).append_index_html_on_directories(false).fallback(get(missing));
            Router::new().route("/", get(missing_build)).fallback_service(files)
        }
        None => Router::new().route("/", get(no_root)).fallback(missing),
    }
}

async fn missing() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

async fn missing_build() -> Response {
    explain("The web page is not built yet. Run <code>cargo xtask build</code>, then reload.")
}

async fn no_root() -> Response {
    explain(
        "The server runs, but has no web page to show. Run <code>cargo xtask build</code>, then start the \
         server with <code>--web-root</code> and the folder of the page.",
    )
}

fn explain(what: &str) -> Response {
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Tidewire</title><h1>Tidewire</h1><p>{what}</p>\
         <p>code: <code>missing_build</code></p>"
    );
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}

/// Adds the headers. Pages and files are asked for again each time, and answered with 304 when nothing changed.
pub(crate) async fn secure(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}
