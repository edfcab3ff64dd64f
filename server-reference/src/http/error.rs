//! Error responses of the endpoints.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::borrow::Cow;
use tidewire_core::wire::codes;
use tidewire_server_core::AuthError;
use tidewire_server_core::store::StoreError;

/// When to retry if nothing more exact is known, in ms.
const RETRY_MS: u64 = 1_000;
/// Longest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 16 * 1024;
/// Longest body of a request that writes a session, in bytes.
pub(super) const MAX_SESSION: usize = 256 * 1024;

/// An error response: `{"error": {"code", "message"}}` with a status.
pub(crate) struct HttpError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    retry_after_ms: Option<u64>,
}

impl HttpError {
    /// An error. It says when to retry if the status means that a retry may succeed.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> HttpError {
        let later = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        HttpError {
            status,
            code: code.into(),
            message: message.into(),
            retry_after_ms: later.then_some(RETRY_MS),
        }
    }

    /// The error for a code of a frame (protocol section 9).
    pub(super) fn of_code(code: &str, message: &str) -> HttpError {
        let status = match code {
            codes::UNAUTHORIZED | codes::TOKEN_EXPIRED => StatusCode::UNAUTHORIZED,
            codes::FORBIDDEN | codes::PEOPLE_OFF | codes::ORIGIN_NOT_ALLOWED => StatusCode::FORBIDDEN,
            codes::RUN_NOT_FOUND => StatusCode::NOT_FOUND,
            codes::OP_ID_REUSED | codes::BLOCKED | codes::TOO_MANY_LEASES => StatusCode::CONFLICT,
            codes::TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            codes::RATE_LIMITED => StatusCode::TOO_MANY_REQUESTS,
            codes::STORAGE_FULL
            | codes::STORE_UNAVAILABLE
            | codes::TOO_MANY_CONNECTIONS
            | codes::GOAWAY
            | codes::SLOW_CONSUMER
            | codes::KICKED
            | codes::PING_TIMEOUT => StatusCode::SERVICE_UNAVAILABLE,
            codes::INTERNAL => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        HttpError { code: code.to_owned().into(), ..HttpError::new(status, codes::INTERNAL, message) }
    }

    /// Sets when to retry, if that is known, in ms.
    pub(super) fn after_if(self, wait_ms: Option<u64>) -> HttpError {
        HttpError { retry_after_ms: wait_ms.or(self.retry_after_ms), ..self }
    }

    /// Sets when to retry, in ms.
    pub(crate) fn after(self, wait_ms: u64) -> HttpError {
        HttpError { retry_after_ms: Some(wait_ms), ..self }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(wait) = self.retry_after_ms {
            error["retry_after_ms"] = wait.into();
        }
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        if let Some(wait) = self.retry_after_ms {
            // Whole seconds (RFC 9110 section 10.2.3).
            response.headers_mut().insert(header::RETRY_AFTER, wait.div_ceil(1000).max(1).into());
        }
        response
    }
}

impl From<BytesRejection> for HttpError {
    fn from(error: BytesRejection) -> HttpError {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message =
                    format!("a body may have at most {MAX_BODY} bytes, and that of a session {MAX_SESSION}");
                HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, message)
            }
            _ => bad_request("the body could not be read"),
        }
    }
}

impl From<AuthError> for HttpError {
    fn from(error: AuthError) -> HttpError {
        let status = match error {
            AuthError::ForeignCookie | AuthError::ForeignPage => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        HttpError::new(status, error.code(), error.to_string())
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> HttpError {
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string())
    }
}

pub(crate) fn bad_request(message: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, message)
}

pub(crate) fn too_many(message: &str, wait_ms: u64) -> HttpError {
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, codes::RATE_LIMITED, message).after(wait_ms)
}

pub(crate) fn draining() -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, codes::GOAWAY, "the server is about to stop")
}
