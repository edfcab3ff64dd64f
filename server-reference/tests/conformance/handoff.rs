//! Hand-off: who answers in a dialog (protocol section 3, `handoff`).

use crate::support::*;
use serde_json::{Value, json};
use std::time::Duration;
use tidewire_server::Config;
use tidewire_server::config::{ModelConfig, Pattern, Rule, Who};

const ROOM: &str = "dialog:room";

fn scripted(pace: u64) -> impl FnOnce(&mut Config) {
    move |config| config.model = ModelConfig::Scripted { pace: Duration::from_millis(pace) }
}

fn step(body: Value) -> Value {
    json!({"t": "op", "id": id(), "ch": ROOM, "kind": "handoff", "body": body})
}

async fn staff(server: &TestServer, name: &str) -> (Client, Value) {
    let mut client = Client::connect(server.address).await;
    client.hello(&operator(name), json!([{"ch": ROOM}])).await;
    let sub = client.next_of("sub_ok").await;
    (client, sub)
}

async fn queue(server: &TestServer, token: &str) -> (u16, Value) {
    let head = format!(
        "GET /v1/queue HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let (status, _, body) = request(server.address, &head).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// Whether the model begins to answer this message.
async fn is_answered(client: &mut Client, text: &str) -> bool {
    let offset = client.say(text).await["offset"].as_u64().unwrap();
    client.send(json!({"t": "ping", "n": "later"})).await;
    let mut late = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let frame = client.next().await;
        if frame["kind"] == "answer.start" && frame["offset"].as_u64() > Some(offset) {
            return true;
        }
        if frame["n"] == "later" {
            late = tokio::time::Instant::now() + Duration::from_millis(500);
        }
        if frame["n"] == "over" || tokio::time::Instant::now() > late {
            return false;
        }
        if tokio::time::Instant::now() < late {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let last = tokio::time::Instant::now() > late - Duration::from_millis(60);
            client.send(json!({"t": "ping", "n": if last { "over" } else { "wait" }})).await;
        }
    }
}

#[tokio::test]
async fn a_visitor_asks_waits_in_the_queue_and_talks_to_an_operator_until_the_model_is_back() {
    let server = start(scripted(0)).await;
    let mut ada = server.client("ada", json!([{"ch": ROOM}])).await;
    assert_eq!(ada.next_of("sub_ok").await.get("handler"), None, "the model answers");
    // Before any message.
    assert_eq!(ada.op(step(json!({"step": "request"}))).await["t"], "ok");
    let (status, waiting) = queue(&server, &operator("eve")).await;
    assert_eq!((status, &waiting["dialogs"][0]["ch"], &waiting["more"]), (200, &json!(ROOM), &json!(false)));
    let (mut eve, sub) = staff(&server, "eve").await;
    assert_eq!(sub["handler"]["state"], "queued");
    assert!(is_answered(&mut ada, "is anybody there?").await, "until somebody comes the model answers");
    assert_eq!(eve.op(step(json!({"step": "take"}))).await["t"], "ok");
    let event = ada.event("handoff").await;
    assert_eq!((&event["by"]["id"], &event["body"]), (&json!("eve"), &json!({"step": "take"})));
    assert_eq!(queue(&server, &operator("eve")).await.1["dialogs"], json!([]));
    let mut late = server.client("ada", json!([{"ch": ROOM}])).await;
    let handler = late.next_of("sub_ok").await["handler"].clone();
    assert_eq!((&handler["state"], &handler["user"]["name"]), (&json!("operator"), &json!("eve")));
    assert!(!is_answered(&mut ada, "hello Eve").await);
    assert_eq!(eve.op(step(json!({"step": "release"}))).await["t"], "ok");
    assert!(is_answered(&mut ada, "and now?").await);
}

#[tokio::test]
async fn an_operator_who_writes_takes_the_dialog_and_the_answer_ends_with_what_was_shown() {
    let server = start(scripted(15)).await;
    let (mut eve, _) = staff(&server, "eve").await;
    let mut ada = server.client("ada", json!([{"ch": ROOM}])).await;
    ada.send(message(&id(), "tell me a long story")).await;
    let run = ada.event("answer.start").await["body"]["run"].clone();
    let mut shown = String::new();
    while shown.len() < 20 {
        shown.push_str(ada.next_of("piece").await["text"].as_str().unwrap());
    }
    eve.send(message(&id(), "I take over")).await;
    let (mut taken, mut end) = (false, Value::Null);
    while end.is_null() {
        let frame = ada.next().await;
        if frame["t"] == "piece" {
            assert!(!taken, "the model writes while an operator has the dialog");
            shown.push_str(frame["text"].as_str().unwrap());
        }
        taken |= frame["kind"] == "message" && frame["by"]["id"] == "eve";
        if frame["kind"] == "answer.end" {
            end = frame;
        }
    }
    assert!(taken, "the answer ends because of the message");
    assert_eq!((&end["body"]["run"], &end["body"]["status"]), (&run, &json!("stopped")));
    assert_eq!(end["body"]["text"], shown, "nothing that was not shown");
    assert!(!is_answered(&mut ada, "thank you").await);
}

#[tokio::test]
async fn a_step_that_is_not_possible_now_changes_nothing_and_says_why() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([{"ch": ROOM}])).await;
    let (mut eve, _) = staff(&server, "eve").await;
    let (mut bob, _) = staff(&server, "bob").await;
    let refused =
        |nack: Value| (nack["code"].as_str().unwrap_or("none").to_owned(), nack["retryable"] == true);
    let conflict = || ("handoff_conflict".to_owned(), false);
    assert_eq!(refused(ada.op(step(json!({"step": "release"}))).await), conflict(), "nobody has it");
    for body in [
        json!({"step": "take"}),
        json!({"step": "close"}),
        json!({"step": "transfer", "to": {"id": "x", "name": "X"}}),
    ] {
        assert_eq!(refused(ada.op(step(body)).await).0, "forbidden", "that is for operators");
    }
    for body in [
        json!({}),
        json!({"step": 7}),
        json!({"step": "dance"}),
        json!({"step": "transfer"}),
        json!({"step": "transfer", "to": {"id": "", "name": "X"}}),
        json!({"step": "transfer", "to": {"id": "x".repeat(300), "name": "X"}}),
    ] {
        assert_eq!(refused(eve.op(step(body.clone())).await).0, "bad_body", "{body}");
    }
    assert_eq!(
        refused(eve.op(step(json!({"step": "transfer", "to": {"id": "bob", "name": "Bob"}}))).await),
        conflict()
    );
    assert_eq!(eve.op(step(json!({"step": "take"}))).await["t"], "ok");
    assert_eq!(refused(eve.op(step(json!({"step": "take"}))).await), conflict(), "she has it");
    assert_eq!(refused(bob.op(step(json!({"step": "take"}))).await), conflict());
    assert_eq!(refused(bob.op(step(json!({"step": "take", "from": "ann"}))).await), conflict());
    for body in [json!({"step": "release"}), json!({"step": "close"})] {
        assert_eq!(refused(bob.op(step(body)).await), conflict(), "it is hers");
    }
    assert_eq!(refused(ada.op(step(json!({"step": "request"}))).await), conflict(), "she is there");
    assert_eq!(bob.op(step(json!({"step": "take", "from": "eve"}))).await["t"], "ok");
    assert_eq!(
        bob.op(step(json!({"step": "transfer", "to": {"id": "eve", "name": "Eve"}}))).await["t"],
        "ok"
    );
    // The same op again is a duplicate, whatever the state is by now.
    let close = step(json!({"step": "close"}));
    assert_eq!(eve.op(close.clone()).await["t"], "ok");
    assert_eq!(eve.op(close).await["dup"], true);
    assert_eq!(refused(eve.op(step(json!({"step": "close"}))).await), conflict());
    let (_, sub) = staff(&server, "ann").await;
    assert_eq!(sub["handler"]["state"], "closed");
    ada.say("one more thing").await;
    let (_, sub) = staff(&server, "ann").await;
    assert_eq!(sub.get("handler"), None, "a visitor's message opens it again");
}

#[tokio::test]
async fn only_dialogs_are_handed_off_and_only_staff_sees_the_queue() {
    let everyone = vec![Who::Everyone];
    let news = Rule { open: true, ..Rule::new(Pattern::parse("news").unwrap(), everyone) };
    let server = start(|config| config.channels.push(news)).await;
    let mut ada = server.client("ada", json!([{"ch": "news"}])).await;
    ada.next_of("sub_ok").await;
    let mut op = step(json!({"step": "request"}));
    op["ch"] = json!("news");
    assert_eq!(ada.op(op).await["code"], "unknown_kind");
    let service = |scopes: &[&str]| {
        let claims =
            json!({"kind": "service", "aud": "tidewire-service", "account": "default", "scopes": scopes});
        token("backend", claims)
    };
    assert_eq!(queue(&server, &service(&["read"])).await.0, 200);
    for other in [token("ada", json!({})), service(&["publish"])] {
        let (status, answer) = queue(&server, &other).await;
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("forbidden")));
    }
    assert_eq!(queue(&server, "nonsense").await.0, 401);
}

#[tokio::test]
async fn an_operator_who_is_gone_gives_the_dialog_back() {
    let server = start(|config| {
        config.timeouts.operator = Duration::from_millis(100);
        scripted(0)(config);
    })
    .await;
    let mut ada = server.client("ada", json!([{"ch": ROOM}])).await;
    let (mut eve, _) = staff(&server, "eve").await;
    assert_eq!(eve.op(step(json!({"step": "take"}))).await["t"], "ok");
    assert_eq!(ada.event("handoff").await["by"]["id"], "eve");
    drop(eve);
    let back = ada.event("handoff").await;
    assert_eq!(
        (&back["by"]["kind"], &back["body"]),
        (&json!("system"), &json!({"step": "release", "from": "eve"}))
    );
    assert!(is_answered(&mut ada, "and now?").await);
}
