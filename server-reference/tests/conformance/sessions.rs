//! Protocol section 7: sessions in the store, and profiles.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidewire_server::Server;
use tidewire_server::config::{Pattern, Rule, Who};

/// A server where `guild:{id}` is for those whose claim `guilds` lists it.
async fn server() -> TestServer {
    start(|config| {
        config.session_claim = Some("sid".to_owned());
        config.channels = vec![rule()];
    })
    .await
}

fn rule() -> Rule {
    let who = vec![Who::Claim("guilds".to_owned()), Who::Role("admin".to_owned())];
    Rule { open: true, ..Rule::new(Pattern::parse("guild:{id}").unwrap(), who) }
}

async fn ask(address: SocketAddr, method: &str, id: &str, token: &str, body: &str) -> (u16, Value) {
    let text = format!(
        "{method} /v1/sessions/{id} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, _, body) = request(address, &text).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn backend() -> String {
    service(&["sessions"])
}

async fn put(address: SocketAddr, id: &str, session: &Value) {
    let (status, body) = ask(address, "PUT", id, &backend(), &session.to_string()).await;
    assert_eq!(status, 204, "{body}");
}

fn session(user: &str, claims: Value) -> Value {
    json!({"user": {"kind": "user", "id": user}, "claims": claims, "ttl_ms": 60_000})
}

fn with_sid(user: &str, sid: &str) -> String {
    token(user, json!({"sid": sid}))
}

async fn refusal(address: SocketAddr, token: &str) -> (String, u16) {
    let mut client = Client::connect(address).await;
    client.say_hello(token, json!([])).await;
    client.refusal().await
}

fn guild(id: &str) -> Value {
    json!([{"ch": format!("guild:{id}")}])
}

fn says(channel: &str, text: &str) -> Value {
    json!({"t": "op", "id": id(), "ch": channel, "kind": "message", "body": {"text": text}})
}

#[tokio::test]
async fn a_token_names_a_session_with_two_thousand_guilds() {
    let server = server().await;
    let guilds: Vec<u64> = (0..2_000).collect();
    put(server.address, "s1", &session("ada", json!({"guilds": guilds}))).await;
    let mut ada = Client::connect(server.address).await;
    ada.hello(&with_sid("ada", "s1"), json!([{"ch": "guild:1999"}, {"ch": "guild:2000"}])).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
    let refused = ada.next().await;
    assert_eq!((&refused["t"], &refused["code"]), (&json!("sub_err"), &json!("forbidden")));
    assert_eq!(ada.op(says("guild:7", "hi")).await["t"], "ok");
    // Requests have the same user.
    let text = format!(
        "GET /v1/channels/guild:7/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        with_sid("ada", "s1")
    );
    let (status, _, body) = request(server.address, &text).await;
    assert!(status == 200 && body.contains("\"hi\""), "{status} {body}");
    let (status, found) = ask(server.address, "GET", "s1", &backend(), "").await;
    assert_eq!((status, found["claims"]["guilds"].as_array().unwrap().len()), (200, 2_000));
    assert!(found["ttl_ms"].as_u64().unwrap() <= 60_000);
}

#[tokio::test]
async fn a_change_holds_for_live_connections_before_the_next_event() {
    let server = server().await;
    put(server.address, "s1", &session("ada", json!({"guilds": ["7"]}))).await;
    put(server.address, "s2", &session("bob", json!({"guilds": ["7", "8"]}))).await;
    let mut ada = Client::connect(server.address).await;
    ada.hello(&with_sid("ada", "s1"), guild("7")).await;
    let mut bob = Client::connect(server.address).await;
    bob.hello(&with_sid("bob", "s2"), guild("7")).await;
    assert_eq!(ada.next_of("sub_ok").await["ch"], "guild:7");
    put(server.address, "s1", &session("ada", json!({"guilds": ["8"]}))).await;
    assert_eq!(bob.op(says("guild:7", "secret")).await["t"], "ok");
    let lost = ada.next().await;
    assert_eq!((&lost["t"], &lost["code"]), (&json!("sub_err"), &json!("forbidden")));
    assert_eq!(ada.op(says("guild:7", "still?")).await["code"], "forbidden");
    // What it allows from now on needs no new token.
    ada.send(json!({"t": "sub", "ch": "guild:8"})).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
    // A role that the session gives counts as the token's.
    put(server.address, "s1", &session("ada", json!({"roles": ["admin"]}))).await;
    ada.send(json!({"t": "sub", "ch": "guild:7"})).await;
    assert_eq!(ada.next_of("sub_ok").await["ch"], "guild:7");
}

#[tokio::test]
async fn a_session_that_is_ended_in_mid_connection_closes_it() {
    let server = server().await;
    put(server.address, "s1", &session("ada", json!({"guilds": ["7"]}))).await;
    let mut ada = Client::connect(server.address).await;
    ada.hello(&with_sid("ada", "s1"), guild("7")).await;
    let mut other = server.client("ada", json!([])).await;
    let (status, _) = ask(server.address, "DELETE", "s1", &backend(), "").await;
    assert_eq!(status, 204);
    assert_eq!(ada.refusal().await, ("unauthorized".to_owned(), 4501));
    assert!(other.is_alive().await, "the user's other connection does not use it");
    assert_eq!(refusal(server.address, &with_sid("ada", "s1")).await, ("unauthorized".to_owned(), 4501));
    let (status, body) = post(server.address, "/v1/dialogs", Some(&with_sid("ada", "s1")), &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    assert_eq!(ask(server.address, "DELETE", "s1", &backend(), "").await.0, 204, "there is none");
    assert_eq!(ask(server.address, "GET", "s1", &backend(), "").await.0, 404);
}

#[tokio::test]
async fn an_end_that_could_not_be_stored_is_told_and_in_force_all_the_same() {
    let server = server().await;
    put(server.address, "s1", &session("ada", json!({}))).await;
    let mut ada = Client::connect(server.address).await;
    ada.hello(&with_sid("ada", "s1"), json!([])).await;
    server.server.fail_commit(false);
    let (status, body) = ask(server.address, "DELETE", "s1", &backend(), "").await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("store_unavailable")));
    assert_eq!(ada.refusal().await, ("unauthorized".to_owned(), 4501));
    assert_eq!(ask(server.address, "DELETE", "s1", &backend(), "").await.0, 204);
    assert_eq!(refusal(server.address, &with_sid("ada", "s1")).await.0, "unauthorized");
}

#[tokio::test]
async fn a_secret_alone_is_a_credential_and_is_stored_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let address = server.address();
    let secret = "0123456789abcdef0123456789abcdef";
    let id = "sha256:PrG9Q5lH63YpmOVmzMLgmceREYsvQFecxPfaK1Bht_k";
    assert_eq!(refusal(address, secret).await, ("unauthorized".to_owned(), 4501), "no such session yet");
    let body = json!({"user": {"kind": "user", "id": "ada", "name": "Ada"}, "claims": {"dialogs": ["a"]},
                      "ttl_ms": 60_000});
    put(address, id, &body).await;
    let mut ada = Client::connect(address).await;
    let welcome = ada.hello(secret, json!([])).await;
    assert_eq!(welcome["user"], json!({"id": "ada", "name": "Ada", "kind": "user"}));
    assert!(welcome["token_ttl_ms"].as_u64().unwrap() <= 60_000);
    ada.send(json!({"t": "auth", "token": secret})).await;
    assert_eq!(ada.next().await["t"], "auth_ok");
    // The name of such a session is no secret: it is neither a credential nor may a token name it.
    for other in [id, "sha256:", &id[7..], &secret[1..]] {
        assert_eq!(refusal(address, other).await, ("unauthorized".to_owned(), 4501), "{other}");
    }
    // Taking all access back ends it too, until the backend writes it anew.
    let revoked = json!({"user": {"kind": "user", "id": "ada"}});
    assert_eq!(post(address, "/v1/revoke", Some(&operator("olga")), &revoked).await.0, 204);
    assert_eq!(ada.refusal().await.0, "unauthorized");
    assert_eq!(refusal(address, secret).await.0, "unauthorized");
    server.drain().await;
    let files = std::fs::read_dir(folder.path()).unwrap();
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_session_ends_by_its_own_time_and_others_by_restarts_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let change = |config: &mut tidewire_server::Config| {
        config.session_claim = Some("sid".to_owned());
        config.channels = vec![rule()];
    };
    let mut settings = config(&folder);
    change(&mut settings);
    let server = Server::start(settings).await.unwrap();
    let address = server.address();
    let short = json!({"user": {"kind": "user", "id": "ada"}, "ttl_ms": 1_000});
    put(address, "short", &short).await;
    put(address, "long", &session("ada", json!({"guilds": ["7"]}))).await;
    let mut ada = Client::connect(address).await;
    let welcome = ada.hello(&with_sid("ada", "short"), json!([])).await;
    assert!(welcome["token_ttl_ms"].as_u64().unwrap() <= 1_000);
    assert_eq!(ada.refusal().await, ("token_expired".to_owned(), 4020));
    assert_eq!(refusal(address, &with_sid("ada", "short")).await, ("token_expired".to_owned(), 4020));
    assert_eq!(ask(address, "GET", "short", &backend(), "").await.0, 404);
    server.drain().await;
    let mut settings = config(&folder);
    change(&mut settings);
    let server = Server::start(settings).await.unwrap();
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&with_sid("ada", "long"), guild("7")).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
}

#[tokio::test]
async fn a_session_of_somebody_else_lets_nobody_in() {
    let server = server().await;
    let address = server.address;
    put(address, "s1", &session("ada", json!({"guilds": ["7"]}))).await;
    let guest = token("ada", json!({"sid": "s1", "kind": "guest"}));
    let elsewhere = token("ada", json!({"sid": "s1", "account": "acme"}));
    for token in [with_sid("eve", "s1"), guest, elsewhere, with_sid("ada", "unknown")] {
        assert_eq!(refusal(address, &token).await, ("unauthorized".to_owned(), 4501));
    }
    for sid in [json!(7), json!(""), json!(["s1"]), json!("a b"), json!("x".repeat(129)), json!("sha256:x")] {
        let token = token("ada", json!({"sid": sid}));
        assert_eq!(refusal(address, &token).await, ("unauthorized".to_owned(), 4501), "{sid}");
    }
    // In the middle of a connection, too.
    let mut ada = Client::connect(address).await;
    ada.hello(&with_sid("ada", "s1"), json!([])).await;
    put(address, "s2", &session("bob", json!({}))).await;
    ada.send(json!({"t": "auth", "token": with_sid("ada", "s2")})).await;
    assert_eq!(ada.refusal().await, ("unauthorized".to_owned(), 4501));
    // A session is of one user and one account.
    let (status, body) = ask(address, "PUT", "s1", &backend(), &session("eve", json!({})).to_string()).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("conflict")));
    let acme = token(
        "b",
        json!({"kind": "service", "aud": "tidewire-service", "account": "acme", "scopes": ["sessions"]}),
    );
    for method in ["PUT", "DELETE"] {
        let (status, body) = ask(address, method, "s1", &acme, &session("ada", json!({})).to_string()).await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{method}");
    }
    assert_eq!(ask(address, "GET", "s1", &acme, "").await.0, 404, "as if there were none");
    let mut ada = Client::connect(address).await;
    ada.hello(&with_sid("ada", "s1"), json!([])).await;
}

#[tokio::test]
async fn only_a_service_with_the_scope_writes_sessions_and_nonsense_is_refused() {
    let server = server().await;
    let address = server.address;
    let good = session("ada", json!({}));
    for token in [token("ada", json!({})), operator("olga"), service(&["members", "revoke"])] {
        for method in ["PUT", "GET", "DELETE"] {
            let (status, body) = ask(address, method, "s1", &token, &good.to_string()).await;
            assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{method}");
        }
    }
    let user = || json!({"kind": "user", "id": "ada"});
    let many: Vec<u64> = (0..10_001).collect();
    let far_too_many: Vec<u64> = (0..100_000).collect();
    for (bad, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({"user": user()}), 400, "bad_request"),
        (json!({"user": user(), "ttl_ms": 999}), 400, "bad_request"),
        (json!({"user": user(), "ttl_ms": 31u64 * 86_400_000 + 1}), 400, "bad_request"),
        (json!({"user": user(), "ttl_ms": 60_000, "more": 1}), 400, "bad_request"),
        (json!({"user": {"kind": "service", "id": "ada"}, "ttl_ms": 60_000}), 400, "bad_request"),
        (json!({"user": {"kind": "user", "id": ""}, "ttl_ms": 60_000}), 400, "bad_request"),
        (json!({"user": {"kind": "user", "id": "a", "name": "\n"}, "ttl_ms": 60_000}), 400, "bad_request"),
        (json!({"user": {"kind": "guest", "id": "guest:7"}, "ttl_ms": 60_000}), 400, "bad_request"),
        (session("ada", json!({"kind": "operator"})), 400, "bad_request"),
        (session("ada", json!({"scopes": ["read"]})), 400, "bad_request"),
        (session("ada", json!({"": ["read"]})), 400, "bad_request"),
        (session("ada", json!({"guilds": {"7": true}})), 400, "bad_request"),
        (session("ada", json!({"guilds": [["7"]]})), 400, "bad_request"),
        (session("ada", json!({"guilds": many})), 413, "too_large"),
        (session("ada", json!({"guilds": far_too_many})), 413, "too_large"),
    ] {
        let (found, body) = ask(address, "PUT", "s1", &backend(), &bad.to_string()).await;
        assert_eq!((found, &body["error"]["code"]), (status, &json!(code)), "{:.200}", bad.to_string());
    }
    for id in ["a%20b", "sha256:x", "x%2Fy", &"x".repeat(129)] {
        let (status, body) = ask(address, "PUT", id, &backend(), &good.to_string()).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")), "{id}");
    }
    assert_eq!(ask(address, "GET", "s1", &backend(), "").await.0, 404, "nothing was stored");
}

#[tokio::test]
async fn a_profile_is_carried_by_events_people_and_the_welcome_and_stays_as_it_was() {
    let server = server().await;
    let address = server.address;
    let profile =
        json!({"role": "admin", "color": "#c0392b", "picture": "https://cdn.example/7.png", "team": "red"});
    let mut body = session("ada", json!({"guilds": ["7"]}));
    body["profile"] = profile.clone();
    body["user"]["name"] = json!("Ada L.");
    put(address, "s1", &body).await;
    let token_of = token("ada", json!({"sid": "s1", "profile": {"role": "user"}}));
    let mut ada = Client::connect(address).await;
    let welcome = ada.hello(&token_of, json!([{"ch": "dialog:room"}])).await;
    let shown = json!({"id": "ada", "name": "Ada L.", "kind": "user", "profile": profile});
    assert_eq!(welcome["user"], shown, "the session's counts before the token's");
    ada.send(json!({"t": "watch", "ch": "dialog:room"})).await;
    assert_eq!(ada.next_of("people").await["people"][0]["user"], shown);
    assert_eq!(ada.say("first").await["t"], "ok");
    body["profile"] = json!({"color": "#000000"});
    put(address, "s1", &body).await;
    let changed = ada.next_of("people").await;
    assert_eq!(changed["people"][0]["user"]["profile"], json!({"color": "#000000"}), "at once: {changed}");
    assert_eq!(ada.say("second").await["t"], "ok");
    // What was true then is in the history.
    let mut bob = server.client("bob", json!([{"ch": "dialog:room"}])).await;
    let page = bob.next_of("sub_ok").await;
    assert_eq!(page["events"][0]["by"], shown);
    assert_eq!(page["events"][1]["by"]["profile"], json!({"color": "#000000"}));
    // A token's own, and one without any.
    let mut eve = Client::connect(address).await;
    let welcome = eve.hello(&token("eve", json!({"profile": {"role": "mod", "x": null}})), json!([])).await;
    assert_eq!(welcome["user"]["profile"], json!({"role": "mod"}));
    // OpenID Connect's claim of this name is the address of a page.
    for plain in [json!({}), json!({"profile": "https://a.example/eve"}), json!({"profile": {}})] {
        let mut eve = Client::connect(address).await;
        let user = &eve.hello(&token("eve", plain), json!([])).await["user"];
        assert_eq!(user, &json!({"id": "eve", "name": "eve", "kind": "user"}));
    }
}

#[tokio::test]
async fn a_profile_that_may_not_be_shown_is_refused_by_name() {
    let server = server().await;
    for (profile, part) in [
        (json!({"color": "red"}), "color"),
        (json!({"picture": "http://a.example/7.png"}), "picture"),
        (json!({"picture": "javascript:alert(1)"}), "picture"),
        (json!({"role": "x".repeat(65)}), "role"),
        (json!({"role": "\u{202e}nimda"}), "role"),
        (json!({"role": 7}), "strings"),
        (json!({"A": "x"}), "names"),
    ] {
        let mut client = Client::connect(server.address).await;
        client.say_hello(&token("ada", json!({"profile": profile})), json!([])).await;
        let error = client.next().await;
        assert_eq!(error["code"], "unauthorized", "{profile}");
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
        let mut body = session("ada", json!({}));
        body["profile"] = profile;
        let (status, answer) = ask(server.address, "PUT", "s1", &backend(), &body.to_string()).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")), "{body}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
}
