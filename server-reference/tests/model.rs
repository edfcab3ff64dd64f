//! The client of an OpenAI-compatible model, against a test server that speaks raw HTTP.

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

/// What the test server does with a request.
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
    /// Notified when a client closes a connection that hangs.
    closed: Arc<tokio::sync::Notify>,
}

/// Plays one play for each request, and repeats the last one.
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

/// The text that was received, and the error if one ended it.
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
    for event in [
        "data: not json\n\n",
        "data: {\"choices\":7}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n",
    ] {
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

/// Asks a test server that sends these bytes, `at_once` at a time.
async fn sends(head: String, body: Vec<u8>, at_once: usize) -> (String, Option<ModelError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 8192]).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        for part in body.chunks(at_once) {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut stream = client(&url).answer(turns());
    let mut text = String::new();
    while let Some(part) = timeout(Duration::from_secs(10), stream.next()).await.unwrap() {
        match part {
            Ok(part) => text.push_str(&part),
            Err(error) => return (text, Some(error)),
        }
    }
    (text, None)
}

/// What various OpenAI-compatible servers send, and the text that it stands for.
const STREAMS: &[(&str, &str, &str)] = &[
    (
        "OpenAI: a role first, usage last",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
         data: {\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
    (
        "OpenAI: a refusal",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":null,\"refusal\":\"I can\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"not.\"}}]}\n\ndata: [DONE]\n\n",
        "I cannot.",
    ),
    (
        "Azure: filter results without choices, a last delta that is null",
        "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"content_filter_results\":{}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":null,\"finish_reason\":\"stop\",\"content_filter_offsets\":{}}]}\n\n\
         data: {\"choices\":null}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
    (
        "vLLM: reasoning beside the text, an empty reason, a stop reason",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\",\"content\":null},\"finish_reason\":\"\"}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"\",\"stop_reason\":null}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\"},\"finish_reason\":\"length\"}]}\n\n\
         data: {\"choices\":[]}\n\ndata: [DONE]\n\n",
        "Hi!",
    ),
    (
        "llama.cpp: content null, timings, no space after the colon",
        "data:{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n\
         data:{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
         data:{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"timings\":{\"predicted_n\":1}}\n\ndata:[DONE]\n\n",
        "Hi",
    ),
    (
        "Ollama: the whole of a delta each time, no blank at the end",
        "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"H\"},\"finish_reason\":null}]}\n\n\
         data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"i\"},\"finish_reason\":null}]}\n\n\
         data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
    (
        "OpenRouter: comments while it works, also right before data",
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n:\n: x\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
         : OPENROUTER PROCESSING\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"error\":null}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
    (
        "Mistral: content in parts",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]}]}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}}]}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
    (
        "half a character in each of two deltas",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"sea \\ud83c\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\udf0a!\"}}]}\n\ndata: [DONE]\n\n",
        "sea \u{1f30a}!",
    ),
    (
        "half a character at the end",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"sea \\ud83c\"},\"finish_reason\":\"length\"}]}\n\n",
        "sea \u{fffd}",
    ),
    (
        "a mark of the byte order, at the start and before an event",
        "\u{feff}data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
         data: \u{feff}{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\"}}]}\n\ndata: [DONE]\n\n",
        "Hi!",
    ),
    (
        "data that is empty, events that are named, ids and times",
        "data:\n\ndata: \n\nevent: message\nid: 1\nretry: 10\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
    (
        "line ends of other systems",
        ": x\r\n\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\r\n\r\ndata: {\"choices\":\r\ndata: [{\"index\":0,\"delta\":{\"content\":\"!\"}}]}\r\n\r\ndata: [DONE]\r\n\r\n",
        "Hi!",
    ),
    (
        "several choices, of which the first is the answer",
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}},{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
         data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        "Hi",
    ),
];

#[tokio::test]
async fn streams_are_read_as_their_servers_mean_them_wherever_they_are_cut() {
    for (name, body, text) in STREAMS {
        for at_once in [usize::MAX, 1, 7] {
            let found = sends(STREAM.to_owned(), body.as_bytes().to_vec(), at_once).await;
            assert_eq!(found, ((*text).to_owned(), None), "{name}, {at_once} bytes at once");
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_is_read() {
    // `gzip` of: data: {"choices":[{"index":0,"delta":{"content":"pressed"}}]}, then [DONE].
    let packed: Vec<u8> = PACKED
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect();
    let head = STREAM.replace("connection: close", "content-encoding: gzip\r\nconnection: close");
    for at_once in [usize::MAX, 1] {
        let found = sends(head.clone(), packed.clone(), at_once).await;
        assert_eq!(found, ("pressed".to_owned(), None));
    }
}

const PACKED: &str = "1f8b08000000000002034b492c49b452a8564acec8cf4c4e2d56b28aae56cacc4b49ad50b232d0514a49cd294954b2024ae7e795a4e6952859291514a51617a7a628d5d6c6d67271a580b547bbf8fbb9c672710100b3bfe1294d000000";

#[tokio::test]
async fn errors_within_a_stream_are_told_apart() {
    for (event, error) in [
        ("data: {\"error\":{\"code\":429,\"message\":\"slow down\"}}\n\n", ModelError::RateLimited),
        ("data: {\"error\":{\"code\":\"401\"}}\n\n", ModelError::Unauthorized),
        (
            "data: {\"error\":{\"code\":502},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
            ModelError::Unavailable,
        ),
        ("data: {\"error\":\"overloaded\"}\n\n", ModelError::Unavailable),
        ("data: {\"object\":\"error\",\"message\":\"x\",\"code\":400}\n\n", ModelError::Unavailable),
        ("event: error\ndata: {\"message\":\"x\"}\n\n", ModelError::Unavailable),
    ] {
        let body = chunk("so far") + event;
        let found = sends(STREAM.to_owned(), body.into_bytes(), usize::MAX).await;
        assert_eq!(found, ("so far".to_owned(), Some(error)), "{event}");
    }
}
