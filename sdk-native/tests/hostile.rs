//! Servers that misbehave: nothing of what they do panics, blocks or fools the client.

mod common;

use std::time::Duration;

use common::fake::{Fake, event};
use common::follow::state_where;
use common::{eager, online, rows_where, soon, status_where};
use serde_json::json;
use tidewire::token::from_fn;
use tidewire::{ChannelItem, Client, ClientOptions, Config, Offset, PeopleStatus, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

async fn client(fake: &Fake, config: Config) -> Client {
    let provider = from_fn(|_| async { Ok(String::from("a.b.c")) });
    let client = Client::open(ClientOptions::new(&fake.url, provider).config(config)).await.expect("opens");
    client.connect();
    client
}

#[tokio::test]
async fn what_is_no_frame_costs_the_connection_and_nothing_else() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let dialog = client.dialog("demo").expect("opened");
    let sent = dialog.send("hello").expect("taken");
    for garbage in ["", "{", "[[", "null", "{\"t\":7}", "[{\"t\":\"ok\"}]", "\u{0}\u{FFFF}"] {
        let (mut session, _) = fake.welcomed().await;
        session.text(garbage).await;
        session.closed().await;
    }
    let (mut session, _) = fake.welcomed().await;
    session.empty("dialog:demo").await;
    let op = session.receive("op").await;
    assert_eq!(op["id"], sent.id().as_str());
    session
        .send(&serde_json::json!({"t": "ok", "id": op["id"], "ch": "dialog:demo", "offset": 1, "at": 1}))
        .await;
    assert_eq!(soon("the ack", sent.acked()).await, Ok(tidewire::Offset(1)));
}

#[tokio::test]
async fn a_binary_message_costs_the_connection() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let (mut session, _) = fake.welcomed().await;
    session.message(Message::binary(vec![1, 2, 3])).await;
    let _held = fake.welcomed().await;
    online(&client).await;
}

#[tokio::test]
async fn a_message_over_two_mebibytes_costs_the_connection() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let (mut session, _) = fake.welcomed().await;
    online(&client).await;
    // The client closes while this is being written.
    let huge = Message::text("x".repeat(3 * 1024 * 1024));
    let _ = futures_util::SinkExt::send(&mut session.socket, huge).await;
    let _held = fake.welcomed().await;
    online(&client).await;
}

#[tokio::test]
async fn every_code_that_says_so_is_followed_by_another_attempt() {
    let fake = Fake::start().await;
    // Held to the end: dropping it closes the client.
    let _client = client(&fake, eager()).await;
    for code in [1000, 1001, 1011, 1012, 3000, 4001, 4002] {
        let (mut session, _) = fake.welcomed().await;
        session.close(code).await;
    }
    let _held = fake.welcomed().await;
}

#[tokio::test]
async fn a_terminal_code_is_obeyed_until_the_application_connects_again() {
    for code in [3500, 4500, 4501, 4503, 4526, 4999] {
        let fake = Fake::start().await;
        let client = client(&fake, eager()).await;
        let (mut session, _) = fake.welcomed().await;
        session.close(code).await;
        if code == 4501 {
            // The token had worked: one with another token follows.
            let mut renewed = fake.session().await;
            renewed.receive("hello").await;
            renewed.close(code).await;
        }
        let status = status_where(&client, "failed", |status| status.state == State::Failed).await;
        assert!(status.cause.is_some(), "{code}");
        let again = tokio::time::timeout(Duration::from_millis(300), fake.connection()).await;
        assert!(again.is_err(), "{code} was followed by another attempt");
        client.connect();
        let _held = fake.welcomed().await;
        online(&client).await;
    }
}

#[tokio::test]
async fn a_server_that_never_answers_the_upgrade_is_given_up_in_time() {
    let fake = Fake::start().await;
    let client = client(&fake, Config { connect_timeout_ms: 200, ..eager() }).await;
    let _silent = fake.connection().await;
    let _silent_too = fake.connection().await;
    status_where(&client, "the failures", |status| status.attempt >= 2).await;
}

#[tokio::test]
async fn what_arrives_on_a_connection_that_was_given_up_counts_for_nothing() {
    let fake = Fake::start().await;
    let client = client(&fake, Config { connect_timeout_ms: 300, ..eager() }).await;
    let mut first = fake.session().await;
    first.receive("hello").await;
    let mut second = fake.session().await;
    second.receive("hello").await;
    // The client may have closed this one altogether.
    let late = Message::text(r#"{"t":"welcome"}"#);
    let _ = futures_util::SinkExt::send(&mut first.socket, late).await;
    assert_ne!(client.status().state, State::Online);
    second.welcome().await;
    online(&client).await;
}

#[tokio::test]
async fn what_answers_with_something_other_than_a_websocket_is_tried_again() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    for answer in ["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "SSH-2.0-x\r\n", ""] {
        let mut stream = fake.connection().await;
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
    let _held = fake.welcomed().await;
    online(&client).await;
}

#[tokio::test]
async fn a_slow_reader_of_a_channel_is_told_what_it_missed() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let mut channel = client.channel("news").expect("opened");
    let dialog = client.dialog("demo").expect("opened");
    let (mut session, _) = fake.welcomed().await;
    session.empty("news").await;
    session.empty("dialog:demo").await;
    for offset in 1..=1_000 {
        session.send(&event("news", offset, "x")).await;
    }
    session.send(&event("dialog:demo", 1, "the end")).await;
    rows_where(&dialog, "the last event", |rows| rows.len() == 1).await;
    let (mut seen, mut missed, mut next) = (0, 0, 1);
    while next <= 1_000 {
        match soon("an item", channel.next()).await.expect("open") {
            ChannelItem::Event(event) => {
                assert!(event.offset == next || missed > 0, "{} after {next} without a marker", event.offset);
                (seen, next) = (seen + 1, event.offset.0 + 1);
            }
            ChannelItem::Lagged { missed: more } => missed += more,
            _ => {}
        }
    }
    assert!(missed > 0 && seen > 0 && seen <= 256, "{seen} seen, {missed} missed");
}

#[tokio::test]
async fn what_is_told_of_people_may_make_no_sense_and_harms_nothing() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let dialog = client.dialog("demo").expect("opened");
    let mut people = dialog.people().expect("open");
    let (mut session, _) = fake.welcomed().await;
    session.empty("dialog:demo").await;
    session.receive("watch").await;
    let person = |id: u64, leases: serde_json::Value| json!({"user": {"id": format!("user:{id}"), "name": "", "kind": "user"}, "leases": leases});
    let here = json!([{"kind": "here", "since": 1}]);
    let odd =
        json!([{"kind": "", "since": 0, "body": {"a": [null]}}, {"kind": "typing", "since": u64::MAX >> 11}]);
    let bob = json!({"kind": "user", "id": "user:2"});
    let nobody = json!({"kind": "of a later version", "id": ""});
    let crowd: Vec<_> = (10..2_010).map(|id| person(id, here.clone())).collect();
    for frame in [
        // Changes before there is a list, and of a channel that nobody watches.
        json!({"t": "people", "n": 5, "ch": "dialog:demo", "count": 7, "people": [person(2, odd.clone())]}),
        json!({"t": "people", "n": 1, "ch": "dialog:other", "count": 1, "full": true, "people": [person(2, here.clone())]}),
        // The same person twice, gone at the same time, gone without having been there.
        json!({"t": "people", "n": 1, "ch": "dialog:demo", "count": 0, "full": true, "more": true,
            "people": [person(2, here.clone()), person(2, odd)], "gone": [bob, bob, nobody]}),
        json!({"t": "people", "n": 1, "ch": "dialog:demo", "count": 1, "crowded": true, "people": [person(3, json!([]))]}),
        json!({"t": "people", "n": 2, "ch": "dialog:demo", "count": 1, "refused": "of_a_later_version"}),
        json!({"t": "people", "n": 3, "ch": "dialog:demo", "count": 3, "full": true, "settle_ms": 0, "people": crowd}),
    ] {
        session.send(&frame).await;
    }
    let all = async {
        loop {
            let state = people.next().await.expect("open");
            if state.status == PeopleStatus::Live && state.people.len() == 2_000 {
                return state;
            }
        }
    };
    let state = soon("the crowd", all).await;
    assert!(state.people.iter().all(|person| person.here && !person.own && person.leases.is_empty()));
    assert!(people.typing().is_empty());
    online(&client).await;
    // One that can't be read costs what is known of the people, and neither the connection nor rows.
    session.text(r#"{"t":"people","ch":"dialog:demo","people":7}"#).await;
    session.send(&event("dialog:demo", 1, "still here")).await;
    rows_where(&dialog, "the row", |rows| rows.len() == 1).await;
    let code = String::from("protocol");
    assert_eq!(people.state().status, PeopleStatus::Refused { code });
    session.send(&json!({"t": "people", "n": 3, "ch": "dialog:demo", "count": 0, "full": true})).await;
    while people.state().status != PeopleStatus::Live {
        soon("another list", people.next()).await;
    }
}

#[tokio::test]
async fn what_is_told_of_reads_may_make_no_sense_and_harms_nothing() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let dialog = client.dialog("demo").expect("opened");
    let mut reads = dialog.reads().expect("open");
    let (mut session, _) = fake.welcomed().await;
    session.empty("dialog:demo").await;
    session.receive("marks").await;
    let user = |id: u64| json!({"id": format!("user:{id}"), "name": "", "kind": "user"});
    let receipt = |id: u64, offset: u64| json!({"user": user(id), "offset": offset, "at": 0});
    let most = (1_u64 << 53) - 1;
    let crowd: Vec<_> = (10..2_010).map(|id| receipt(id, id)).collect();
    for frame in [
        // What was never asked for, of a channel that nobody follows, and nothing at all.
        json!({"t": "marks", "ch": "dialog:other", "offset": 7, "unread": 1, "head": 7, "users": [receipt(2, 7)]}),
        json!({"t": "marks", "ch": "dialog:demo", "users": []}),
        // The same user twice, further than the log goes, and users that can't be read.
        json!({"t": "marks", "ch": "dialog:demo", "offset": 0, "unread": most, "head": most, "more": true,
            "users": [receipt(2, 1), receipt(2, most), receipt(2, 3), {"user": 7}, 7, [], {"offset": 1}]}),
        json!({"t": "marks", "ch": "dialog:demo", "users": crowd}),
        json!({"t": "marks", "ch": "dialog:demo", "users": [], "refused": "of_a_later_version", "retry_after_ms": 1}),
    ] {
        session.send(&frame).await;
    }
    let state = state_where(&mut reads, "the crowd", |state| state.receipts.len() == 2_001).await;
    assert_eq!(state.read_by(Offset(2_009)).len(), 2);
    assert_eq!((state.receipts[0].offset, state.status), (Offset(most), PeopleStatus::Live));
    session.send(&json!({"t": "marks", "ch": "dialog:demo", "users": [], "crowded": true})).await;
    let state = state_where(&mut reads, "too many", |state| state.status == PeopleStatus::Crowded).await;
    assert!(state.receipts.is_empty());
    // One that can't be read costs what is known of the positions, and neither the connection nor rows.
    session.text(r#"{"t":"marks","ch":"dialog:demo","offset":"x","users":7}"#).await;
    session.send(&event("dialog:demo", 1, "still here")).await;
    rows_where(&dialog, "the row", |rows| rows.len() == 1).await;
    let code = String::from("protocol");
    state_where(&mut reads, "the refusal", |state| {
        state.status == PeopleStatus::Refused { code: code.clone() }
    })
    .await;
    // A position of one's own that makes no sense neither blocks nor fools what is said later.
    dialog.mark_read(None).expect("here");
    assert_eq!(session.receive("mark").await["offset"], 1);
    session.send(&json!({"t": "marks", "ch": "dialog:demo", "offset": most, "users": []})).await;
    state_where(&mut reads, "the position", |state| state.position == Offset(most)).await;
    assert_eq!(dialog.mark_read(Some(Offset(most))).expect_err("not here").code(), "bad_offset");
    dialog.mark_read(None).expect("it is only older");
    online(&client).await;
}

#[tokio::test]
async fn closing_says_goodbye_and_settles_every_promise() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let (mut session, _) = fake.welcomed().await;
    online(&client).await;
    let dialog = client.dialog("demo").expect("opened");
    let sent = dialog.send("too late").expect("taken");
    let mut events = client.events();
    soon("the end", client.close()).await;
    assert_eq!(sent.acked().await.expect_err("closed").code(), "closed");
    assert_eq!(session.closed().await, Some(1000));
    assert_eq!(dialog.send("later still").expect_err("closed").code(), "closed");
    assert_eq!(client.dialog("other").expect_err("closed").code(), "closed");
    while !soon("the stream's end", events.next_batch(10)).await.is_empty() {}
}

#[tokio::test]
async fn dropping_the_last_client_closes_the_connection() {
    let fake = Fake::start().await;
    let client = client(&fake, eager()).await;
    let dialog = client.dialog("demo").expect("opened");
    let (mut session, _) = fake.welcomed().await;
    online(&client).await;
    let other = client.clone();
    drop(client);
    assert_eq!(other.status().state, State::Online);
    drop(other);
    session.closed().await;
    assert_eq!(dialog.send("x").expect_err("closed").code(), "closed");
}
