//! What an application may hand to a client by mistake: each call answers with a code, nothing
//! panics, and the client goes on.

mod common;

use common::fake::Fake;
use common::{eager, online, soon};
use tidewire::token::from_fn;
use tidewire::{Client, ClientOptions, Lane, TableQuery};

/// Texts that are no name, no id, no body, no filter, or too much of one.
fn texts() -> Vec<String> {
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let plain = [
        "",
        " ",
        "\0",
        "\u{7}",
        "\n",
        "a b",
        "ä",
        "🌊",
        "\u{202e}",
        "null",
        "undefined",
        "NaN",
        "[]",
        "{",
        "{}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "\"\\ud83d\"",
        "'; DROP TABLE ops; --",
        "../../etc/passwd",
        "dialog:",
        "%s%n",
    ];
    let long = ["x".repeat(129), "x".repeat(16_385), "x".repeat(100_000), deep(23), deep(24), deep(10_000)];
    plain.iter().map(|text| (*text).to_owned()).chain(long).collect()
}

/// The codes that these calls may answer with.
const CODES: &[&str] = &[
    "bad_channel",
    "bad_body",
    "bad_op_id",
    "too_deep",
    "too_large",
    "empty",
    "outbox_full",
    "too_many_subscriptions",
    "too_many_signals",
    "bad_kind",
    "bad_table",
    "bad_filter",
    "bad_column",
    "bad_literal",
    "bad_order",
    "bad_select",
    "filter_too_long",
    "too_many_terms",
];

#[tokio::test]
async fn every_call_answers_with_a_code_and_the_client_goes_on() {
    let fake = Fake::start().await;
    let provider = from_fn(|_| async { Ok(String::from("a.b.c")) });
    let client = Client::open(ClientOptions::new(&fake.url, provider).config(eager())).await.expect("opens");
    let mut codes = Vec::new();
    let mut note = |code: Option<&str>, call: &str, text: &str| {
        if let Some(code) = code {
            assert!(CODES.contains(&code), "{call}({:?}): {code}", text.get(..20).unwrap_or(text));
            codes.push(code.to_owned());
        }
    };
    let guild = client.channel("guild:7").expect("a valid name");
    let room = client.dialog("demo").expect("a valid name");
    let mut people = room.people().expect("open");
    for text in &texts() {
        let (text, key) = (text.as_str(), Some(text.as_str()));
        note(client.dialog(text).err().map(|error| error.code()), "dialog", text);
        note(client.channel(text).err().map(|error| error.code()), "channel", text);
        note(client.send_text(text, "hi").err().map(|error| error.code()), "send_text to", text);
        note(client.send_text("demo", text).err().map(|error| error.code()), "send_text", text);
        note(client.send(text, "note", "{}").err().map(|error| error.code()), "send to", text);
        note(client.send("dialog:demo", text, "{}").err().map(|error| error.code()), "send of", text);
        note(client.send("dialog:demo", "note", text).err().map(|error| error.code()), "send", text);
        let sent = client.send_in(Lane::Session, "dialog:demo", "note", text);
        note(sent.err().map(|error| error.code()), "send_in", text);
        note(client.signal(text, "k", None, "{}").err().map(|error| error.code()), "signal to", text);
        note(
            client.signal("dialog:demo", text, key, "{}").err().map(|error| error.code()),
            "signal of",
            text,
        );
        note(client.signal("dialog:demo", "k", None, text).err().map(|error| error.code()), "signal", text);
        note(guild.publish(text, "{}").err().map(|error| error.code()), "publish of", text);
        note(guild.publish("note", text).err().map(|error| error.code()), "publish", text);
        note(guild.publish_json("note", &text).err().map(|error| error.code()), "publish_json", text);
        note(guild.signal(text, key, "{}").err().map(|error| error.code()), "a channel's signal of", text);
        note(guild.signal("k", None, text).err().map(|error| error.code()), "a channel's signal", text);
        for (call, result) in [
            ("hold of", room.hold(text, "{}")),
            ("hold", room.hold("status", text)),
            ("release", room.release(text)),
            ("a channel's hold of", guild.hold(text, "{}")),
            ("a channel's hold", guild.hold("status", text)),
            ("a channel's release", guild.release(text)),
        ] {
            note(result.err().map(|error| error.code()), call, text);
        }
        for query in [
            TableQuery { table: text.to_owned(), ..TableQuery::default() },
            TableQuery { table: String::from("t"), filter: text.to_owned(), ..TableQuery::default() },
            TableQuery { table: String::from("t"), order: text.to_owned(), ..TableQuery::default() },
            TableQuery {
                table: String::from("t"),
                select: Some(vec![text.to_owned()]),
                ..TableQuery::default()
            },
        ] {
            let opened = client.table(&query);
            note(opened.as_ref().err().map(tidewire::TableOpenError::code), "table", text);
            if let Ok(table) = opened {
                drop(table.rows());
            }
        }
        assert!(!client.retry(text) && !client.discard(text), "{text:?} is no op");
    }
    for code in ["bad_channel", "bad_body", "too_deep", "too_large", "empty", "bad_filter", "bad_kind"] {
        assert!(codes.iter().any(|found| found == code), "nothing was {code}");
    }
    client.connect();
    let (_session, _) = fake.welcomed().await;
    online(&client).await;
    for _ in 0..2 {
        client.close().await;
        client.close_now();
        client.disconnect();
        client.connect();
    }
    assert_eq!(client.send_text("demo", "late").expect_err("closed").code(), "closed");
    assert_eq!(client.dialog("demo").expect_err("closed").code(), "closed");
    assert_eq!(client.channel("guild:7").expect_err("closed").code(), "closed");
    assert_eq!(guild.publish("note", "{}").expect_err("closed").code(), "closed");
    for result in [room.typing(true), room.hold("status", "{}"), room.release("status"), guild.typing(false)]
    {
        assert_eq!(result.expect_err("closed").code(), "closed");
    }
    for result in [room.mark_read(None), guild.mark_read(None)] {
        assert_eq!(result.expect_err("closed").code(), "closed");
    }
    assert_eq!(room.people().expect_err("closed").code(), "closed");
    assert_eq!(guild.reads().expect_err("closed").code(), "closed");
    while soon("the end of the people", people.next()).await.is_some() {}
}
