//! Tokens: renewed unnoticed, refused for good, and providers that fail.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::fake::Fake;
use common::{eager, online, soon, status_where};
use serde_json::json;
use tidewire::token::from_fn;
use tidewire::{Client, ClientOptions, State, TokenError, TokenProvider};

async fn connect(fake: &Fake, provider: impl TokenProvider) -> Client {
    let client = Client::open(ClientOptions::new(&fake.url, provider).config(eager())).await.expect("opens");
    client.connect();
    client
}

/// Counts its calls, and gives each call's number to `answer`.
fn counting(
    answer: impl Fn(usize, bool) -> Result<String, TokenError> + Send + Sync + 'static,
) -> (impl TokenProvider, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let (counter, answer) = (Arc::clone(&calls), Arc::new(answer));
    let provider = from_fn(move |renew| {
        let (call, answer) = (counter.fetch_add(1, Ordering::SeqCst) + 1, Arc::clone(&answer));
        async move { answer(call, renew) }
    });
    (provider, calls)
}

#[tokio::test]
async fn an_expired_token_is_renewed_unnoticed() {
    let fake = Fake::start().await;
    let (provider, calls) = counting(|call, renew| Ok(format!("token-{call}-{renew}")));
    let client = connect(&fake, provider).await;
    let dialog = client.dialog("demo").expect("opened");
    let sent = dialog.send("hello").expect("taken");
    let mut session = fake.session().await;
    assert_eq!(session.receive("hello").await["token"], "token-1-false");
    session.send(&json!({"t": "error", "code": "token_expired", "message": "expired"})).await;
    session.close(4020).await;
    let (mut session, hello) = fake.welcomed().await;
    assert_eq!(hello["token"], "token-2-true");
    session.empty("dialog:demo").await;
    let op = session.receive("op").await;
    session.send(&json!({"t": "ok", "id": op["id"], "ch": "dialog:demo", "offset": 1, "at": 1})).await;
    assert_eq!(soon("the ack", sent.acked()).await, Ok(tidewire::Offset(1)));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_user_who_may_not_connect_is_not_tried_again() {
    let fake = Fake::start().await;
    let (provider, calls) = counting(|_, _| Err(TokenError::unauthorized("")));
    let client = connect(&fake, provider).await;
    let status = status_where(&client, "failed", |status| status.state == State::Failed).await;
    assert_eq!(status.cause.as_deref(), Some("unauthorized"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again() {
    let fake = Fake::start().await;
    let (provider, calls) =
        counting(|call, _| if call < 4 { Err(TokenError::unavailable("")) } else { Ok(String::from("t")) });
    let client = connect(&fake, provider).await;
    status_where(&client, "a failure", |status| status.state == State::Reconnecting || status.attempt > 0)
        .await;
    let _held = fake.welcomed().await;
    online(&client).await;
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_provider_that_panics_is_asked_again() {
    let fake = Fake::start().await;
    let (provider, _) = counting(|call, _| {
        assert!(call > 1, "the first call panics");
        Ok(String::from("t"))
    });
    let client = connect(&fake, provider).await;
    let _held = fake.welcomed().await;
    online(&client).await;
}

#[tokio::test]
async fn a_provider_that_never_answers_does_not_keep_the_client_from_closing() {
    let fake = Fake::start().await;
    let client = connect(&fake, from_fn(|_| std::future::pending())).await;
    status_where(&client, "connecting", |status| status.state == State::Connecting).await;
    soon("the end", client.close()).await;
    assert_eq!(client.status().state, State::Closed);
}
