//! Hand-off, against the real server's process: who answers in a dialog.

mod common;

use common::server::Server;
use common::{eager, member, soon, until};
use serde_json::json;
use tidewire::token::from_fn;
use tidewire::{Client, ClientOptions, Dialog, HandOffStep, Handler, Storage};

async fn operator(server: &Server, name: &str) -> Client {
    let claims = json!({"kind": "operator", "aud": "tidewire-operator", "account": "default"});
    let token = server.token_with(name, &claims);
    let provider = from_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let options = ClientOptions::new(server.url(), provider).config(eager()).storage(Storage::Memory);
    let client = Client::open(options).await.expect("opens");
    client.connect();
    client
}

/// What becomes of a step: `ok`, or the code of the refusal.
async fn hand(dialog: &Dialog, step: HandOffStep) -> String {
    match soon("the answer", dialog.hand_off(&step).expect("taken").acked()).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::test]
async fn a_visitor_asks_an_operator_comes_and_goes_and_all_see_who_answers() {
    let server = Server::with(&["--model", "off"]);
    let (ada, eve) = (member(&server, "ada").await, operator(&server, "eve").await);
    let (visitor, desk) = (ada.dialog("demo").expect("valid"), eve.dialog("demo").expect("valid"));
    assert_eq!(visitor.state().handler, Handler::Ai);
    assert_eq!(hand(&visitor, HandOffStep::Request).await, "ok");
    until("it is queued", || matches!(desk.state().handler, Handler::Queued { .. })).await;
    assert_eq!(hand(&visitor, HandOffStep::Request).await, "handoff_conflict");
    assert_eq!(hand(&visitor, HandOffStep::Take { from: None }).await, "forbidden");
    assert_eq!(hand(&desk, HandOffStep::Take { from: None }).await, "ok");
    let is_eves = |handler: Handler| matches!(handler, Handler::Operator { user, .. } if user.id == "eve");
    until("Eve has it", || is_eves(visitor.state().handler)).await;
    // Who comes later is told too, and a step of before does not stop a message.
    let bob = member(&server, "bob").await;
    let late = bob.dialog("demo").expect("valid");
    until("Bob knows", || is_eves(late.state().handler)).await;
    soon("the ack", visitor.send("hello Eve").expect("taken").acked()).await.expect("committed");
    assert_eq!(hand(&desk, HandOffStep::Release { from: None }).await, "ok");
    until("the model has it", || visitor.state().handler == Handler::Ai).await;
    assert_eq!(hand(&desk, HandOffStep::Close).await, "ok");
    until("it is closed", || matches!(visitor.state().handler, Handler::Closed { .. })).await;
    visitor.send("one more thing").expect("taken");
    until("it is open again", || visitor.state().handler == Handler::Ai).await;
    ada.close().await;
    assert_eq!(visitor.hand_off(&HandOffStep::Request).map(drop).unwrap_err().code(), "closed");
}
