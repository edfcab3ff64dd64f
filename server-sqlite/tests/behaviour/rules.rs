//! Rules of channels: who may read and write what, and channels that exist as soon as somebody asks
//! for them.

use crate::rig::{Client, Rig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::wire::ChannelName;
use tidewire_server_core::rules::{Pattern, Rule, Rules, Who};
use tidewire_server_core::store::{Account, CreateDialog, Read, Store, Write};
use tidewire_server_core::{Budget, Flow, Hub};
use uuid::Uuid;

fn who(words: &[&str]) -> Vec<Who> {
    words.iter().map(|word| Who::parse(word).unwrap()).collect()
}

fn rule(pattern: &str, read: &[&str], write: &[&str]) -> Rule {
    Rule { write: who(write), open: true, ..Rule::new(Pattern::parse(pattern).unwrap(), who(read)) }
}

fn rig() -> Rig {
    let guild = Rule {
        kinds: BTreeMap::from([
            ("poll.vote".to_owned(), who(&["claim:guilds"])),
            ("notice".to_owned(), who(&["role:admin"])),
        ]),
        connections: Some(2),
        ..rule("guild:{id}", &["claim:guilds", "role:admin"], &["claim:guilds"])
    };
    let rules = vec![
        guild,
        rule("guild:{id}:staff", &["role:admin"], &["role:admin"]),
        rule("news", &["everyone"], &["role:editor"]),
        rule("user:{id}", &["self"], &[]),
        Rule { open: false, ..rule("closed:{id}", &["everyone"], &["everyone"]) },
    ];
    Rig::with(|engine| {
        engine.hub = Arc::new(Hub::new(Rules::new([], rules).unwrap()));
    })
}

const ADA: &str = "ada||guilds=7+8";
const ADMIN: &str = "eve||roles=admin";

fn op(n: u128, ch: &str, kind: &str, body: &Value) -> Value {
    json!({"t": "op", "id": Uuid::from_u128(0xabc0 + n).to_string(), "ch": ch, "kind": kind, "body": body})
}

/// What becomes of an op: its code, or `ok`.
fn write(rig: &mut Rig, client: &mut Client, op: &Value) -> String {
    client.send(rig, op);
    if matches!(client.flow, Flow::Open(..)) {
        client.open(rig);
    }
    rig.commit();
    loop {
        let frame = client.try_next().unwrap();
        match frame["t"].as_str() {
            Some("ok") => return "ok".to_owned(),
            Some("nack") => return frame["code"].as_str().unwrap().to_owned(),
            _ => {}
        }
    }
}

#[test]
fn whom_a_rule_does_not_let_read_it_answers_as_if_there_were_no_channel() {
    for (token, ch, may) in [
        (ADA, "guild:7", true),
        (ADA, "guild:9", false),
        (ADA, "guild:7:staff", false),
        (ADMIN, "guild:9", true),
        (ADMIN, "guild:7:staff", true),
        (ADA, "news", true),
        ("guest", "news", true),
        (ADA, "user:ada", true),
        (ADA, "user:eve", false),
        // A guest whose id is a user's is somebody else.
        ("guest", "user:guest", false),
        (ADA, "closed:1", false),
        (ADA, "nothing:1", false),
        (ADA, "guild", false),
        (ADA, "guild:", false),
        ("bob||guilds=", "guild:7", false),
    ] {
        let mut rig = rig();
        let mut client = rig.welcomed(token);
        let answer = client.subscribe(&mut rig, ch);
        if may {
            assert_eq!((&answer["t"], &answer["mode"]), (&json!("sub_ok"), &json!("fresh")), "{token} {ch}");
        } else {
            assert_eq!(answer["t"], "sub_err", "{token} {ch}");
            assert_eq!((&answer["code"], &answer["retryable"]), (&json!("forbidden"), &json!(false)));
            assert_eq!(answer["message"], "there is no such channel, or not for this user");
            let name = ChannelName::parse(ch).unwrap();
            assert!(rig.read(&Read::Channel(name)).channel().unwrap().is_none(), "{ch} was made");
        }
    }
}

#[test]
fn other_rules_hold_before_the_next_event_and_for_what_waits() {
    let mut rig = rig();
    let (mut ada, mut admin) = (rig.welcomed(ADA), rig.welcomed(ADMIN));
    for ch in ["guild:7", "news"] {
        for client in [&mut ada, &mut admin] {
            assert_eq!(client.subscribe(&mut rig, ch)["t"], "sub_ok");
        }
    }
    // Applied and not committed while the rules change: its author may not see it any more.
    ada.send(&rig, &op(1, "guild:7", "poll.vote", &json!({})));
    rig.apply();
    let others = vec![rule("guild:{id}", &["role:admin"], &["role:admin"]), rule("news", &["everyone"], &[])];
    rig.engine.set_rules(Rules::new([], others.clone()).unwrap(), 2_000);
    rig.commit();
    let lost = ada.next("sub_err");
    assert_eq!(
        (&lost["ch"], &lost["code"], &lost["retryable"]),
        (&json!("guild:7"), &json!("forbidden"), &json!(false))
    );
    assert_eq!(ada.next("ok")["offset"], 1, "it was committed while it was allowed");
    assert_eq!(admin.next("event")["offset"], 1);
    assert_eq!(ada.subscribe(&mut rig, "guild:7")["code"], "forbidden");
    let text = |n, ch| op(n, ch, "message", &json!({"text": "x"}));
    assert_eq!(write(&mut rig, &mut ada, &text(2, "guild:7")), "forbidden");
    assert_eq!(write(&mut rig, &mut ada, &text(3, "news")), "forbidden");
    assert_eq!(write(&mut rig, &mut admin, &text(4, "guild:7")), "ok");
    assert!(ada.heard_nothing(), "nobody has to connect anew");
    // A claim that identities were not kept with: clients connect anew.
    let teams = [others, vec![rule("team:{id}", &["claim:teams"], &[])]].concat();
    rig.engine.set_rules(Rules::new([], teams).unwrap(), 2_000);
    let goaway = ada.next("goaway");
    assert_eq!((&goaway["reason"], &goaway["spread_ms"]), (&json!("rules"), &json!(2_000)));
}

#[test]
fn a_kind_is_written_by_those_whom_the_rule_names_for_it() {
    let object = json!({"any": [1, {"deep": null}]});
    let text = json!({"text": "hi"});
    for (token, ch, kind, body, code) in [
        (ADA, "guild:7", "message", &text, "ok"),
        (ADA, "guild:7", "message", &object, "bad_body"),
        (ADA, "guild:7", "poll.vote", &object, "ok"),
        (ADA, "guild:7", "poll.close", &object, "unknown_kind"),
        (ADA, "guild:7", "notice", &object, "forbidden"),
        (ADA, "guild:7", "answer.end", &json!({"run": "r"}), "unknown_kind"),
        (ADA, "guild:9", "poll.vote", &object, "forbidden"),
        (ADMIN, "guild:7", "notice", &object, "ok"),
        // Admins read all guilds and write in none of them.
        (ADMIN, "guild:7", "message", &text, "forbidden"),
        (ADMIN, "guild:7", "poll.vote", &object, "forbidden"),
        (ADA, "news", "message", &text, "forbidden"),
        ("ed||roles=editor+x", "news", "message", &text, "ok"),
        (ADA, "news", "poll.vote", &object, "unknown_kind"),
        (ADA, "user:ada", "message", &text, "forbidden"),
        (ADA, "closed:1", "message", &text, "forbidden"),
    ] {
        let mut rig = rig();
        let mut client = rig.welcomed(token);
        let became = write(&mut rig, &mut client, &op(1, ch, kind, body));
        assert_eq!(became, code, "{token} {ch} {kind}");
    }
}

#[test]
fn an_event_of_a_kind_of_ones_own_reaches_subscribers_as_it_was_written_and_calls_no_model() {
    let mut rig = rig();
    let mut ada = rig.welcomed(ADA);
    let mut bob = rig.welcomed("bob||guilds=7");
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.subscribe(&mut rig, "guild:7")["t"], "sub_ok");
    }
    let body = json!({"option": "b", "weights": [1, 2.50]});
    assert_eq!(write(&mut rig, &mut ada, &op(1, "guild:7", "poll.vote", &body)), "ok");
    assert_eq!(write(&mut rig, &mut ada, &op(2, "guild:7", "message", &json!({"text": "hi"}))), "ok");
    let event = bob.next("event");
    assert_eq!(
        (&event["kind"], &event["body"], &event["by"]["id"]),
        (&json!("poll.vote"), &body, &json!("ada"))
    );
    assert_eq!(bob.next("event")["kind"], "message");
    assert!(rig.begun.0.lock().unwrap().is_empty(), "nobody asked for answers in guilds");
}

#[test]
fn an_op_that_was_committed_while_it_was_allowed_is_acknowledged_afterwards() {
    let mut rig = rig();
    let mut ada = rig.welcomed(ADA);
    assert_eq!(ada.subscribe(&mut rig, "guild:7")["t"], "sub_ok");
    let vote = op(1, "guild:7", "poll.vote", &json!({"option": "a"}));
    assert_eq!(write(&mut rig, &mut ada, &vote), "ok");
    // She leaves the guild.
    ada.send(&rig, &json!({"t": "auth", "token": "ada||guilds=8"}));
    while ada.try_next().is_some_and(|frame| frame["t"] != "sub_err") {}
    assert_eq!(write(&mut rig, &mut ada, &vote), "ok", "it is in the log");
    assert_eq!(write(&mut rig, &mut ada, &op(2, "guild:7", "poll.vote", &json!({}))), "forbidden");
    ada.send(&rig, &json!({"t": "auth", "token": ADA}));
    ada.next("auth_ok");
    assert_eq!(write(&mut rig, &mut ada, &op(3, "guild:7", "poll.vote", &json!({}))), "ok");
}

#[test]
fn signals_are_for_those_who_write() {
    let mut rig = rig();
    let mut ada = rig.welcomed(ADA);
    let mut eve = rig.welcomed(ADMIN);
    for client in [&mut ada, &mut eve] {
        assert_eq!(client.subscribe(&mut rig, "guild:7")["t"], "sub_ok");
    }
    let signal = json!({"t": "signal", "ch": "guild:7", "kind": "typing", "body": {}});
    ada.send(&rig, &signal);
    assert_eq!(eve.next("signal")["by"]["id"], "ada");
    eve.send(&rig, &signal);
    assert_eq!(eve.next("error")["code"], "forbidden");
    assert!(ada.heard_nothing());
}

#[test]
fn a_channel_is_opened_once_for_two_who_ask_at_the_same_time() {
    let mut rig = rig();
    let (mut ada, mut bob) = (rig.welcomed(ADA), rig.welcomed("bob||guilds=7"));
    for client in [&mut ada, &mut bob] {
        client.send(&rig, &json!({"t": "sub", "ch": "guild:7"}));
        assert_eq!(client.flow, Flow::Open(ChannelName::parse("guild:7").unwrap(), Account::Own));
    }
    for client in [&mut ada, &mut bob] {
        client.open(&mut rig);
        client.next("sub_ok");
    }
    assert_eq!(write(&mut rig, &mut ada, &op(1, "guild:7", "poll.vote", &json!({}))), "ok");
    bob.next("event");
}

#[test]
fn a_channel_that_cannot_be_opened_ends_the_subscription_and_is_not_asked_for_again() {
    let rig = rig();
    let mut ada = rig.welcomed(ADA);
    ada.send(&rig, &json!({"t": "sub", "ch": "guild:7"}));
    // Somebody has deleted it at once.
    let answer = tidewire_server_core::Answer::Channel(Ok(None));
    assert_eq!(ada.session.answered(rig.now, answer), Flow::Ready);
    assert_eq!(ada.next("sub_err")["code"], "forbidden");
}

#[test]
fn nobody_opens_channels_without_end() {
    let mut rig = rig();
    rig.pass(0);
    let mut eve = rig.welcomed(ADMIN);
    let mut opened = 0;
    let refused = loop {
        let answer = eve.subscribe(&mut rig, &format!("guild:{opened}"));
        if answer["t"] != "sub_ok" {
            break answer;
        }
        opened += 1;
    };
    let Budget { burst, .. } = rig.engine.limits.new_dialogs;
    assert_eq!(
        (opened, &refused["code"], &refused["retryable"]),
        (burst, &json!("rate_limited"), &json!(true))
    );
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    // Those that exist are no matter of this budget.
    eve.send(&rig, &json!({"t": "unsub", "ch": "guild:3"}));
    assert_eq!(eve.subscribe(&mut rig, "guild:3")["t"], "sub_ok");
    rig.pass(wait);
    assert_eq!(eve.subscribe(&mut rig, "guild:more")["t"], "sub_ok");
}

#[test]
fn a_rule_says_how_many_connections_a_channel_has() {
    let mut rig = rig();
    let mut clients = ["ada", "bob", "cid"].map(|user| rig.welcomed(&format!("{user}||guilds=7")));
    let answers = clients.each_mut().map(|client| client.subscribe(&mut rig, "guild:7"));
    assert_eq!(
        answers.map(|answer| answer["code"].clone()),
        [json!(null), json!(null), json!("too_many_connections")]
    );
}

#[test]
fn a_channel_that_is_not_open_is_there_once_it_was_created() {
    let mut rig = rig();
    let mut ada = rig.welcomed(ADA);
    let channel =
        CreateDialog { name: ChannelName::parse("closed:1").unwrap(), owner: None, account: Account::Own };
    rig.inbox.write(Write::CreateDialog(channel), Box::new(|result| assert!(result.is_ok())));
    rig.commit();
    assert_eq!(ada.subscribe(&mut rig, "closed:1")["t"], "sub_ok");
}
