//! A model behind an OpenAI-compatible server: `POST {url}/chat/completions` with `stream: true`.

use super::{ModelError, Responder, Role, Turn};
use crate::config::OpenAiConfig;
use bytes::Bytes;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest response, in bytes; it bounds what a server without line ends makes us hold.
const MAX_RESPONSE: usize = 8 << 20;
/// Waited before the one retry when the server says no time.
const RETRY: Duration = Duration::from_secs(1);

/// The client of such a server.
pub struct OpenAi {
    client: Client,
    config: Arc<OpenAiConfig>,
}

impl OpenAi {
    /// Prepares a client; nothing is dialled yet.
    pub fn new(config: OpenAiConfig) -> Result<OpenAi, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(config.connect)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(OpenAi { client, config: Arc::new(config) })
    }
}

impl Responder for OpenAi {
    fn answer(&self, turns: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>> {
        let opening = open(self.client.clone(), self.config.clone(), turns);
        stream::unfold(Stage::Opening(Box::pin(opening)), advance).boxed()
    }
}

/// Dropping any stage drops the request, and with it the connection to the model.
enum Stage {
    Opening(BoxFuture<'static, Result<Reading, ModelError>>),
    Reading(Reading),
    Ended,
}

async fn advance(mut stage: Stage) -> Option<(Result<String, ModelError>, Stage)> {
    loop {
        stage = match stage {
            Stage::Opening(opening) => match opening.await {
                Ok(reading) => Stage::Reading(reading),
                Err(error) => return Some((Err(error), Stage::Ended)),
            },
            Stage::Reading(mut reading) => match reading.next_text().await {
                Ok(Some(text)) => return Some((Ok(text), Stage::Reading(reading))),
                Ok(None) => return None,
                Err(error) => return Some((Err(error), Stage::Ended)),
            },
            Stage::Ended => return None,
        };
    }
}

/// Sends the request, a second time when the model asks for patience.
async fn open(client: Client, config: Arc<OpenAiConfig>, turns: Vec<Turn>) -> Result<Reading, ModelError> {
    let deadline = Instant::now() + config.total;
    let url = format!("{}/chat/completions", config.url.trim_end_matches('/'));
    let body = request_body(&config, &turns);
    let mut retried = false;
    loop {
        let mut request = client.post(&url).header(header::ACCEPT, "text/event-stream").json(&body);
        if let Some(key) = &config.key {
            request = request.bearer_auth(key);
        }
        let response = match timeout(config.first_byte, request.send()).await {
            Err(_) => return Err(ModelError::Timeout),
            Ok(Err(error)) if error.is_timeout() => return Err(ModelError::Timeout),
            Ok(Err(_)) => return Err(ModelError::Unavailable),
            Ok(Ok(response)) => response,
        };
        match check(&response) {
            Ok(()) => return Ok(Reading::new(response, config.idle, deadline)),
            Err(ModelError::RateLimited) if !retried => {
                let wait = retry_after(&response).unwrap_or(RETRY);
                if wait > config.longest_retry || Instant::now() + wait > deadline {
                    return Err(ModelError::RateLimited);
                }
                retried = true;
                drop(response);
                tokio::time::sleep(wait).await;
            }
            Err(error) => {
                tracing::warn!(status = response.status().as_u16(), code = error.code(), "the model refused");
                return Err(error);
            }
        }
    }
}

fn request_body(config: &OpenAiConfig, turns: &[Turn]) -> serde_json::Value {
    let system = config.system.iter().map(|text| serde_json::json!({"role": "system", "content": text}));
    let turns = turns.iter().map(|turn| {
        let role = match turn.role {
            // For the model, who answers is one party, whether a human or a model wrote the words.
            Role::Operator | Role::Assistant => "assistant",
            _ => "user",
        };
        serde_json::json!({"role": role, "content": turn.text})
    });
    let messages: Vec<serde_json::Value> = system.chain(turns).collect();
    serde_json::json!({"model": config.name, "stream": true, "messages": messages})
}

fn check(response: &Response) -> Result<(), ModelError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(ModelError::Unauthorized),
        StatusCode::TOO_MANY_REQUESTS => return Err(ModelError::RateLimited),
        StatusCode::REQUEST_TIMEOUT => return Err(ModelError::Timeout),
        status if status.is_server_error() => return Err(ModelError::Unavailable),
        _ => return Err(ModelError::BadResponse),
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // Some servers leave the type out; a document is no stream for certain.
    match kind {
        Some(kind) if kind.starts_with("application/json") || kind.starts_with("text/html") => {
            Err(ModelError::BadResponse)
        }
        _ => Ok(()),
    }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3; the form with a date is not used by such servers).
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Why the bytes ended.
#[derive(Debug)]
enum Broken {
    Timeout,
    Cut,
    TooLong,
}

type Events = BoxStream<'static, Result<Event, EventStreamError<Broken>>>;

struct Reading {
    events: Events,
    idle: Duration,
    deadline: Instant,
    /// A `finish_reason` was seen: the text is complete even if `[DONE]` is missing.
    finished: bool,
}

/// The parts of a chunk that matter here.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Delta {
    content: Option<String>,
}

impl Reading {
    fn new(response: Response, idle: Duration, deadline: Instant) -> Reading {
        let mut left = MAX_RESPONSE;
        let bytes = response.bytes_stream().map(move |part| -> Result<Bytes, Broken> {
            let part =
                part.map_err(|error| if error.is_timeout() { Broken::Timeout } else { Broken::Cut })?;
            left = left.checked_sub(part.len()).ok_or(Broken::TooLong)?;
            Ok(part)
        });
        Reading { events: bytes.eventsource().boxed(), idle, deadline, finished: false }
    }

    /// The next text; none at a proper end.
    async fn next_text(&mut self) -> Result<Option<String>, ModelError> {
        loop {
            let until = (Instant::now() + self.idle).min(self.deadline);
            let event = match timeout_at(until, self.events.next()).await {
                Err(_) => return Err(ModelError::Timeout),
                Ok(None) if self.finished => return Ok(None),
                Ok(None) => return Err(ModelError::Cut),
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(EventStreamError::Transport(Broken::Timeout)))) => {
                    return Err(ModelError::Timeout);
                }
                Ok(Some(Err(EventStreamError::Transport(Broken::Cut)))) if self.finished => return Ok(None),
                Ok(Some(Err(EventStreamError::Transport(Broken::Cut)))) => return Err(ModelError::Cut),
                Ok(Some(Err(_))) => return Err(ModelError::BadResponse),
            };
            if event.data.trim() == "[DONE]" {
                return Ok(None);
            }
            let chunk: Chunk = serde_json::from_str(&event.data).map_err(|_| ModelError::BadResponse)?;
            if chunk.error.is_some() {
                return Err(ModelError::Unavailable);
            }
            let Some(choice) = chunk.choices.into_iter().next() else { continue };
            self.finished |= choice.finish_reason.is_some();
            if let Some(text) = choice.delta.content.filter(|text| !text.is_empty()) {
                return Ok(Some(text));
            }
        }
    }
}
