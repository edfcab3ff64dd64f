//! Static files of the web root, and the headers that every response carries.
//!
//! Below `/tidewire/` are the files that pages of other origins embed. Those with a hash in their
//! name never change, so browsers keep them for a year; browsers revalidate the others on each use.
//! If a compressed variant (`.br`, `.gz`) is beside a file, clients that accept it get that one.

use super::error::HttpError;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::path::Path;
use tidewire_core::wire::codes;
use tower_http::services::ServeDir;

/// Scripts and styles of our own host only; compiling WebAssembly needs `wasm-unsafe-eval`.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The path of the files that pages of other origins embed.
const EMBEDDED: &str = "/tidewire/";
/// Length of the hash that ends the stem of a constant file's name, as in
/// `core-0123456789abcdef.wasm`.
const HASH: usize = 16;
/// For files that never change.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Serves the folder. Without a folder or its index, `/` says how to get one.
pub(crate) fn service(root: Option<&Path>) -> Router {
    match root {
        Some(root) if root.join("index.html").is_file() => {
            let files = folder(root).fallback(get(missing));
            Router::new().fallback_service(files).layer(middleware::from_fn(embedded))
        }
        Some(root) => {
            let files = folder(root).append_index_html_on_directories(false).fallback(get(missing));
            let routes = Router::new().route("/", get(missing_build)).fallback_service(files);
            routes.layer(middleware::from_fn(embedded))
        }
        None => Router::new().route("/", get(no_root)).fallback(missing),
    }
}

fn folder(root: &Path) -> ServeDir {
    ServeDir::new(root).precompressed_br().precompressed_gzip()
}

/// Lets pages of every origin use the embedded files, which contain nothing private. Module scripts
/// always need the header.
async fn embedded(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let embedded = path.starts_with(EMBEDDED);
    let constant = embedded && is_constant(path);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if embedded {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        headers.insert(policy, HeaderValue::from_static("cross-origin"));
    }
    if constant && is_answered(response.status()) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    }
    response
}

fn is_answered(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT)
}

/// Whether a path's name contains a hash of the file's content.
fn is_constant(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
    hash.len() == HASH && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn missing() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, codes::NOT_FOUND, "there is nothing here")
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

/// Adds the security headers, and `no-cache` unless the response says otherwise: browsers
/// revalidate it on each use.
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

#[cfg(test)]
mod tests {
    use super::is_constant;

    #[test]
    fn only_a_hash_at_the_end_of_a_stem_makes_a_file_constant() {
        for path in ["/tidewire/core-0123456789abcdef.wasm", "/tidewire/a-b-00000000ffffffff.js.map"] {
            assert!(is_constant(path), "{path}");
        }
        for path in [
            "/tidewire/widget.js",
            "/tidewire/core-0123456789abcdeg.wasm",
            "/tidewire/core-0123456789abcde.wasm",
            "/tidewire/0123456789abcdef.js",
            "/tidewire/core-0123456789abcdef/widget.js",
            "/tidewire/",
            "",
        ] {
            assert!(!is_constant(path), "{path}");
        }
    }
}
