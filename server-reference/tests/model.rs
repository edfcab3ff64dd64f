//! The client of an OpenAI-compatible model, against a server of the test's own that speaks raw HTTP.

#![allow(clippy::unwrap_used)]

use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewire_server::config::OpenAiConfig;
use tidewire_server::responder::{ModelError, OpenAi, Responder, Role, Turn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// What the model's server does with a request.
#[derive(Clone)]
enum Play {
    /// Sends these parts, then closes.
    Send(Vec<String>),
    /// Sends these parts, then nothing more, and never closes.
    Hang(Vec<String>),
}

struct Model {
    url: String,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    /// Fires when a client closes a connection that hangs.
    closed: Arc<tokio::sync::Notify>,
}

/// Plays one play for each request; the last one again and again.
async fn model(plays: Vec<Play>) -> Model {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let requests: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let closed = Arc::new(tokio::sync::Notify::new());
    let (noted, told) = (requests.clone(), closed.clone());
    tokio::spawn(async move {
        let mut served = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let play = plays[served.min(plays.len() - 1)].clone();
            served += 1;
            tokio::spawn(serve(stream, play, noted.clone(), told.clone()));
        }
    });
    Model { url, requests, closed }
}

async fn serve(
    mut stream: TcpStream,
    play: Play,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    closed: Arc<tokio::sync::Notify>,
) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let (head, body) = loop {
        let count = stream.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str::<Value>(body)
        {
            break (head.to_lowercase(), body);
        }
        assert!(count > 0, "the request was cut");
    };
    requests.lock().unwrap().push((head, body));
    let (parts, hang) = match play {
        Play::Send(parts) => (parts, false),
        Play::Hang(parts) => (parts, true),
    };
    for part in parts {
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if hang {
        while matches!(stream.read(&mut part).await, Ok(1..)) {}
        closed.notify_one();
    }
}

fn chunk(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
    )
}

fn finish() -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
}

fn stream_of(parts: &[String]) -> Vec<String> {
    [&[STREAM.to_owned()], parts].concat()
}

fn refusal(status: &str) -> Vec<String> {
    vec![format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    )]
}

fn client(url: &str) -> OpenAi {
    let mut config = OpenAiConfig::new(url, "a-model");
    config.key = Some("a-key".to_owned());
    config.system = Some("be kind".to_owned());
    config.connect = Duration::from_millis(500);
    config.first_byte = Duration::from_millis(500);
    config.idle = Duration::from_millis(300);
    config.total = Duration::from_secs(3);
    config.longest_retry = Duration::from_secs(2);
    OpenAi::new(config).unwrap()
}

fn turns() -> Vec<Turn> {
    [(Role::User, "hello"), (Role::Assistant, "hi"), (Role::Operator, "I am Olga"), (Role::User, "thanks")]
        .map(|(role, text)| Turn { role, name: "x".to_owned(), text: text.to_owned() })
        .to_vec()
}

/// The text that came, and the error, if one ended it.
async fn ask(model: &Model) -> (String, Option<ModelError>) {
    let mut stream = client(&model.url).answer(turns());
    let mut text = String::new();
    while let Some(part) = timeout(Duration::from_secs(10), stream.next()).await.unwrap() {
        match part {
            Ok(part) => text.push_str(&part),
            Err(error) => return (text, Some(error)),
        }
    }
    (text, None)
}

#[tokio::test]
async fn an_answer_streams_and_the_request_is_what_the_model_expects() {
    let parts = [
        chunk("Hé"),
        ": a comment\n\n".to_owned(),
        chunk("llo "),
        chunk(""),
        chunk("there"),
        finish(),
        "data: [DONE]\n\n".to_owned(),
    ];
    let model = model(vec![Play::Send(stream_of(&parts))]).await;
    assert_eq!(ask(&model).await, ("Héllo there".to_owned(), None));
    let requests = model.requests.lock().unwrap();
    let (head, body) = &requests[0];
    assert!(head.starts_with("post /v1/chat/completions ") && head.contains("authorization: bearer a-key"));
    assert_eq!((&body["model"], &body["stream"]), (&json!("a-model"), &json!(true)));
    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "assistant", "user"]);
}

#[tokio::test]
async fn chunks_may_be_cut_anywhere_even_within_a_character() {
    let whole = chunk("Grüße 🌊") + &finish() + "data: [DONE]\n\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut part = [0; 4096];
        let _ = stream.read(&mut part).await.unwrap();
        stream.write_all(STREAM.as_bytes()).await.unwrap();
        for byte in whole.into_bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut stream = client(&url).answer(turns());
    let mut text = String::new();
    while let Some(part) = stream.next().await {
        text.push_str(&part.unwrap());
    }
    assert_eq!(text, "Grüße 🌊");
}

#[tokio::test]
async fn an_answer_without_done_is_complete_once_a_reason_was_given() {
    let model = model(vec![Play::Send(stream_of(&[chunk("all of it"), finish()]))]).await;
    assert_eq!(ask(&model).await, ("all of it".to_owned(), None));
}

#[tokio::test]
async fn a_cut_stream_keeps_what_came() {
    let model = model(vec![Play::Send(stream_of(&[chunk("half of")]))]).await;
    assert_eq!(ask(&model).await, ("half of".to_owned(), Some(ModelError::Cut)));
}

#[tokio::test]
async fn a_model_that_falls_silent_runs_into_the_idle_time() {
    let model = model(vec![Play::Hang(stream_of(&[chunk("wait")]))]).await;
    let begun = Instant::now();
    assert_eq!(ask(&model).await, ("wait".to_owned(), Some(ModelError::Timeout)));
    assert!(begun.elapsed() < Duration::from_secs(2));
    timeout(Duration::from_secs(5), model.closed.notified()).await.expect("the connection was kept");
}

#[tokio::test]
async fn a_model_that_never_begins_runs_into_the_first_byte_time() {
    let model = model(vec![Play::Hang(Vec::new())]).await;
    assert_eq!(ask(&model).await, (String::new(), Some(ModelError::Timeout)));
}

#[tokio::test]
async fn a_model_that_drips_for_ever_runs_into_the_total_time() {
    let parts: Vec<String> = (0..2_000).map(|_| chunk("x")).collect();
    let model = model(vec![Play::Hang(stream_of(&parts))]).await;
    let begun = Instant::now();
    assert_eq!(ask(&model).await.1, Some(ModelError::Timeout));
    assert!((2..6).contains(&begun.elapsed().as_secs()));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, error) in [
        ("401 Unauthorized", ModelError::Unauthorized),
        ("403 Forbidden", ModelError::Unauthorized),
        ("500 Internal Server Error", ModelError::Unavailable),
        ("503 Service Unavailable", ModelError::Unavailable),
        ("404 Not Found", ModelError::BadResponse),
        ("200 OK", ModelError::BadResponse),
    ] {
        let model = model(vec![Play::Send(refusal(status))]).await;
        assert_eq!(ask(&model).await, (String::new(), Some(error)), "{status}");
        assert_eq!(model.requests.lock().unwrap().len(), 1, "{status} is not tried again");
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_reached_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut stream = client(&url).answer(turns());
    assert_eq!(stream.next().await, Some(Err(ModelError::Unavailable)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn too_many_requests_are_tried_once_more_after_the_time_the_server_says() {
    let busy = |seconds: u64| {
        Play::Send(vec![format!(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )])
    };
    let fine = Play::Send(stream_of(&[chunk("now"), "data: [DONE]\n\n".to_owned()]));
    let patient = model(vec![busy(1), fine]).await;
    let begun = Instant::now();
    assert_eq!(ask(&patient).await, ("now".to_owned(), None));
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let stubborn = model(vec![busy(0)]).await;
    assert_eq!(ask(&stubborn).await.1, Some(ModelError::RateLimited));
    assert_eq!(stubborn.requests.lock().unwrap().len(), 2);

    let long = model(vec![busy(3600)]).await;
    assert_eq!(ask(&long).await.1, Some(ModelError::RateLimited));
    assert_eq!(long.requests.lock().unwrap().len(), 1, "an hour is not waited for");
}

#[tokio::test]
async fn malformed_events_are_a_bad_response() {
    for event in ["data: not json\n\n", "data: {\"choices\":7}\n\n", "data: \n\n"] {
        let model = model(vec![Play::Send(stream_of(&[chunk("so far"), event.to_owned()]))]).await;
        let (text, error) = ask(&model).await;
        assert_eq!(text, "so far");
        assert!(matches!(error, Some(ModelError::BadResponse)), "{event}: {error:?}");
    }
    let broken = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n".to_owned();
    let model = model(vec![Play::Send(stream_of(&[broken]))]).await;
    assert_eq!(ask(&model).await.1, Some(ModelError::Unavailable));
}

#[tokio::test]
async fn cancelling_closes_the_connection_to_the_model() {
    let model = model(vec![Play::Hang(stream_of(&[chunk("word")]))]).await;
    let mut stream = client(&model.url).answer(turns());
    assert_eq!(stream.next().await, Some(Ok("word".to_owned())));
    drop(stream);
    timeout(Duration::from_secs(2), model.closed.notified()).await.expect("the connection was kept");
}
