//! Protocol section 4: answers that stream.

use crate::support::*;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidewire_server::config::ModelConfig;
use tidewire_server::responder::{ModelError, Responder, Role, Turn};
use tidewire_server::{Config, Server};

fn scripted(pace: u64) -> impl FnOnce(&mut Config) {
    move |config| config.model = ModelConfig::Scripted { pace: Duration::from_millis(pace) }
}

/// Reads pieces to the end of the run; returns their joined text and the `answer.end`.
async fn to_the_end(client: &mut Client, run: &Value, so_far: &str) -> (String, Value) {
    let mut text = so_far.to_owned();
    loop {
        let frame = client.next().await;
        if frame["t"] == "piece" && frame["run"] == *run {
            assert_eq!(frame["at"], text.len(), "a piece is missing");
            text.push_str(frame["text"].as_str().unwrap());
        } else if frame["kind"] == "answer.end" && frame["body"]["run"] == *run {
            return (text, frame);
        }
    }
}

#[tokio::test]
async fn a_message_is_answered_piece_by_piece_and_the_end_holds_it_all() {
    let server = start(scripted(10)).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    client.next_of("sub_ok").await;
    client.send(message(&id(), "count to 30")).await;
    let begin = client.event("answer.start").await;
    assert_eq!(begin["by"], json!({"id": "ai", "name": "Assistant", "kind": "ai"}));
    assert_eq!(begin["offset"], 2);
    let (pieces, end) = to_the_end(&mut client, &begin["body"]["run"], "").await;
    assert_eq!((&end["offset"], &end["body"]["status"]), (&json!(3), &json!("done")));
    let text = end["body"]["text"].as_str().unwrap();
    assert!(text.starts_with("1, 2, 3") && text.ends_with("30."), "{text}");
    assert!(text.starts_with(&pieces) && pieces.len() > 20, "{pieces}");
}

#[tokio::test]
async fn whoever_comes_in_the_middle_gets_the_text_so_far_and_then_the_rest() {
    let server = start(scripted(15)).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    ada.send(message(&id(), "count to 60")).await;
    let run = ada.event("answer.start").await["body"]["run"].clone();
    for _ in 0..3 {
        ada.next_of("piece").await;
    }
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    let sub = bob.next_of("sub_ok").await;
    assert_eq!(sub["runs"][0]["run"], run);
    let so_far = sub["runs"][0]["text"].as_str().unwrap();
    assert!(!so_far.is_empty());
    let (pieces, end) = to_the_end(&mut bob, &run, so_far).await;
    assert!(end["body"]["text"].as_str().unwrap().starts_with(&pieces));
}

#[tokio::test]
async fn anybody_who_sees_the_dialog_can_stop_the_answer() {
    let server = start(scripted(15)).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    ada.send(message(&id(), "tell me a long story")).await;
    let run = ada.event("answer.start").await["body"]["run"].clone();
    ada.next_of("piece").await;
    let cancel =
        json!({"t": "op", "id": id(), "ch": "dialog:room", "kind": "run.cancel", "body": {"run": run}});
    assert_eq!(bob.op(cancel.clone()).await["t"], "ok");
    ada.event("run.cancel").await;
    let end = ada.event("answer.end").await;
    assert_eq!((&end["body"]["status"], &end["body"]["run"]), (&json!("stopped"), &run));
    assert!(!end["body"]["text"].as_str().unwrap().is_empty());
    // The same op again is a duplicate; a new op finds no run.
    assert_eq!(bob.op(cancel.clone()).await["dup"], true);
    let mut late = cancel;
    late["id"] = json!(id());
    let nack = bob.op(late).await;
    assert_eq!((&nack["code"], &nack["retryable"]), (&json!("run_not_found"), &json!(false)));
    let bad = json!({"t": "op", "id": id(), "ch": "dialog:room", "kind": "run.cancel", "body": {}});
    assert_eq!(bob.op(bad).await["code"], "bad_body");
}

/// The operator gives the dialog back to the model.
fn release() -> Value {
    json!({"t": "op", "id": id(), "ch": "dialog:room", "kind": "handoff", "body": {"step": "release"}})
}

#[tokio::test]
async fn an_operators_message_starts_no_answer() {
    let server = start(scripted(0)).await;
    let mut client = Client::connect(server.address).await;
    client.hello(&operator("op"), json!([{"ch": "dialog:room"}])).await;
    assert_eq!(client.say("I take over").await["offset"], 1);
    let mut ada = server.client("ada", json!([])).await;
    assert_eq!(ada.say("hello").await["offset"], 2, "no answer came in between");
    assert_eq!(client.op(release()).await["offset"], 3, "nor for a visitor whom the operator answers");
    assert_eq!(ada.say("hello again").await["offset"], 4);
    assert_eq!(client.event("answer.start").await["offset"], 5);
}

/// Records the turns that it is given, and answers only when released.
struct Held {
    asked: Mutex<Vec<Vec<Turn>>>,
    gate: tokio::sync::Semaphore,
    end: Option<ModelError>,
}

impl Held {
    fn new(end: Option<ModelError>) -> Arc<Held> {
        Arc::new(Held { asked: Mutex::default(), gate: tokio::sync::Semaphore::new(0), end })
    }
}

struct Shared(Arc<Held>);

impl Responder for Shared {
    fn answer(&self, turns: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>> {
        self.0.asked.lock().unwrap().push(turns);
        let held = self.0.clone();
        stream::once(async move {
            held.gate.acquire().await.unwrap().forget();
            stream::iter([Ok("half ".to_owned())].into_iter().chain([match held.end {
                Some(error) => Err(error),
                None => Ok("and whole".to_owned()),
            }]))
        })
        .flatten()
        .boxed()
    }
}

async fn start_held(held: &Arc<Held>) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let responder: Arc<dyn Responder> = Arc::new(Shared(held.clone()));
    (Server::start_with(config(&folder), Some(responder)).await.unwrap(), folder)
}

#[tokio::test]
async fn messages_during_an_answer_get_one_answer_together_afterwards() {
    let held = Held::new(None);
    let (server, _folder) = start_held(&held).await;
    let mut op = Client::connect(server.address()).await;
    op.hello(&operator("olga"), json!([])).await;
    op.say("I was here before").await;
    op.op(release()).await;
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&token("ada", json!({})), json!([{"ch": "dialog:room"}])).await;
    ada.say("first").await;
    ada.event("answer.start").await;
    ada.say("second").await;
    ada.say("third").await;
    held.gate.add_permits(2);
    assert_eq!(ada.event("answer.end").await["body"]["text"], "half and whole");
    ada.event("answer.start").await;
    let end = ada.event("answer.end").await;
    assert_eq!(end["offset"], 9);
    let asked = held.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    let second: Vec<(Role, &str)> = asked[1].iter().map(|turn| (turn.role, turn.text.as_str())).collect();
    assert_eq!(
        second,
        [
            (Role::Operator, "I was here before"),
            (Role::User, "first"),
            (Role::Assistant, "half and whole"),
            (Role::User, "second"),
            (Role::User, "third"),
        ]
    );
}

#[tokio::test]
async fn a_model_that_fails_ends_the_answer_with_its_code_and_what_there_was() {
    let held = Held::new(Some(ModelError::Cut));
    held.gate.add_permits(1);
    let (server, _folder) = start_held(&held).await;
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&token("ada", json!({})), json!([{"ch": "dialog:room"}])).await;
    ada.say("hello").await;
    let end = ada.event("answer.end").await;
    assert_eq!(end["body"]["status"], "error");
    assert_eq!((&end["body"]["code"], &end["body"]["text"]), (&json!("model_cut"), &json!("half ")));
}

struct Broken;

impl Responder for Broken {
    fn answer(&self, _: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>> {
        stream::once(async { Ok("before ".to_owned()) })
            .chain(stream::once(async { panic!("a fault of the responder") }))
            .boxed()
    }
}

#[tokio::test]
async fn a_fault_in_a_responder_ends_its_answer_and_the_next_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(&folder), Some(Arc::new(Broken))).await.unwrap();
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&token("ada", json!({})), json!([{"ch": "dialog:room"}])).await;
    for _ in 0..2 {
        ada.send(message(&id(), "hello")).await;
        let end = ada.event("answer.end").await;
        assert_eq!(
            (&end["body"]["status"], &end["body"]["code"]),
            (&json!("error"), &json!("model_bad_response"))
        );
        assert_eq!(end["body"]["text"], "before ");
    }
}

#[tokio::test]
async fn a_drain_ends_answers_as_interrupted_before_the_close() {
    let server = start(scripted(20)).await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    ada.send(message(&id(), "tell me a long story")).await;
    ada.next_of("piece").await;
    let drain = tokio::spawn(server.server.drain());
    let end = ada.event("answer.end").await;
    assert_eq!(end["body"]["status"], "interrupted");
    assert_eq!(ada.refusal().await, (String::new(), 4000));
    drain.await.unwrap();
}
