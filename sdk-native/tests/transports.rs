//! Networks that let no WebSocket through: the client against the real server behind a proxy that
//! treats it badly.

mod common;

use std::time::{Duration, Instant};

use common::server::Server;
use common::{eager, online, rows_where, soon, status_where, until};
use tidewire::token::from_fn;
use tidewire::{Client, ClientEvent, ClientOptions, Config, Dialog, RowKind, RowState, State, Transport};
use tidewire_fault_proxy::{Faults, HttpMode, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A proxy that treats HTTP so, in front of the server.
async fn proxy(server: &Server, mode: HttpMode) -> Proxy {
    let proxy = Proxy::start(server.url().trim_start_matches("http://")).await.expect("starts");
    proxy.set(Faults { http: mode, ..Faults::default() });
    proxy
}

async fn through(proxy: &Proxy, server: &Server, config: Config) -> Client {
    join(&format!("http://{}", proxy.address()), server, "Ada", config).await
}

async fn join(url: &str, server: &Server, name: &str, config: Config) -> Client {
    let token = server.token(name, 3_600).await;
    let provider = from_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let client = Client::open(ClientOptions::new(url, provider).config(config)).await.expect("opens");
    client.connect();
    client
}

/// With every transport, and not much patience.
fn config() -> Config {
    Config { transports: ClientOptions::default_config().transports, connect_timeout_ms: 1_000, ..eager() }
}

fn only(transport: Transport) -> Config {
    Config { transports: vec![transport], connect_timeout_ms: 5_000, ..config() }
}

/// The transport that the client was welcomed on last.
fn transport(client: &Client) -> Option<String> {
    let entries = client.explain().entries;
    entries.iter().rev().find(|entry| matches!(entry.what, "transport" | "handover")).map(|e| e.about.clone())
}

async fn ends_up_on(client: &Client, wanted: Transport) {
    until(wanted.as_str(), || {
        client.status().state == State::Online && transport(client).as_deref() == Some(wanted.as_str())
    })
    .await;
}

fn texts(dialog: &Dialog) -> Vec<String> {
    dialog.rows().iter().filter(|row| row.kind == RowKind::Message).map(|row| row.text.clone()).collect()
}

/// How many connections the server has.
async fn connections(server: &Server) -> u64 {
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connected");
    let ask = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str::<serde_json::Value>(body).expect("JSON")["connections"].as_u64().expect("a number")
}

/// What is sent before there is a connection and after it arrives once, and an answer streams back.
async fn a_chat_completes(client: &Client, server: &Server) {
    let bob = join(&server.url(), server, "Bob", eager()).await;
    online(&bob).await;
    let his = bob.dialog("demo").expect("opened");
    let hers = client.dialog("demo").expect("opened");
    let meanwhile = hers.send("meanwhile").expect("taken");
    soon("the ack", meanwhile.acked()).await.expect("committed");
    let answered = |rows: &tidewire::Rows| {
        rows.iter().any(|row| row.kind == RowKind::Answer && row.state == RowState::Done)
    };
    rows_where(&hers, "an answer", answered).await;
    let sent = hers.send("and now").expect("taken");
    soon("the ack", sent.acked()).await.expect("committed");
    his.send("from Bob").expect("taken");
    rows_where(&hers, "Bob's message", |rows| rows.iter().any(|row| row.text == "from Bob")).await;
    rows_where(&his, "both", |rows| rows.iter().filter(|row| row.by.name == "Ada").count() == 2).await;
    assert_eq!(texts(&his), ["meanwhile", "and now", "from Bob"]);
    assert_eq!(texts(&hers), ["meanwhile", "and now", "from Bob"]);
}

#[tokio::test]
async fn where_upgrades_are_refused_a_stream_carries_the_chat() {
    for mode in [HttpMode::KillUpgrade, HttpMode::CloseUpgrade] {
        let server = Server::start(5);
        let proxy = proxy(&server, mode).await;
        let ada = through(&proxy, &server, config()).await;
        a_chat_completes(&ada, &server).await;
        ends_up_on(&ada, Transport::Stream).await;
        assert_eq!(proxy.counters().upgrades_killed, 3, "three strikes");
    }
}

#[tokio::test]
async fn where_sockets_die_young_a_stream_carries_the_chat() {
    let server = Server::start(5);
    let proxy = proxy(&server, HttpMode::KillEarly).await;
    let ada = through(&proxy, &server, config()).await;
    a_chat_completes(&ada, &server).await;
    ends_up_on(&ada, Transport::Stream).await;
}

#[tokio::test]
async fn where_responses_are_held_back_long_polling_carries_the_chat() {
    let server = Server::start(5);
    let proxy = proxy(&server, HttpMode::Buffer).await;
    let ada = through(&proxy, &server, config()).await;
    a_chat_completes(&ada, &server).await;
    ends_up_on(&ada, Transport::LongPoll).await;
}

#[tokio::test]
async fn each_transport_carries_a_chat_on_its_own() {
    for transport in Transport::ALL {
        let server = Server::start(5);
        let ada = join(&server.url(), &server, "Ada", only(transport)).await;
        a_chat_completes(&ada, &server).await;
        ends_up_on(&ada, transport).await;
    }
}

#[tokio::test]
async fn what_is_sent_while_the_network_breaks_arrives_once_and_in_order() {
    for transport in [Transport::Stream, Transport::LongPoll] {
        let server = Server::with(&["--model", "off"]);
        let proxy = proxy(&server, HttpMode::Off).await;
        let ada = through(&proxy, &server, only(transport)).await;
        online(&ada).await;
        let dialog = ada.dialog("demo").expect("opened");
        let mut sent = Vec::new();
        for n in 0..40 {
            sent.push(dialog.send(&format!("m{n}")).expect("taken"));
            match n % 10 {
                3 => proxy.cut_all(),
                7 => proxy.reset_all(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        for outgoing in sent {
            soon("an ack", outgoing.acked()).await.expect("committed");
        }
        let expected: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
        let bob = join(&server.url(), &server, "Bob", eager()).await;
        let his = bob.dialog("demo").expect("opened");
        rows_where(&his, "all of them", |rows| rows.len() >= 40).await;
        assert_eq!(texts(&his), expected, "{transport:?}");
        assert_eq!(texts(&dialog), expected, "{transport:?}");
    }
}

#[tokio::test]
async fn a_crash_of_the_server_is_survived_on_every_transport() {
    for transport in [Transport::Stream, Transport::LongPoll, Transport::Poll] {
        let mut server = Server::with(&["--model", "off"]);
        let ada = join(&server.url(), &server, "Ada", only(transport)).await;
        online(&ada).await;
        let dialog = ada.dialog("demo").expect("opened");
        server.kill();
        let sent = dialog.send("while it was away").expect("taken");
        server.restart();
        soon("the ack", sent.acked()).await.expect("committed");
        assert_eq!(texts(&dialog), ["while it was away"]);
    }
}

#[tokio::test]
async fn a_signal_arrives_at_once_over_a_stream() {
    let server = Server::with(&["--model", "off"]);
    let ada = join(&server.url(), &server, "Ada", only(Transport::Stream)).await;
    let bob = join(&server.url(), &server, "Bob", eager()).await;
    let _open = [ada.dialog("demo").expect("opened"), bob.dialog("demo").expect("opened")];
    online(&ada).await;
    online(&bob).await;
    let mut events = bob.events();
    let begun = Instant::now();
    loop {
        ada.signal("dialog:demo", "typing", None, r#"{"on":true}"#).expect("taken");
        let batch = tokio::time::timeout(Duration::from_millis(200), events.next_batch(64)).await;
        let is_signal = |event: &ClientEvent| matches!(event, ClientEvent::Signal { signal, by } if signal.kind == "typing" && by.name == "Ada");
        if batch.is_ok_and(|batch| batch.iter().any(is_signal)) {
            break;
        }
        assert!(begun.elapsed() < common::PATIENCE, "no signal came");
    }
}

#[tokio::test]
async fn a_client_that_closes_leaves_no_connection_behind() {
    for transport in [Transport::Stream, Transport::LongPoll, Transport::Poll] {
        let server = Server::with(&["--model", "off"]);
        let ada = join(&server.url(), &server, "Ada", only(transport)).await;
        online(&ada).await;
        assert_eq!(connections(&server).await, 1);
        let begun = Instant::now();
        ada.close().await;
        while connections(&server).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Far sooner than the server finds out by itself, also where nobody waits for the last
        // line.
        assert!(begun.elapsed() < Duration::from_secs(4), "{transport:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_obeyed_on_every_transport() {
    for transport in [Transport::Stream, Transport::LongPoll, Transport::Poll] {
        let server = Server::with(&["--model", "off"]);
        let provider = from_fn(|_| async { Ok(String::from("not.a.token")) });
        let options = ClientOptions::new(server.url(), provider).config(only(transport));
        let ada = Client::open(options).await.expect("opens");
        ada.connect();
        status_where(&ada, "failed", |status| status.state == State::Failed).await;
        assert_eq!(ada.status().cause.as_deref(), Some("unauthorized"), "{transport:?}");
    }
}
