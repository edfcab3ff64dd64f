//! Channels by rule: protocol section 7 and `docs/channels.md`.

use crate::support::*;
use serde_json::{Value, json};
use tidewire_server::Server;
use tidewire_server::config::{Pattern, Rule, Who};

fn rule(pattern: &str, read: &[&str], kinds: &[&str]) -> Rule {
    let who: Vec<Who> = read.iter().map(|word| Who::parse(word).unwrap()).collect();
    let kinds = kinds.iter().map(|kind| ((*kind).to_owned(), who.clone())).collect();
    Rule { kinds, open: true, ..Rule::new(Pattern::parse(pattern).unwrap(), who) }
}

fn vote(op: &str, channel: &str) -> Value {
    json!({"t": "op", "id": op, "ch": channel, "kind": "poll.vote", "body": {"option": "b"}})
}

#[tokio::test]
async fn a_channel_by_rule_is_there_when_it_is_asked_for_and_after_a_restart() {
    let rules = vec![rule("guild:{id}", &["claim:guilds"], &["poll.vote"])];
    let server = start(|config| config.channels = rules.clone()).await;
    let connect = async |server: &TestServer, user: &str| {
        let mut client = Client::connect(server.address).await;
        client.hello(&token(user, json!({"guilds": ["7"]})), json!([{"ch": "guild:7"}])).await;
        client
    };
    let (mut ada, mut bob) = (connect(&server, "ada").await, connect(&server, "bob").await);
    assert_eq!(ada.next_of("sub_ok").await["head"], 0);
    bob.next_of("sub_ok").await;
    let op = id();
    assert_eq!(ada.op(vote(&op, "guild:7")).await["offset"], 1);
    let event = bob.next_of("event").await;
    assert_eq!((&event["kind"], &event["body"]), (&json!("poll.vote"), &json!({"option": "b"})));
    let mut eve = server.client("eve", json!([{"ch": "guild:7"}])).await;
    assert_eq!(eve.next_of("sub_err").await["code"], "forbidden");
    assert_eq!(eve.op(vote(&id(), "guild:7")).await["code"], "forbidden");
    // It is in the log, whoever asks again.
    let TestServer { server: running, folder, .. } = server;
    running.drain().await;
    let mut config = config(&folder);
    config.channels = rules;
    let running = Server::start(config).await.unwrap();
    let server = TestServer { address: running.address(), server: running, folder };
    let mut ada = connect(&server, "ada").await;
    assert_eq!(ada.next_of("sub_ok").await["events"][0]["id"], op.as_str());
    assert_eq!(ada.op(vote(&op, "guild:7")).await["dup"], true);
}

#[tokio::test]
async fn a_member_who_leaves_hears_nothing_of_the_guild_from_then_on() {
    let rules = vec![rule("guild:{id}", &["claim:guilds"], &["poll.vote"])];
    let server = start(|config| config.channels = rules).await;
    let member = token("ada", json!({"guilds": ["7", "8"]}));
    let mut ada = Client::connect(server.address).await;
    ada.hello(&member, json!([{"ch": "guild:7"}, {"ch": "guild:8"}])).await;
    for _ in 0..2 {
        ada.next_of("sub_ok").await;
    }
    let mut bob = Client::connect(server.address).await;
    bob.hello(&token("bob", json!({"guilds": [7, 8]})), json!([])).await;
    ada.send(json!({"t": "auth", "token": token("ada", json!({"guilds": ["8"]}))})).await;
    ada.next_of("auth_ok").await;
    let lost = ada.next_of("sub_err").await;
    assert_eq!((&lost["ch"], &lost["code"]), (&json!("guild:7"), &json!("forbidden")));
    for channel in ["guild:7", "guild:8"] {
        assert_eq!(bob.op(vote(&id(), channel)).await["t"], "ok", "numbers count as their texts");
    }
    assert_eq!(ada.next_of("event").await["ch"], "guild:8");
}

#[tokio::test]
async fn rules_may_change_while_the_server_runs() {
    let guild = rule("guild:{id}", &["claim:guilds"], &["poll.vote"]);
    let server = start(|config| config.channels = vec![guild.clone()]).await;
    let member = token("ada", json!({"guilds": ["7"], "teams": ["1"]}));
    let mut ada = Client::connect(server.address).await;
    ada.hello(&member, json!([{"ch": "guild:7"}])).await;
    ada.next_of("sub_ok").await;
    // Rules that make no sense change nothing.
    let refused = server.server.set_channels(vec![guild.clone(), rule("guild:7", &["everyone"], &[])]);
    assert_eq!(refused.unwrap_err().code(), "bad_value");
    assert_eq!(ada.op(vote(&id(), "guild:7")).await["t"], "ok");
    server.server.set_channels(vec![rule("team:{id}", &["claim:teams"], &["poll.vote"])]).unwrap();
    assert_eq!(ada.next_of("sub_err").await["ch"], "guild:7");
    assert_eq!(ada.next_of("goaway").await["reason"], "rules");
    assert_eq!(ada.op(vote(&id(), "guild:7")).await["code"], "unknown_kind", "no rule names it");
    // The connection is as good as before; the next one has the claim.
    assert!(ada.is_alive().await);
    let mut again = Client::connect(server.address).await;
    again.hello(&member, json!([{"ch": "team:1"}, {"ch": "team:2"}])).await;
    again.next_of("sub_ok").await;
    assert_eq!(again.next_of("sub_err").await["ch"], "team:2");
}

#[tokio::test]
async fn an_operator_of_another_account_finds_nothing_by_any_path() {
    let server = start(|_| {}).await;
    let of = |user: &str, account: Value| {
        token(user, json!({"kind": "operator", "aud": "tidewire-operator", "account": account}))
    };
    let (own, acme, none) = (of("own", json!("default")), of("acme", json!("acme")), of("none", Value::Null));
    let ada = token("ada", json!({"account": "acme"}));
    assert_eq!(post(server.address, "/v1/dialogs", Some(&ada), &json!({"id": "hers"})).await.0, 201);
    let bob = token("bob", json!({}));
    assert_eq!(post(server.address, "/v1/dialogs", Some(&bob), &json!({"id": "his"})).await.0, 201);
    for (token, hers, his) in [(&own, false, true), (&acme, true, false), (&none, false, false)] {
        for (dialog, sees) in [("dialog:hers", hers), ("dialog:his", his)] {
            let mut client = Client::connect(server.address).await;
            client.hello(token, json!([{"ch": dialog}])).await;
            let t = if sees { "sub_ok" } else { "sub_err" };
            assert_eq!(client.next().await["t"], t, "{dialog}");
        }
    }
    // Nor can they delete it, or take access to it back.
    let delete = async |token: &str, id: &str| {
        let head = format!("DELETE /v1/dialogs/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        request(server.address, &format!("{head}authorization: Bearer {token}\r\n\r\n")).await.0
    };
    assert_eq!(delete(&own, "hers").await, 403);
    assert_eq!(delete(&none, "his").await, 403);
    let revoke = async |token: &str| {
        let body = json!({"user": {"kind": "user", "id": "ada"}});
        post(server.address, "/v1/revoke", Some(token), &body).await
    };
    let mut client = Client::connect(server.address).await;
    client.hello(&ada, json!([{"ch": "dialog:hers"}])).await;
    client.next_of("sub_ok").await;
    assert_eq!(revoke(&none).await.0, 403);
    assert_eq!(revoke(&own).await.0, 204, "it says nothing about whether there is such a user");
    assert_eq!(client.op(json!({"t": "op", "id": id(), "ch": "dialog:hers", "kind": "message", "body": {"text": "here"}})).await["t"], "ok");
    assert_eq!(revoke(&acme).await.0, 204);
    assert_eq!(client.next_of("error").await["code"], "unauthorized");
    assert_eq!(delete(&acme, "hers").await, 204);
    // An account of its own for a dialog: an operator without one makes none.
    let (status, answer) = post(server.address, "/v1/dialogs", Some(&none), &json!({})).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("forbidden")), "{answer}");
}

#[tokio::test]
async fn accounts_that_are_no_names_are_a_wrong_token() {
    let server = start(|_| {}).await;
    for account in [json!(""), json!(7), json!(["a"]), json!({}), json!("x".repeat(129))] {
        let mut client = Client::connect(server.address).await;
        let token = token("ada", json!({"account": account}));
        client.send(json!({"t": "hello", "v": 1, "client": id(), "token": token, "subs": []})).await;
        let error = client.next().await;
        assert_eq!(error["code"], "unauthorized", "{account}");
        assert!(error["message"].as_str().unwrap().contains("account"), "{error}");
    }
}

#[tokio::test]
async fn rules_that_make_no_sense_end_the_start() {
    for (rules, part) in [
        (vec![rule("a:{id}", &[], &[]), rule("a:b", &[], &[])], "`a:b` is never used"),
        (vec![rule("a", &[], &["answer.end"])], "only the server writes it"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        config.channels = rules;
        let error = Server::start(config).await.err().unwrap();
        assert!(error.code() == "bad_value" && error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn roles_that_are_no_list_are_a_wrong_token() {
    let server = start(|_| {}).await;
    for roles in [json!("admin"), json!({"admin": true}), json!(1), json!(null)] {
        let mut client = Client::connect(server.address).await;
        let mut claims = claims("ada", json!({}));
        claims["roles"] = roles.clone();
        client
            .send(json!({"t": "hello", "v": 1, "client": id(), "token": signed(&claims), "subs": []}))
            .await;
        assert_eq!(client.next().await["code"], "unauthorized", "{roles}");
    }
}
