//! How far channels were read, against the real server's process.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::follow::state_where;
use common::peer::Peer;
use common::server::Server;
use common::told::Told;
use common::{eager, member, member_with, online, rows_where, soon, status_where, until};
use serde_json::json;
use tempfile::TempDir;
use tidewire::{
    Channel, Client, ClientEvent, Dialog, Offset, PeopleStatus, Reads, ReadsState, SendError, State, Storage,
};

const RULES: &str = r#"
    [[channel]]
    name = "guild:{id}"
    read = ["claim:guilds"]
    receipts = true
    [[channel]]
    name = "news"
    read = ["users"]
"#;

fn guilds() -> Server {
    Server::configured(RULES, &["--model", "off"])
}

/// Writes messages into the dialog and waits until they are committed.
async fn say(dialog: &Dialog, texts: &[&str]) {
    for text in texts {
        soon("the ack", dialog.send(text).expect("taken").acked()).await.expect("committed");
    }
}

/// Waits until the client has the event at this offset.
async fn has(dialog: &Dialog, offset: u64) {
    let last =
        |offset: u64| move |rows: &tidewire::Rows| rows.iter().any(|row| row.offset == Some(Offset(offset)));
    rows_where(dialog, "the message", last(offset)).await;
}

/// Live, at this position, with so many unread.
fn is(position: u64, unread: u64) -> impl Fn(&ReadsState) -> bool {
    move |state| {
        state.status == PeopleStatus::Live
            && (state.position, state.unread) == (Offset(position), Some(unread))
    }
}

fn receipts(state: &ReadsState) -> Vec<(&str, u64)> {
    state.receipts.iter().map(|receipt| (receipt.user.id.as_str(), receipt.offset.0)).collect()
}

fn ids(state: &ReadsState, offset: u64) -> Vec<&str> {
    state.read_by(Offset(offset)).iter().map(|user| user.id.as_str()).collect()
}

async fn end(mut reads: Reads) {
    soon("the end of the reads", async { while reads.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn what_is_unread_is_counted_and_others_see_who_has_read_what() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let hers = ada.dialog("demo").expect("opened");
    let mut seen = hers.reads().expect("open");
    say(&hers, &["one", "two", "three"]).await;
    let state = state_where(&mut seen, "nothing unread", is(0, 0)).await;
    assert!(state.receipts.is_empty() && !state.more, "one's own are not unread: {state:?}");

    let his = bob.dialog("demo").expect("opened");
    let mut read = his.reads().expect("open");
    state_where(&mut read, "all unread", is(0, 3)).await;
    his.mark_read(Some(Offset(2))).expect("here");
    assert_eq!(read.state().position, Offset(2), "at once");
    state_where(&mut read, "what is unread after it", is(2, 1)).await;
    let state = state_where(&mut seen, "his receipt", |state| ids(state, 2) == ["bob"]).await;
    assert_eq!((ids(&state, 1), ids(&state, 3), ids(&state, 0)), (vec!["bob"], vec![], vec![]));
    assert_eq!((receipts(&state), state.position), (vec![("bob", 2)], Offset(0)));
    assert!(state.receipts[0].at > 0 && state.receipts[0].user.name == "bob", "{state:?}");

    his.mark_read(Some(Offset(1))).expect("it is only older");
    his.mark_read(None).expect("here");
    assert!(is(3, 0)(&read.state()), "{:?}", read.state());
    state_where(&mut seen, "all read", |state| ids(state, 3) == ["bob"]).await;
    say(&hers, &["four"]).await;
    let state = state_where(&mut read, "one unread", is(3, 1)).await;
    assert!(state.receipts.is_empty(), "she has said nothing, and he is not another one: {state:?}");
    hers.mark_read(None).expect("here");
    state_where(&mut read, "her receipt", |state| receipts(state) == [("ada", 4)]).await;
}

#[tokio::test]
async fn two_devices_that_are_offline_in_turn_come_to_the_greatest_position() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let (phone, laptop) = (member(&server, "bob").await, member(&server, "bob").await);
    let hers = ada.dialog("demo").expect("opened");
    let mut seen = hers.reads().expect("open");
    let on = [phone.dialog("demo").expect("opened"), laptop.dialog("demo").expect("opened")];
    let mut shown = [on[0].reads().expect("open"), on[1].reads().expect("open")];
    say(&hers, &["one", "two", "three"]).await;
    for reads in &mut shown {
        state_where(reads, "three unread", is(0, 3)).await;
    }

    offline(&phone).await;
    on[0].mark_read(None).expect("here");
    let state = shown[0].state();
    assert_eq!((state.position, state.unread), (Offset(3), Some(0)));
    assert_eq!(state.status, PeopleStatus::Syncing, "it may be more elsewhere");
    phone.connect();
    for reads in &mut shown {
        state_where(reads, "all read", is(3, 0)).await;
    }

    offline(&laptop).await;
    say(&hers, &["four", "five"]).await;
    state_where(&mut shown[0], "two unread", is(3, 2)).await;
    on[0].mark_read(Some(Offset(4))).expect("here");
    state_where(&mut seen, "his receipt", |state| receipts(state) == [("bob", 4)]).await;
    assert_eq!(shown[1].state().position, Offset(3), "it does not know yet");
    laptop.connect();
    state_where(&mut shown[1], "one unread", is(4, 1)).await;

    say(&hers, &["six"]).await;
    for dialog in &on {
        has(dialog, 6).await;
    }
    for client in [&phone, &laptop] {
        offline(client).await;
    }
    on[0].mark_read(Some(Offset(5))).expect("here");
    on[1].mark_read(Some(Offset(6))).expect("here");
    laptop.connect();
    state_where(&mut seen, "the greatest", |state| receipts(state) == [("bob", 6)]).await;
    phone.connect();
    for reads in &mut shown {
        state_where(reads, "all read", is(6, 0)).await;
    }
    assert_eq!(receipts(&seen.state()), [("bob", 6)], "one user, however many devices");
}

async fn offline(client: &Client) {
    client.disconnect();
    status_where(client, "the end of the connection", |status| status.state == State::Disconnected).await;
}

#[tokio::test]
async fn a_client_that_is_killed_keeps_the_position_that_the_server_does_not_have() {
    let mut server = guilds();
    let folder = TempDir::new().expect("a folder");
    let store = folder.path().join("bob");
    let ada = member(&server, "ada").await;
    let hers = ada.dialog("demo").expect("opened");
    let mut seen = hers.reads().expect("open");
    say(&hers, &["one", "two", "three"]).await;
    let (told, token) = (Arc::new(Told::default()), server.token_with("bob", &json!({})));
    let mut peer = Peer::start(&told, ("bob", 0), (&server.url(), &token), Some(&store), &[], &[]);
    until("the messages", || peer.state().applied == 3).await;
    server.kill();
    until("the loss", || !peer.state().online).await;
    peer.mark_read();
    until("the position on the disk", || is_kept(&store)).await;
    peer.kill(&told);

    let bob = member_with(&server.url(), &server, "bob", eager(), Storage::Folder(store)).await;
    let his = bob.dialog("demo").expect("opened");
    let mut read = his.reads().expect("open");
    let state = read.state();
    assert_eq!((state.position, state.status), (Offset(3), PeopleStatus::Syncing));
    server.restart();
    bob.connect();
    state_where(&mut read, "all read", is(3, 0)).await;
    state_where(&mut seen, "his receipt", |state| receipts(state) == [("bob", 3)]).await;
    let other = member(&server, "bob").await;
    let dialog = other.dialog("demo").expect("opened");
    state_where(&mut dialog.reads().expect("open"), "the same elsewhere", is(3, 0)).await;
}

/// Whether a store has positions in it.
fn is_kept(store: &Path) -> bool {
    std::fs::read_dir(store).expect("a folder").any(|file| {
        // SQLite may remove one of its files meanwhile.
        let bytes = std::fs::read(file.expect("a file").path()).unwrap_or_default();
        bytes.windows(7).any(|part| part == b"\"marks\"")
    })
}

#[tokio::test]
async fn a_client_that_is_closed_at_once_keeps_the_position_too() {
    let server = guilds();
    let folder = TempDir::new().expect("a folder");
    let store = || Storage::Folder(folder.path().join("bob"));
    let ada = member(&server, "ada").await;
    let hers = ada.dialog("demo").expect("opened");
    say(&hers, &["one", "two"]).await;
    let bob = member_with(&server.url(), &server, "bob", eager(), store()).await;
    bob.connect();
    let his = bob.dialog("demo").expect("opened");
    has(&his, 2).await;
    offline(&bob).await;
    his.mark_read(None).expect("here");
    soon("the end", bob.close()).await;

    let bob = member_with(&server.url(), &server, "bob", eager(), store()).await;
    let his = bob.dialog("demo").expect("opened");
    assert_eq!(his.reads().expect("open").state().position, Offset(2));
    bob.connect();
    state_where(&mut his.reads().expect("open"), "all read", is(2, 0)).await;
    // What was said last is told while the connection ends.
    say(&hers, &["three"]).await;
    has(&his, 3).await;
    his.mark_read(None).expect("here");
    soon("the end", bob.close()).await;
    let mut seen = hers.reads().expect("open");
    state_where(&mut seen, "his receipt", |state| receipts(state) == [("bob", 3)]).await;
}

#[tokio::test]
async fn a_server_that_is_killed_forgets_no_position_and_is_told_what_it_missed() {
    let mut server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let (hers, his) = (ada.dialog("demo").expect("opened"), bob.dialog("demo").expect("opened"));
    let (mut seen, mut read) = (hers.reads().expect("open"), his.reads().expect("open"));
    say(&hers, &["one", "two", "three"]).await;
    state_where(&mut read, "all unread", is(0, 3)).await;
    his.mark_read(Some(Offset(1))).expect("here");
    state_where(&mut seen, "his receipt", |state| receipts(state) == [("bob", 1)]).await;
    // The server may have taken this one, and has not stored it.
    his.mark_read(Some(Offset(2))).expect("here");
    server.kill();
    status_where(&ada, "the loss", |status| status.state == State::Reconnecting).await;
    let state = state_where(&mut seen, "the loss", |state| state.status == PeopleStatus::Syncing).await;
    assert_eq!(receipts(&state), [("bob", 1)], "what was known stays");
    server.restart();
    let wanted = |state: &ReadsState| state.status == PeopleStatus::Live && receipts(state) == [("bob", 2)];
    state_where(&mut seen, "his receipt", wanted).await;
    state_where(&mut read, "one unread", is(2, 1)).await;
}

#[tokio::test]
async fn each_follower_ends_alone_and_all_with_the_last_handle() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let hers = ada.dialog("demo").expect("opened");
    let his = bob.dialog("demo").expect("opened");
    let channel = bob.channel("dialog:demo").expect("opened");
    let mut first = his.reads().expect("open");
    say(&hers, &["one"]).await;
    state_where(&mut first, "one unread", is(0, 1)).await;

    let mut late = channel.reads().expect("open");
    assert_eq!(late.state(), first.state());
    assert_eq!(soon("the present", late.next()).await, Some(first.state()));
    first.close();
    channel.mark_read(None).expect("here");
    state_where(&mut late, "all read", is(1, 0)).await;
    for _ in 0..200 {
        drop(his.reads().expect("open"));
    }
    // Whoever follows after nobody did is told anew.
    drop(late);
    let mut again = his.reads().expect("open");
    say(&hers, &["two"]).await;
    state_where(&mut again, "one unread", is(1, 1)).await;
    let mut people = his.people().expect("open");
    drop(his);
    channel.mark_read(None).expect("here");
    state_where(&mut again, "all read", is(2, 0)).await;
    drop(channel);
    end(again).await;
    soon("the end of the people", async { while people.next().await.is_some() {} }).await;

    let channel = bob.channel("dialog:demo").expect("opened");
    state_where(&mut channel.reads().expect("open"), "the position", is(2, 0)).await;
}

#[tokio::test]
async fn the_events_of_a_client_tell_how_far_its_channels_were_read() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let mut events = ada.events();
    let (hers, his) = (ada.channel("guild:7").expect("opened"), bob.channel("guild:7").expect("opened"));
    let reads = hers.reads().expect("open");
    let sent = hers.publish("message", r#"{"text":"hello"}"#).expect("taken");
    soon("the ack", sent.acked()).await.expect("committed");
    until("the event", || his.mark_read(Some(Offset(1))).is_ok()).await;
    let told = async {
        loop {
            for event in events.next_batch(64).await {
                if let ClientEvent::Reads { channel, state } = event
                    && !state.receipts.is_empty()
                {
                    return (channel, state);
                }
            }
        }
    };
    let (channel, state) = soon("the receipt", told).await;
    assert_eq!((channel.as_str(), receipts(&state)), ("guild:7", vec![("bob", 1)]));
    assert_eq!(reads.state(), state);
}

#[tokio::test]
async fn a_channel_whose_rule_has_no_receipts_or_may_not_be_read_says_so() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let (hers, his) = (ada.channel("news").expect("opened"), bob.channel("news").expect("opened"));
    let sent = hers.publish("message", r#"{"text":"hello"}"#).expect("taken");
    soon("the ack", sent.acked()).await.expect("committed");
    let mut read = his.reads().expect("open");
    state_where(&mut read, "one unread", is(0, 1)).await;
    his.mark_read(None).expect("here");
    let other = member(&server, "bob").await;
    let elsewhere = other.channel("news").expect("opened");
    state_where(&mut elsewhere.reads().expect("open"), "his position", is(1, 0)).await;
    let mut seen = hers.reads().expect("open");
    let state = state_where(&mut seen, "hers", is(0, 0)).await;
    assert!(state.receipts.is_empty(), "nobody is told: {state:?}");

    let others = ada.channel("guild:8").expect("a valid name");
    let mut forbidden = others.reads().expect("open");
    let refused = PeopleStatus::Refused { code: String::from("forbidden") };
    let state = state_where(&mut forbidden, "the refusal", |state| state.status == refused).await;
    assert_eq!((state.position, state.unread, state.receipts.len()), (Offset(0), None, 0));
    assert_eq!(others.mark_read(Some(Offset(1))).map_err(|error| error.code()), Err("bad_offset"));
    others.mark_read(None).expect("there is nothing to be read");
}

fn with_handles(
    dialog: &Dialog,
    channel: &Channel,
    run: impl Fn(&dyn Fn(Option<Offset>) -> Result<(), SendError>),
) {
    run(&|offset| dialog.mark_read(offset));
    run(&|offset| channel.mark_read(offset));
}

#[tokio::test]
async fn hostile_offsets_have_codes_and_the_reads_go_on() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let (dialog, channel) = (ada.dialog("demo").expect("opened"), ada.channel("guild:7").expect("opened"));
    let (mut in_dialog, mut in_channel) = (dialog.reads().expect("open"), channel.reads().expect("open"));
    let code = |result: Result<(), SendError>| result.expect_err("refused").code();
    with_handles(&dialog, &channel, |mark_read| {
        mark_read(None).expect("before there is anything");
    });
    say(&dialog, &["one", "two"]).await;
    for text in [r#"{"text":"one"}"#, r#"{"text":"two"}"#] {
        let sent = channel.publish("message", text).expect("taken");
        soon("the ack", sent.acked()).await.expect("committed");
    }
    until("both channels", || {
        dialog.mark_read(Some(Offset(1))).is_ok() && channel.mark_read(Some(Offset(1))).is_ok()
    })
    .await;
    with_handles(&dialog, &channel, |mark_read| {
        for offset in [3, 1 << 40, (1 << 53) - 1, 1 << 53, u64::MAX] {
            assert_eq!(code(mark_read(Some(Offset(offset)))), "bad_offset", "{offset}");
        }
        mark_read(Some(Offset(0))).expect("it is only older");
        // Said with each pixel that is scrolled, it costs the server next to nothing.
        for n in 0..10_000 {
            mark_read(Some(Offset(n % 2))).expect("here");
        }
        mark_read(None).expect("here");
    });
    for reads in [&mut in_dialog, &mut in_channel] {
        let state = state_where(reads, "all read", is(2, 0)).await;
        assert!(state.read_by(Offset(u64::MAX)).is_empty());
    }
    online(&ada).await;
    soon("the end", ada.close()).await;
    with_handles(&dialog, &channel, |mark_read| {
        assert_eq!(code(mark_read(None)), "closed");
        assert_eq!(code(mark_read(Some(Offset(u64::MAX)))), "closed");
    });
    assert_eq!(dialog.reads().expect_err("closed").code(), "closed");
    assert_eq!(channel.reads().expect_err("closed").code(), "closed");
    for mut reads in [in_dialog, in_channel] {
        while soon("the end of the reads", reads.next()).await.is_some() {}
        let state = reads.state();
        assert_eq!((state.position, state.status), (Offset(2), PeopleStatus::Syncing), "as of earlier");
    }
}
