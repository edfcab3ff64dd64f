//! A model behind an OpenAI-compatible server: `POST {url}/chat/completions` with `stream: true`.

use super::joined::Joined;
use super::{ModelError, Responder, Role, Turn};
use crate::config::OpenAiConfig;
use bytes::Bytes;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest response, in bytes. It limits the memory for a server that sends no line ends.
const MAX_RESPONSE: usize = 8 << 20;
/// The byte order mark, with which some servers begin the response or every event.
const BOM: char = '\u{feff}';
/// The same in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Pause before the single retry if the server gives no time.
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

/// Sends the request, and once more if the model asks to try later.
async fn open(client: Client, config: Arc<OpenAiConfig>, turns: Vec<Turn>) -> Result<Reading, ModelError> {
    let deadline = Instant::now() + config.total;
    let url = format!("{}/chat/completions", config.url.trim_end_matches('/'));
    let body = request_body(&config, &turns);
    let mut retried = false;
    loop {
        let mut request = client.post(&url).header(header::ACCEPT, "text/event-stream").json(&body);
        // Some proxies compress the response anyway; it is decoded, but its parts are delayed.
        request = request.header(header::ACCEPT_ENCODING, "identity");
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
            // For the model, operators who answer have its own role.
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
    // Some servers leave the content type out; a JSON document is certainly no stream.
    match kind {
        Some(kind) if kind.starts_with("application/json") || kind.starts_with("text/html") => {
            Err(ModelError::BadResponse)
        }
        _ => Ok(()),
    }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3; the form with a date is not used by such
/// servers).
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Why the response ended.
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
    text: Joined,
}

/// The members of a chunk that are used. Servers write null for members without a value.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    error: Option<serde_json::Value>,
    /// vLLM sends an `error` object within a stream.
    object: Option<String>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    /// Kept as raw JSON, because it may contain half of a surrogate pair.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    /// A refusal in the model's words, shown as its answer.
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
}

impl Reading {
    fn new(response: Response, idle: Duration, deadline: Instant) -> Reading {
        let (mut left, mut begun) = (MAX_RESPONSE, Vec::new());
        let mut beginning = true;
        let bytes = response.bytes_stream().map(move |part| -> Result<Bytes, Broken> {
            let part =
                part.map_err(|error| if error.is_timeout() { Broken::Timeout } else { Broken::Cut })?;
            left = left.checked_sub(part.len()).ok_or(Broken::TooLong)?;
            if !beginning {
                return Ok(part);
            }
            // The library does not accept a byte order mark, which may be split too.
            begun.extend_from_slice(&part);
            if begun.len() < MARK.len() && MARK.starts_with(&begun) {
                return Ok(Bytes::new());
            }
            beginning = false;
            let begun = Bytes::from(std::mem::take(&mut begun));
            Ok(if begun.starts_with(MARK) { begun.slice(MARK.len()..) } else { begun })
        });
        Reading {
            events: bytes.eventsource().boxed(),
            idle,
            deadline,
            finished: false,
            text: Joined::default(),
        }
    }

    /// The next text; `None` after a complete response.
    async fn next_text(&mut self) -> Result<Option<String>, ModelError> {
        loop {
            let until = (Instant::now() + self.idle).min(self.deadline);
            let event = match timeout_at(until, self.events.next()).await {
                Err(_) => return Err(ModelError::Timeout),
                Ok(None) if self.finished => return Ok(self.text.finish()),
                Ok(None) => return Err(ModelError::Cut),
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(EventStreamError::Transport(Broken::Timeout)))) => {
                    return Err(ModelError::Timeout);
                }
                Ok(Some(Err(EventStreamError::Transport(Broken::Cut)))) if self.finished => {
                    return Ok(self.text.finish());
                }
                Ok(Some(Err(EventStreamError::Transport(Broken::Cut)))) => return Err(ModelError::Cut),
                Ok(Some(Err(_))) => return Err(ModelError::BadResponse),
            };
            let data = event.data.trim_matches(|c: char| c.is_whitespace() || c == BOM);
            match data {
                // Some servers keep the connection alive with this.
                "" => continue,
                "[DONE]" => return Ok(self.text.finish()),
                _ => {}
            }
            let chunk: Chunk<'_> = serde_json::from_str(data).map_err(|_| ModelError::BadResponse)?;
            if let Some(error) = &chunk.error {
                return Err(fault(error));
            }
            if event.event == "error" || chunk.object.as_deref() == Some("error") {
                return Err(ModelError::Unavailable);
            }
            let choices = chunk.choices.unwrap_or_default();
            let Some(choice) = choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0) else {
                continue;
            };
            // Some servers write an empty reason while there is none.
            self.finished |= choice.finish_reason.is_some_and(|reason| !reason.is_empty());
            let Some(Delta { content, refusal }) = choice.delta else { continue };
            let mut text = String::new();
            for part in [content, refusal].into_iter().flatten() {
                self.text.add(part, &mut text).map_err(|_| ModelError::BadResponse)?;
            }
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }
}

/// What an error in the stream means; its code is a status, if it has one.
fn fault(error: &serde_json::Value) -> ModelError {
    let code = error.get("code").or_else(|| error.get("status"));
    match code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok())) {
        Some(401 | 403) => ModelError::Unauthorized,
        Some(429) => ModelError::RateLimited,
        Some(408 | 504) => ModelError::Timeout,
        _ => ModelError::Unavailable,
    }
}
