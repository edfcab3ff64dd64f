//! Channels by rule, against the real server's process: `docs/channels.md`.

mod common;

use std::sync::Arc;

use common::server::Server;
use common::{eager, online, rows_where, soon, status_where};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire::token::from_fn;
use tidewire::{
    Channel, ChannelItem, ChannelState, Client, ClientOptions, EventFrame, Offset, State, Storage,
};

const RULES: &str = r#"
    [[channel]]
    name = "guild:{id}"
    read = ["claim:guilds"]
    [channel.kinds]
    "poll.vote" = ["claim:guilds"]
    "notice" = ["role:admin"]
    [[channel]]
    name = "news"
    read = ["users"]
    write = []
"#;

fn guilds() -> Server {
    Server::configured(RULES, &["--model", "off"])
}

async fn client(server: &Server, name: &str, claims: &Value, storage: Storage) -> Client {
    let token = server.token_with(name, claims);
    let provider = from_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let options = ClientOptions::new(server.url(), provider).storage(storage).config(eager());
    let client = Client::open(options).await.expect("opens");
    client.connect();
    client
}

async fn member(server: &Server, name: &str) -> Client {
    client(server, name, &json!({"guilds": ["7"]}), Storage::Memory).await
}

/// The next event; nothing but being live or not may come before it.
async fn event(channel: &mut Channel) -> Arc<EventFrame> {
    loop {
        match soon("an event", channel.next()).await.expect("open") {
            ChannelItem::Event(event) => return event,
            ChannelItem::State(ChannelState::Syncing | ChannelState::Live) => {}
            item => panic!("{item:?}"),
        }
    }
}

async fn live(channel: &mut Channel) {
    while soon("to be live", channel.next()).await.expect("open") != ChannelItem::State(ChannelState::Live) {}
}

/// Publishes and waits for the server.
async fn publish(channel: &Channel, kind: &str, body: &str) -> Result<Offset, String> {
    let sent = channel.publish(kind, body).expect("taken");
    soon("the answer", sent.acked()).await.map_err(|error| error.code().to_owned())
}

#[tokio::test]
async fn two_members_get_each_event_once_and_in_order_through_a_restart_of_the_server() {
    let mut server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let mut hers = ada.channel("guild:7").expect("opened");
    let mut his = bob.channel("guild:7").expect("opened");
    assert_eq!(his.name(), "guild:7");
    for n in 1..=12 {
        if n == 5 {
            server.kill();
            status_where(&ada, "the loss", |status| status.state == State::Reconnecting).await;
        }
        // The fifth to the eighth are published without a server.
        let sent = hers.publish_json("poll.vote", &json!({"option": n})).expect("taken");
        if n == 8 {
            server.restart();
        }
        if !(5..8).contains(&n) {
            assert_eq!(soon("the ack", sent.acked()).await, Ok(Offset(n)));
        }
    }
    for channel in [&mut hers, &mut his] {
        for n in 1..=12 {
            let event = event(channel).await;
            assert_eq!(
                (event.offset, event.kind.as_str(), event.by.id.as_str()),
                (Offset(n), "poll.vote", "ada")
            );
            assert_eq!(event.body, format!("{{\"option\":{n}}}"));
        }
    }
    soon("the end", bob.close()).await;
    while let Some(item) = soon("the end of the channel", his.next()).await {
        assert!(matches!(item, ChannelItem::State(_)), "{item:?}");
    }
}

#[tokio::test]
async fn what_was_before_comes_when_asked_for_as_events_and_as_rows() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let channel = ada.channel("guild:7").expect("opened");
    for n in 1..=12 {
        let body = format!("{{\"text\":\"{n}\"}}");
        publish(&channel, if n % 2 == 0 { "poll.vote" } else { "message" }, &body).await.expect("committed");
    }
    let bob = member(&server, "bob").await;
    let mut his = bob.channel("guild:7").expect("opened");
    live(&mut his).await;
    assert_eq!(his.load_older(Some(Offset(11)), 4), Ok(Offset(11)));
    let (before, offsets, more) = loop {
        if let Some(ChannelItem::Older { before, events, more }) = soon("the answer", his.next()).await {
            break (before, events.iter().map(|event| event.offset.0).collect::<Vec<_>>(), more);
        }
    };
    assert_eq!((before, offsets, more), (Offset(11), vec![7, 8, 9, 10], true));

    // The rows of a dialog begin with the newest 50 events.
    let sent = 55;
    let room = ada.dialog("demo").expect("opened");
    for n in 1..=sent {
        soon("the ack", room.send(&n.to_string()).expect("taken").acked()).await.expect("committed");
    }
    let his = bob.dialog("demo").expect("opened");
    rows_where(&his, "the newest", |rows| rows.len() == 50).await;
    assert!(his.state().has_older);
    let first = his.rows()[0].clone();
    his.load_older(256).expect("open");
    let rows = rows_where(&his, "all", |rows| rows.len() == sent).await;
    assert!(rows.iter().enumerate().all(|(at, row)| row.text == (at + 1).to_string()));
    assert_eq!((rows[5].clone(), his.state().has_older), (first, false));
    assert_eq!(ada.dialog("no name").map(|_| ()).map_err(|error| error.code()), Err("bad_channel"));
}

#[tokio::test]
async fn a_refused_event_says_why_and_blocks_nothing_behind_it() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let guild = ada.channel("guild:7").expect("opened");
    let refused = guild.publish("notice", "{}").expect("taken");
    let behind = guild.publish("poll.vote", "{}").expect("taken");
    assert_eq!(soon("the refusal", refused.acked()).await.expect_err("not an admin").code(), "forbidden");
    soon("the ack", behind.acked()).await.expect("committed");
    assert!(!ada.retry(refused.id()) && !ada.discard(refused.id()), "it is discarded");
    assert_eq!(publish(&guild, "no.such.kind", "{}").await, Err(String::from("unknown_kind")));
    let admin = client(&server, "root", &json!({"guilds": ["7"], "roles": ["admin"]}), Storage::Memory).await;
    publish(&admin.channel("guild:7").expect("opened"), "notice", "{}").await.expect("an admin may");

    let mut news = ada.channel("news").expect("opened");
    live(&mut news).await;
    assert_eq!(publish(&news, "message", r#"{"text":"hi"}"#).await, Err(String::from("forbidden")));
    // In a dialog, a message would have a row.
    let dialog = ada.channel("dialog:demo").expect("opened");
    assert_eq!(publish(&dialog, "no.such.kind", "{}").await, Err(String::from("unknown_kind")));
    publish(&dialog, "message", r#"{"text":"hi"}"#).await.expect("not blocked");
    assert_eq!(ada.status().waiting, 0);
}

#[tokio::test]
async fn a_user_without_the_claim_reads_nothing_and_writes_nothing() {
    let server = guilds();
    let (ada, eve) = (member(&server, "ada").await, member(&server, "eve").await);
    let mut others = eve.channel("guild:8").expect("a valid name");
    loop {
        match soon("the refusal", others.next()).await.expect("open") {
            ChannelItem::State(ChannelState::Failed { code, .. }) => {
                assert_eq!(code, "forbidden");
                break;
            }
            ChannelItem::State(_) => {}
            item => panic!("{item:?}"),
        }
    }
    assert_eq!(publish(&others, "poll.vote", "{}").await, Err(String::from("forbidden")));
    // The one that is allowed is not affected.
    let mut guild = ada.channel("guild:7").expect("opened");
    publish(&eve.channel("guild:7").expect("opened"), "poll.vote", "{}").await.expect("committed");
    assert_eq!(event(&mut guild).await.by.id, "eve");
}

#[tokio::test]
async fn a_signal_reaches_the_readers_of_the_channel_and_no_others() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let mut hers = ada.channel("guild:7").expect("opened");
    let (mut his, mut news) = (bob.channel("guild:7").expect("opened"), bob.channel("news").expect("opened"));
    for channel in [&mut hers, &mut his, &mut news] {
        live(channel).await;
    }
    hers.signal("pointer", Some("p1"), r#"{"x":1}"#).expect("taken");
    match soon("the signal", his.next()).await.expect("open") {
        ChannelItem::Signal { signal, by } => {
            assert_eq!((signal.kind.as_str(), signal.key.as_deref()), ("pointer", Some("p1")));
            assert_eq!((signal.body.as_str(), by.id.as_str()), (r#"{"x":1}"#, "ada"));
        }
        item => panic!("{item:?}"),
    }
    publish(&hers, "poll.vote", "{}").await.expect("committed");
    event(&mut his).await;
    soon("the end", bob.close()).await;
    while let Some(item) = soon("the end of the channel", news.next()).await {
        assert!(matches!(item, ChannelItem::State(_)), "{item:?}");
    }
}

#[tokio::test]
async fn the_last_handle_that_is_dropped_ends_the_subscription() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let mut first = ada.channel("guild:7").expect("opened");
    let second = ada.channel("guild:7").expect("opened");
    drop(second);
    publish(&first, "poll.vote", "{}").await.expect("committed");
    assert_eq!(event(&mut first).await.offset, Offset(1));
    drop(first);
    let offset = soon("the ack", ada.send("guild:7", "poll.vote", "{}").expect("taken").acked()).await;
    assert_eq!(offset, Ok(Offset(2)));
    // Another subscription begins with the newest events.
    let mut again = ada.channel("guild:7").expect("opened");
    for offset in 1..=2 {
        assert_eq!(event(&mut again).await.offset, Offset(offset));
    }
}

#[tokio::test]
async fn with_a_store_a_channel_and_what_was_published_go_on_in_the_next_run() {
    let mut server = guilds();
    let folder = TempDir::new().expect("a folder");
    let claims = json!({"guilds": ["7"]});
    let storage = || Storage::Folder(folder.path().to_owned());
    let ada = client(&server, "ada", &claims, storage()).await;
    let mut guild = ada.channel("guild:7").expect("opened");
    publish(&guild, "poll.vote", "{}").await.expect("committed");
    assert_eq!(event(&mut guild).await.offset, Offset(1));
    server.kill();
    status_where(&ada, "the loss", |status| status.state == State::Reconnecting).await;
    for (kind, body) in [("notice", r#"{"n":2}"#), ("poll.vote", r#"{"n":3}"#)] {
        guild.publish(kind, body).expect("taken");
    }
    soon("the end", ada.close()).await;
    drop((guild, ada));

    server.restart();
    let ada = client(&server, "ada", &claims, storage()).await;
    let mut guild = ada.channel("guild:7").expect("opened");
    // The first one is refused, and blocks nothing though nobody waits for it any more.
    let event = event(&mut guild).await;
    assert_eq!((event.offset, event.body.as_str()), (Offset(2), r#"{"n":3}"#));
    status_where(&ada, "nothing waiting", |status| status.waiting == 0).await;
}

#[tokio::test]
async fn hostile_arguments_have_codes_and_the_channel_goes_on() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    for name in ["", " ", "guild 7", "ä", "dialog:\0", &"x".repeat(129)] {
        assert_eq!(ada.channel(name).expect_err("refused").code(), "bad_channel", "{name:?}");
    }
    let guild = ada.channel("guild:7").expect("opened");
    let long = "k".repeat(65);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    for (kind, body, code) in [
        ("poll.vote", "", "bad_body"),
        ("poll.vote", "[]", "bad_body"),
        ("poll.vote", "7", "bad_body"),
        ("poll.vote", "{\"a\":1,}", "bad_body"),
        ("poll.vote", deep.as_str(), "too_deep"),
        ("poll.vote", large.as_str(), "too_large"),
        (long.as_str(), "{}", "too_large"),
    ] {
        assert_eq!(guild.publish(kind, body).expect_err("refused").code(), code);
    }
    assert_eq!(guild.publish_json("poll.vote", &[1]).expect_err("refused").code(), "bad_body");
    assert_eq!(guild.signal(&long, None, "{}").expect_err("refused").code(), "too_large");
    assert_eq!(guild.signal("k", Some(&long), "{}").expect_err("refused").code(), "too_large");
    assert_eq!(guild.signal("k", None, "[]").expect_err("refused").code(), "bad_body");
    // Kinds that only the server can judge are refused by it.
    for kind in ["", "\0", "answer.end", "run.cancel"] {
        let code = publish(&guild, kind, "{}").await.expect_err("refused");
        assert!(
            ["bad_op", "bad_body", "bad_frame", "unknown_kind", "forbidden"].contains(&code.as_str()),
            "{kind:?}: {code}"
        );
    }
    online(&ada).await;
    publish(&guild, "poll.vote", "{}").await.expect("committed");
    soon("the end", ada.close()).await;
    assert_eq!(guild.publish("poll.vote", "{}").expect_err("closed").code(), "closed");
    assert_eq!(guild.signal("k", None, "{}").expect_err("closed").code(), "closed");
    assert_eq!(ada.channel("guild:7").expect_err("closed").code(), "closed");
}
