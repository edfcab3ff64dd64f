//! Why there is no connection: the same word in the status and the report, whoever asks for a
//! token.

mod common;

use std::time::{Duration, Instant};

use common::fake::Fake;
use common::server::Server;
use common::{eager, soon, status_where};
use tidewire::token::from_fn;
use tidewire::{Client, ClientOptions, Config, OpenError, State, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The first status with a cause, of a guest and of a user with a token.
async fn causes(url: &str) -> Vec<(Client, Status)> {
    let token = from_fn(|_| async { Ok(String::from("a.b.c")) });
    let mut found = vec![];
    for options in [ClientOptions::guest(url, "Ada"), ClientOptions::new(url, token)] {
        let client = Client::open(options.config(eager())).await.expect("opens");
        client.connect();
        let status = status_where(&client, "a cause", |status| status.cause.is_some()).await;
        found.push((client, status));
    }
    found
}

/// A server that answers every connection with these bytes.
async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(bytes).await;
            });
        }
    });
    format!("{address}")
}

#[tokio::test]
async fn each_way_not_to_reach_a_server_has_a_code_and_says_what_to_look_at() {
    let refused = format!("127.0.0.1:{}", tidewire_ports::free());
    let missing =
        answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let gibberish = answering(b"220 mail.example ESMTP\r\n").await;
    for (url, code, about) in [
        (format!("http://{refused}"), "refused", "check host and port"),
        (String::from("http://no-such-host.invalid"), "dns", "can't be resolved"),
        (format!("https://{gibberish}"), "tls", "certificate"),
        (format!("http://{missing}"), "http_404", "check the path"),
        (format!("http://{gibberish}"), "bad_answer", "check scheme"),
    ] {
        for (client, status) in causes(&url).await {
            assert_eq!(status.cause.as_deref(), Some(code), "{url}");
            let message = status.message.unwrap_or_default();
            assert!(message.contains(about), "{url}: {message}");
            let report = client.explain();
            assert!(report.entries.iter().any(|entry| entry.about.contains(code)), "{url}: {report:?}");
        }
    }
}

#[tokio::test]
async fn a_guest_that_the_server_refuses_hears_its_own_words_and_is_not_tried_again() {
    let refused = answering(
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 68\r\nconnection: close\r\n\r\n\
          {\"error\":{\"code\":\"origin_not_allowed\",\"message\":\"ask the operator\"}}",
    )
    .await;
    let options = ClientOptions::guest(format!("http://{refused}"), "Ada").config(eager());
    let client = Client::open(options).await.expect("opens");
    client.connect();
    let status = status_where(&client, "an end", |status| status.state == State::Failed).await;
    assert_eq!(status.cause.as_deref(), Some("origin_not_allowed"));
    assert_eq!(status.message.as_deref(), Some("ask the operator"));
}

#[tokio::test]
async fn a_busy_server_is_given_the_time_it_asks_for() {
    let busy = answering(
        b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 40\r\ncontent-length: 61\r\nconnection: close\r\n\r\n\
          {\"error\":{\"code\":\"rate_limited\",\"message\":\"too many guests\"}}",
    )
    .await;
    let options = ClientOptions::guest(format!("http://{busy}"), "Ada").config(eager());
    let client = Client::open(options).await.expect("opens");
    client.connect();
    let status = status_where(&client, "a wait", |status| status.retry_in_ms.is_some()).await;
    assert_eq!(status.cause.as_deref(), Some("rate_limited"));
    assert!(status.retry_in_ms >= Some(39_000), "{status:?}");
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up_with_a_code() {
    let provider = from_fn(|_| std::future::pending());
    let config = Config { token_timeout_ms: 100, ..eager() };
    let client = Client::open(ClientOptions::new("http://127.0.0.1:9", provider).config(config)).await;
    let client = client.expect("opens");
    client.connect();
    let status = status_where(&client, "a code", |status| status.cause.is_some()).await;
    assert_eq!(status.cause.as_deref(), Some("token_timeout"));
    assert!(status.message.is_some());
}

#[tokio::test]
async fn options_that_can_never_work_are_refused_when_a_client_is_opened() {
    let code = async |options: ClientOptions| match Client::open(options).await {
        Err(OpenError::BadUrl) => "bad_url",
        Err(OpenError::BadNickname) => "bad_nickname",
        other => panic!("{other:?}"),
    };
    for url in ["", "x", "http://", "http://a:0", "http://a:70000", "ftp://a", "http://a/?q", "http://u@a"] {
        assert_eq!(code(ClientOptions::guest(url, "Ada")).await, "bad_url", "{url}");
    }
    let long = "x".repeat(41);
    for nickname in ["", " ", "\u{7}", "a\nb", &long] {
        assert_eq!(code(ClientOptions::guest("http://a", nickname)).await, "bad_nickname", "{nickname:?}");
    }
}

#[tokio::test]
async fn names_and_tokens_that_can_never_work_are_refused_under_their_own_code() {
    let fake = Fake::start().await;
    let provider = from_fn(|_| async { Ok("x".repeat(100_000)) });
    let client = Client::open(ClientOptions::new(&fake.url, provider)).await.expect("opens");
    for dialog in ["", "a b", "ä", &"d".repeat(122)] {
        assert_eq!(client.dialog(dialog).expect_err("refused").code(), "bad_channel", "{dialog:?}");
        assert_eq!(client.send_text(dialog, "hi").expect_err("refused").code(), "bad_channel", "{dialog:?}");
    }
    client.connect();
    let status = status_where(&client, "an end", |status| status.state == State::Failed).await;
    assert_eq!(status.cause.as_deref(), Some("bad_token"));
}

#[tokio::test]
async fn a_dialog_says_how_it_stands() {
    let server = Server::with(&["--model", "off"]);
    let client =
        Client::open(ClientOptions::guest(server.url(), "Ada").config(eager())).await.expect("opens");
    let (open, closed) =
        (client.dialog("demo").expect("opened"), client.dialog("somebody-elses").expect("opened"));
    assert_eq!(open.state().status, tidewire::DialogStatus::Syncing);
    client.connect();
    let wait = async |dialog: &tidewire::Dialog, done: fn(&tidewire::DialogState) -> bool| {
        soon("a state", dialog.watch_state().wait_for(done)).await.expect("alive").clone()
    };
    wait(&open, |state| state.status == tidewire::DialogStatus::Live).await;
    let failed = wait(&closed, |state| matches!(state.status, tidewire::DialogStatus::Failed { .. })).await;
    assert_eq!((failed.run, failed.missed), (None, 0));
    let watch = open.watch_state();
    client.close().await;
    assert_eq!(watch.borrow().status, tidewire::DialogStatus::Closed);
}

#[test]
fn a_client_whose_runtime_is_gone_says_so_and_notifies_whoever_waits() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime
        .block_on(async { Client::open(ClientOptions::guest("http://127.0.0.1:9", "Ada")).await })
        .expect("opens");
    client.connect();
    let mut status = client.watch_status();
    let sent = client.send_text("demo", "hello").expect("taken");
    drop(runtime);
    assert_eq!(client.status().state, State::Closed);
    assert_eq!(client.send_text("demo", "more").expect_err("closed").code(), "closed");
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let started = Instant::now();
    other.block_on(async {
        let ended = status.wait_for(|status| status.state == State::Closed).await;
        assert!(ended.is_ok());
        assert_eq!(sent.acked().await.expect_err("closed").code(), "closed");
    });
    assert!(started.elapsed() < Duration::from_secs(10));
}
