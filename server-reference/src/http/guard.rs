//! Checks before the endpoints: rate limits of addresses, and origins.

use super::error::HttpError;
use super::request::Remote;
use crate::app::App;
use crate::cookie;
use crate::origin::{Origin, REFUSAL};
use axum::body::{Body, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tidewire_core::wire::codes;

/// Refuses requests beyond the rate limit. An error response closes the connection if the request's
/// body was not read.
pub(super) async fn budgets(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    request: Request,
    next: Next,
) -> Response {
    let client = app.proxies.client(remote.address.ip(), request.headers());
    let ticket = match app.address_limiter.request(client) {
        Ok(ticket) => ticket,
        Err(wait) => {
            let message = "too many requests from this address; wait a little";
            let error = HttpError::new(StatusCode::TOO_MANY_REQUESTS, codes::RATE_LIMITED, message);
            // A client that pipelines requests must connect again.
            return closing(error.after(wait).into_response());
        }
    };
    let read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let request = request.map(|inner| Body::new(Noted { inner, read: read.clone() }));
    let response = next.run(request).await;
    drop(ticket);
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && !read.load(Ordering::Relaxed) { closing(response) } else { response }
}

fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body that notes whether it was read to its end.
struct Noted {
    inner: Body,
    read: Arc<AtomicBool>,
}

impl HttpBody for Noted {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() || self.inner.is_end_stream() {
            self.read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Answers pre-flights, and refuses requests of pages from other origins. Their pre-flights
/// succeed, so that the page can read the refusal. Otherwise browsers show a network error, and a
/// client would try again for ever.
pub(super) async fn origins(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let from = app.origin_of(remote.address.ip(), request.headers());
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if from == Origin::Foreign {
        HttpError::new(StatusCode::FORBIDDEN, codes::ORIGIN_NOT_ALLOWED, REFUSAL).into_response()
    } else {
        next.run(request).await
    };
    if let (Origin::Listed | Origin::Open | Origin::Site | Origin::Foreign, Some(origin)) = (from, origin) {
        let headers = response.headers_mut();
        if from == Origin::Listed && app.config.cookie.is_some() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers
            .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, idempotency-key, last-event-id, tidewire-connection, tidewire-seq"),
        );
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Lets a request without `Authorization` use the cookie as its token.
pub(super) async fn cookies(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    mut request: Request,
    next: Next,
) -> Response {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        let given = cookie::credential(&app, remote.address.ip(), request.method(), request.headers());
        let value =
            given.map(|given| given.map(|token| HeaderValue::from_str(&format!("Bearer {}", token.0))));
        match value {
            Some(Ok(Ok(value))) => {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            Some(Ok(Err(_))) => return HttpError::from(cookie::malformed()).into_response(),
            Some(Err(error)) => return HttpError::from(error).into_response(),
            None => {}
        }
    }
    next.run(request).await
}
