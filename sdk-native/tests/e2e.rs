//! The client against the real server's process on a real socket.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::server::Server;
use common::{eager, online, rows_where, soon, status_where, until};
use tempfile::TempDir;
use tidewire::token::from_fn;
use tidewire::{
    Change, ChannelItem, ChannelState, Client, ClientEvent, ClientOptions, Config, Row, RowKind, RowState,
    State, Storage,
};

async fn guest(server: &Server, name: &str) -> Client {
    join(ClientOptions::guest(server.url(), name)).await
}

async fn join(options: ClientOptions) -> Client {
    let client = Client::open(options.config(eager())).await.expect("opens");
    client.connect();
    client
}

fn is_answer(row: &Row, state: RowState) -> bool {
    row.kind == RowKind::Answer && row.state == state
}

#[tokio::test]
async fn two_guests_see_the_same_message_at_the_same_offset() {
    let server = Server::with(&["--model", "off"]);
    let (ada, bob) = (guest(&server, "Ada").await, guest(&server, "Bob").await);
    let (hers, his) = (ada.dialog("demo").expect("opened"), bob.dialog("demo").expect("opened"));
    let sent = hers.send("hello Bob").expect("taken");
    let id = sent.id().to_owned();
    assert_eq!(hers.rows()[0].id, id, "the row is there when send returns");
    let offset = soon("the ack", sent.acked()).await.expect("committed");
    assert_eq!(hers.rows()[0].state, RowState::Sent, "the row says so before the promise does");
    let rows = rows_where(&his, "her message", |rows| !rows.is_empty()).await;
    assert_eq!(
        (rows[0].id.as_str(), rows[0].offset, rows[0].text.as_str()),
        (id.as_str(), Some(offset), "hello Bob")
    );
    assert_eq!((rows[0].by.name.as_str(), rows[0].own), ("Ada", false));
    assert!(hers.rows()[0].own);
}

#[tokio::test]
async fn an_answer_is_seen_growing_and_ends_whole() {
    let server = Server::start(40);
    let ada = guest(&server, "Ada").await;
    let dialog = ada.dialog("demo").expect("opened");
    let mut events = ada.events();
    dialog.send("count to 12").expect("taken");
    let (mut grew, mut text) = (0, String::new());
    'all: loop {
        for event in soon("an event", events.next_batch(64)).await {
            let ClientEvent::Dialog { changes, .. } = event else { continue };
            for change in changes {
                match change {
                    Change::Append { text: more, .. } => {
                        text.push_str(&more);
                        grew += 1;
                    }
                    Change::Update { row, .. } if is_answer(&row, RowState::Done) => {
                        assert!(row.text.starts_with(&text), "the pieces are a prefix of the final text");
                        break 'all;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(grew > 3, "it grew {grew} times");
    rows_where(&dialog, "both rows", |rows| rows.len() == 2).await;
}

#[tokio::test]
async fn an_answer_ends_when_somebody_stops_it() {
    let server = Server::start(20);
    let ada = guest(&server, "Ada").await;
    let dialog = ada.dialog("demo").expect("opened");
    dialog.send("count to 500").expect("taken");
    let growing = |row: &Row| is_answer(row, RowState::Streaming) && row.text.len() > 10;
    rows_where(&dialog, "a growing answer", |rows| rows.iter().any(|row| growing(row))).await;
    let stop = dialog.stop().expect("an answer is under way");
    soon("the stop", stop.acked()).await.expect("committed");
    rows_where(&dialog, "its end", |rows| rows.iter().any(|row| is_answer(row, RowState::Stopped))).await;
    assert_eq!(dialog.stop().expect_err("there is none").code(), "run_not_found");
}

#[tokio::test]
async fn an_answer_cut_by_a_crash_of_the_server_ends_once_as_interrupted() {
    let mut server = Server::start(20);
    let ada = guest(&server, "Ada").await;
    let dialog = ada.dialog("demo").expect("opened");
    dialog.send("count to 500").expect("taken");
    let growing = |row: &Row| is_answer(row, RowState::Streaming) && row.text.len() > 20;
    let rows = rows_where(&dialog, "a growing answer", |rows| rows.iter().any(|row| growing(row))).await;
    let seen = rows.iter().find(|row| growing(row)).expect("just seen").text.clone();
    server.restart();
    let ended = |row: &Row| is_answer(row, RowState::Interrupted);
    let rows = rows_where(&dialog, "its end", |rows| rows.iter().any(|row| ended(row))).await;
    let answers: Vec<_> = rows.iter().filter(|row| row.kind == RowKind::Answer).collect();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].text.starts_with(&seen), "nothing that was shown is taken back");
}

#[tokio::test]
async fn what_is_written_offline_arrives_once_and_in_order() {
    let mut server = Server::with(&["--model", "off"]);
    let (ada, bob) = (guest(&server, "Ada").await, guest(&server, "Bob").await);
    let (hers, his) = (ada.dialog("demo").expect("opened"), bob.dialog("demo").expect("opened"));
    soon("the ack", hers.send("0").expect("taken").acked()).await.expect("committed");
    server.kill();
    status_where(&ada, "the loss", |status| status.state == State::Reconnecting).await;
    let sent: Vec<_> = (1..8).map(|n| hers.send(&n.to_string()).expect("taken")).collect();
    status_where(&ada, "seven waiting", |status| status.waiting == 7).await;
    rows_where(&hers, "seven queued", |rows| {
        rows.iter().filter(|row| row.state == RowState::Queued).count() == 7
    })
    .await;
    server.restart();
    let mut offsets = Vec::new();
    for sent in sent {
        offsets.push(soon("the ack", sent.acked()).await.expect("committed"));
    }
    assert!(offsets.is_sorted());
    let rows = rows_where(&his, "all of them", |rows| rows.len() == 8).await;
    let texts: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(ada.status().waiting, 0);
}

#[tokio::test]
async fn a_client_opened_again_shows_its_rows_and_sends_what_waited() {
    let mut server = Server::with(&["--model", "off"]);
    let folder = TempDir::new().expect("a folder");
    let options =
        || ClientOptions::guest(server.url(), "Ada").storage(Storage::Folder(folder.path().to_owned()));
    let (first, again, third) = (options(), options(), options());
    let ada = join(first).await;
    let dialog = ada.dialog("demo").expect("opened");
    soon("the ack", dialog.send("before").expect("taken").acked()).await.expect("committed");
    let me = ada.user().expect("welcomed").id;
    server.kill();
    let waiting = dialog.send("meanwhile").expect("taken").id().to_owned();
    soon("the end", ada.close()).await;

    let ada = join(again).await;
    let rows = ada.dialog("demo").expect("opened").rows();
    let shown: Vec<_> = rows.iter().map(|row| (row.text.as_str(), row.state)).collect();
    assert_eq!(shown, [("before", RowState::Sent), ("meanwhile", RowState::Queued)]);
    drop(ada);
    server.restart();

    // The dropped client writes its store in the background; the open waits for that a little.
    let ada = Client::open(third.config(eager())).await.expect("opens");
    ada.connect();
    let dialog = ada.dialog("demo").expect("opened");
    let rows = rows_where(&dialog, "both committed", |rows| {
        rows.len() == 2 && rows.iter().all(|row| row.state == RowState::Sent)
    })
    .await;
    assert_eq!(
        (rows[1].id.as_str(), rows[1].text.as_str(), rows[1].own),
        (waiting.as_str(), "meanwhile", true)
    );
    assert_eq!(ada.user().expect("welcomed").id, me, "the same guest came back");
}

#[cfg(unix)]
#[tokio::test]
async fn a_guests_token_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::with(&["--model", "off"]);
    let folder = TempDir::new().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let ada = join(ClientOptions::guest(server.url(), "Ada").storage(storage)).await;
    online(&ada).await;
    let mode = std::fs::metadata(folder.path().join("guest.json")).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_guest_of_another_server_becomes_a_new_guest_here() {
    let (here, there) = (Server::with(&["--model", "off"]), Server::with(&["--model", "off"]));
    let folder = TempDir::new().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let mut ids = HashSet::new();
    for server in [&here, &there] {
        let ada = join(ClientOptions::guest(server.url(), "Ada").storage(storage.clone())).await;
        online(&ada).await;
        ids.insert(ada.user().expect("welcomed").id);
        soon("the end", ada.close()).await;
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_guest_of_a_server_that_forgot_everybody_comes_back_as_a_new_one() {
    let mut server = Server::with(&["--model", "off"]);
    let ada = guest(&server, "Ada").await;
    let dialog = ada.dialog("demo").expect("opened");
    soon("the ack", dialog.send("forgotten").expect("taken").acked()).await.expect("committed");
    let before = ada.user().expect("welcomed").id;
    server.wipe();
    // The token that worked before is refused and renewed; the server has never heard of this
    // guest, so it is another one.
    until("another user", || ada.user().is_some_and(|user| user.id != before)).await;
    online(&ada).await;
    rows_where(&dialog, "an empty dialog", |rows| rows.is_empty()).await;
    soon("the ack", dialog.send("anew").expect("taken").acked()).await.expect("committed");
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_without_a_reconnect() {
    let server = Server::with(&["--model", "off"]);
    let tokens = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (first, counter) = (server.token("Ada", 2).await, std::sync::Arc::clone(&tokens));
    let later = server.token("Ada", 3_600).await;
    let provider = from_fn(move |_| {
        let call = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let token = if call == 0 { first.clone() } else { later.clone() };
        async move { Ok(token) }
    });
    let ada = join(ClientOptions::new(server.url(), provider)).await;
    online(&ada).await;
    let mut status = ada.watch_status();
    status.mark_unchanged();
    until("the renewal", || tokens.load(std::sync::atomic::Ordering::SeqCst) == 2).await;
    // The first token has run out by then.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!status.has_changed().expect("open"), "the connection stayed");
    let dialog = ada.dialog("demo").expect("opened");
    soon("the ack", dialog.send("still here").expect("taken").acked()).await.expect("committed");
}

#[tokio::test]
async fn a_dialog_that_does_not_exist_is_refused_by_name() {
    let server = Server::with(&["--model", "off"]);
    let ada = guest(&server, "Ada").await;
    let mut channel = ada.channel("dialog:nowhere").expect("a valid name");
    loop {
        match soon("the refusal", channel.next()).await.expect("open") {
            ChannelItem::State(ChannelState::Failed { code, .. }) => {
                assert_eq!(code, "forbidden");
                break;
            }
            ChannelItem::State(_) => {}
            item => panic!("{item:?}"),
        }
    }
    assert_eq!(ada.dialog("no spaces").expect_err("refused").code(), "bad_channel");
    assert_eq!(ada.dialog("demo").expect("opened").send("  ").expect_err("refused").code(), "empty");
}

#[tokio::test]
async fn what_the_server_refuses_says_why_and_blocks_nobody_once_it_is_gone() {
    let server = Server::with(&["--model", "off"]);
    let ada = guest(&server, "Ada").await;
    // An op without a row is dropped.
    let failed = ada.send("dialog:demo", "no.such.kind", "{}").expect("taken");
    let behind = ada.dialog("demo").expect("opened").send("behind it").expect("taken");
    assert_eq!(soon("the refusal", failed.acked()).await.expect_err("refused").code(), "unknown_kind");
    soon("the ack", behind.acked()).await.expect("committed");
    assert!(!ada.discard(failed.id()) && !ada.retry(failed.id()));
    // A message stays until somebody decides.
    let failed = ada.send_text("nowhere", "hello").expect("taken");
    assert_eq!(soon("the refusal", failed.acked()).await.expect_err("refused").code(), "forbidden");
    assert!(ada.discard(failed.id()));
    assert!(!ada.discard(failed.id()) && !ada.retry(failed.id()));
}

#[tokio::test]
async fn a_channel_read_without_a_timeline_is_dense_through_a_restart() {
    let mut server = Server::with(&["--model", "off"]);
    let (ada, bob) = (guest(&server, "Ada").await, guest(&server, "Bob").await);
    let mut log = bob.channel("dialog:demo").expect("opened");
    let dialog = ada.dialog("demo").expect("opened");
    for n in 1..=12 {
        if n == 6 {
            server.restart();
        }
        soon("the ack", dialog.send(&n.to_string()).expect("taken").acked()).await.expect("committed");
    }
    let mut next = 1;
    while next <= 12 {
        match soon("an item", log.next()).await.expect("open") {
            ChannelItem::Event(event) => {
                assert_eq!(event.offset, tidewire::Offset(next));
                next += 1;
            }
            ChannelItem::State(ChannelState::Syncing | ChannelState::Live) => {}
            item => panic!("{item:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_store_is_told_and_keeps_nothing_from_being_sent() {
    let mut server = Server::with(&["--model", "off"]);
    server.kill();
    let folder = TempDir::new().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let token = String::from("replaced once the server is there");
    let token = std::sync::Arc::new(std::sync::Mutex::new(token));
    let current = std::sync::Arc::clone(&token);
    let provider = from_fn(move |_| {
        let token = current.lock().expect("unpoisoned").clone();
        async move { Ok(token) }
    });
    let options = ClientOptions::new(server.url(), provider).storage(storage).storage_bytes(100_000);
    let ada = Client::open(options.config(eager())).await.expect("opens");
    let (dialog, mut events) = (ada.dialog("demo").expect("opened"), ada.events());
    let sent: Vec<_> = (0..20).map(|n| dialog.send(&format!("{n}{:8000}", ".")).expect("taken")).collect();
    loop {
        let batch = soon("the news", events.next_batch(64)).await;
        if batch.contains(&ClientEvent::Storage { code: Some("storage_full") }) {
            break;
        }
    }
    assert_eq!(dialog.rows()[0].state, RowState::Queued);
    assert_eq!(dialog.rows()[19].state, RowState::Saving);
    server.restart();
    *token.lock().expect("unpoisoned") = server.token("Ada", 3_600).await;
    ada.connect();
    for (n, sent) in sent.into_iter().enumerate() {
        assert_eq!(soon("the ack", sent.acked()).await, Ok(tidewire::Offset(n as u64 + 1)));
    }
}

#[tokio::test]
async fn without_a_server_everything_waits_and_nothing_fails() {
    let options =
        ClientOptions::guest("http://127.0.0.1:9", "Ada").config(Config { backoff_cap_ms: 100, ..eager() });
    let ada = Client::open(options).await.expect("opens");
    let dialog = ada.dialog("demo").expect("opened");
    dialog.send("before connecting").expect("taken");
    ada.connect();
    status_where(&ada, "failures", |status| status.attempt >= 2).await;
    assert_eq!((ada.status().state, ada.status().waiting), (State::Reconnecting, 1));
    rows_where(&dialog, "a stored row", |rows| rows[0].state == RowState::Queued).await;
    soon("the end", ada.close()).await;
}

#[tokio::test]
async fn a_client_says_how_much_it_has_done() {
    let server = Server::with(&["--model", "off"]);
    let ada = guest(&server, "Ada").await;
    online(&ada).await;
    let dialog = ada.dialog("demo").expect("opened");
    let before = ada.metrics();
    assert_eq!((before.connections, before.reconnects, before.latency_ms), (1, 0, None));
    assert!(before.since <= before.at && before.received >= 1 && before.sent >= 1);
    soon("the ack", dialog.send("hello").expect("taken").acked()).await.expect("committed");
    let after = ada.metrics();
    assert!(after.sent > before.sent && after.received > before.received);
    assert!(after.latency_ms.is_some_and(|ms| ms < 10_000) && after.waiting == 0);
    assert!(after.received_per_second() >= 0.1 && after.sent_per_second() >= 0.1);
}

#[tokio::test]
async fn a_client_whose_idle_connection_was_closed_comes_back_to_send() {
    let server = Server::with(&["--model", "off", "--idle-s", "10"]);
    let ada = guest(&server, "Ada").await;
    let dialog = ada.dialog("demo").expect("opened");
    online(&ada).await;
    let idle = status_where(&ada, "parked", |status| status.state == State::Parked).await;
    assert_eq!(idle.cause.as_deref(), Some("idle_timeout"));
    soon("the ack", dialog.send("still here").expect("taken").acked()).await.expect("committed");
    assert_eq!(ada.metrics().connections, 2);
}
