//! Guest sessions: the server creates the user and the token, and this stores them, so that the
//! guest stays the same.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_rustls::rustls::ClientConfig;

use crate::token::{TokenError, TokenFuture, TokenProvider};
use crate::transport::{Endpoint, Unreachable};

/// The file's name in the store's folder.
const FILE: &str = "guest.json";
/// Longest response that is read, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long one request may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A provider of guest tokens, from the server's `/v1/guest` (protocol section 7).
///
/// Every call asks the server, because the client itself keeps a token while it is valid. The last
/// token is stored only to identify the guest.
pub struct GuestSession {
    endpoint: Endpoint,
    nickname: String,
    file: Option<PathBuf>,
    pass: Mutex<Option<Pass>>,
}

/// The stored session. It is sent only to the server that issued it.
#[derive(Serialize, Deserialize)]
struct Pass {
    server: String,
    token: String,
}

#[derive(Deserialize)]
struct Answer {
    token: String,
}

impl std::fmt::Debug for GuestSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuestSession")
    }
}

impl GuestSession {
    /// A guest of the server at `url` called `nickname` (1 to 40 characters), kept in `folder` if there is one. `None` when
    /// the address is not valid. `tls` is as in [`ClientOptions::tls`](crate::ClientOptions::tls).
    pub fn new(
        url: &str,
        nickname: &str,
        folder: Option<&Path>,
        tls: Option<std::sync::Arc<ClientConfig>>,
    ) -> Option<GuestSession> {
        Endpoint::parse(url, tls).map(|endpoint| GuestSession::at(endpoint, nickname, folder))
    }

    pub(crate) fn at(endpoint: Endpoint, nickname: &str, folder: Option<&Path>) -> GuestSession {
        let file = folder.map(|folder| folder.join(FILE));
        let kept = file.as_deref().and_then(read).filter(|pass| pass.server == endpoint.socket_url());
        GuestSession { endpoint, nickname: nickname.to_owned(), file, pass: Mutex::new(kept) }
    }

    async fn get(&self) -> Result<String, TokenError> {
        let mut kept = self.pass.lock().await;
        let old = kept.as_ref().map(|pass| pass.token.as_str());
        let answer = match self.ask(old).await {
            // The server does not know this guest, so it creates a new one.
            Err(Refusal { status: Some(StatusCode::UNAUTHORIZED), .. }) if old.is_some() => {
                self.ask(None).await
            }
            answer => answer,
        };
        let answer = answer.map_err(Refusal::into_token_error)?;
        let pass = Pass { server: self.endpoint.socket_url(), token: answer.token };
        if let Some(file) = self.file.as_deref()
            && let Err(error) = write(file, &pass)
        {
            // This run works without the file; the next one will be another guest.
            tracing::warn!(kind = ?error.kind(), "the guest's token could not be kept");
        }
        let token = pass.token.clone();
        *kept = Some(pass);
        Ok(token)
    }

    async fn ask(&self, old: Option<&str>) -> Result<Answer, Refusal> {
        let answer = tokio::time::timeout(PATIENCE, self.post(old)).await;
        let (status, retry_after, body) = answer.unwrap_or(Err(Unreachable::NoRoute))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| Unreachable::BadAnswer.into());
        }
        let said = serde_json::from_slice(&body).ok().map(|Refused { error }| error);
        Err(Refusal { status: Some(status), cause: Unreachable::Http(status.as_u16()), retry_after, said })
    }

    /// Makes one request. Returns the status, the seconds of `Retry-After`, and the body.
    async fn post(&self, old: Option<&str>) -> Result<(StatusCode, Option<u64>, Bytes), Unreachable> {
        let body = serde_json::json!({ "nickname": self.nickname }).to_string();
        let mut request = Request::post(self.endpoint.path("/v1/guest"))
            .header(HOST, self.endpoint.authority())
            .header(CONTENT_TYPE, "application/json");
        if let Some(old) = old {
            request = request.header(AUTHORIZATION, format!("Bearer {old}"));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| Unreachable::BadAnswer)?;
        let stream = TokioIo::new(self.endpoint.connect().await?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|_| Unreachable::BadAnswer)?;
        let talk = async {
            let response = sender.send_request(request).await.map_err(|_| Unreachable::BadAnswer)?;
            let status = response.status();
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|seconds| seconds.parse().ok());
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|_| Unreachable::BadAnswer)?;
            Ok((status, retry_after, body.to_bytes()))
        };
        tokio::pin!(talk, connection);
        // The connection's future moves the bytes. If it ends first, the rest of the response is
        // still read.
        tokio::select! {
            answer = &mut talk => answer,
            _ = &mut connection => talk.await,
        }
    }
}

/// Why there is no token: the server refused, or could not be reached.
struct Refusal {
    status: Option<StatusCode>,
    cause: Unreachable,
    /// In seconds.
    retry_after: Option<u64>,
    said: Option<Problem>,
}

/// The body of an HTTP error (protocol section 7).
#[derive(Deserialize)]
struct Refused {
    error: Problem,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
}

impl From<Unreachable> for Refusal {
    fn from(cause: Unreachable) -> Refusal {
        Refusal { status: None, cause, retry_after: None, said: None }
    }
}

impl Refusal {
    /// A refusal is final, unless the server is busy or the response is not from a Tidewire server.
    fn into_token_error(self) -> TokenError {
        let terminal = self.said.is_some()
            && self.status.is_some_and(|status| {
                status.is_client_error()
                    && !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::NOT_FOUND)
            });
        let (code, message) = match self.said {
            Some(Problem { code, message }) => (code, message),
            None => (self.cause.code().into_owned(), String::new()),
        };
        let retry_after_ms = self.retry_after.map(|seconds| seconds.saturating_mul(1_000));
        TokenError { terminal, retry_after_ms, ..TokenError::new(code, message) }
    }
}

impl TokenProvider for GuestSession {
    fn token(&self, _renew: bool) -> TokenFuture<'_> {
        Box::pin(self.get())
    }
}

fn read(file: &Path) -> Option<Pass> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Writes a file atomically, readable by its owner only.
fn write(file: &Path, pass: &Pass) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(&fresh)?;
    std::io::Write::write_all(&mut opened, &serde_json::to_vec(pass)?)?;
    opened.sync_all()?;
    std::fs::rename(fresh, file)
}
