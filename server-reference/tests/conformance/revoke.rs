//! Protocol section 7: revocation.

use crate::support::*;
use serde_json::{Value, json};
use tidewire_server::{Account, Server, UserKind};

/// A token issued this many seconds ago.
fn issued(user: &str, ago_s: u64, dialogs: &[&str]) -> String {
    token(user, json!({"iat": now_s() - ago_s, "dialogs": dialogs}))
}

async fn revoke(server: &TestServer, by: &str, body: &Value) -> (u16, Value) {
    post(server.address, "/v1/revoke", Some(by), body).await
}

#[tokio::test]
async fn an_operator_takes_a_users_access_back() {
    let server = start(|_| {}).await;
    let old = issued("ada", 60, &[]);
    let mut ada = Client::connect(server.address).await;
    ada.hello(&old, json!([{"ch": "dialog:room"}])).await;
    let mut bob = server.client("bob", json!([])).await;
    let body = json!({"user": {"kind": "user", "id": "ada"}});
    assert_eq!(revoke(&server, &operator("olga"), &body).await.0, 204);
    assert_eq!(ada.refusal().await, ("unauthorized".to_owned(), 4501));
    let mut again = Client::connect(server.address).await;
    again.say_hello(&old, json!([])).await;
    assert_eq!(again.refusal().await, ("unauthorized".to_owned(), 4501));
    let (status, body) = post(server.address, "/v1/dialogs", Some(&old), &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    assert!(bob.is_alive().await);
    let later = token("ada", json!({"iat": now_s() + 1}));
    Client::connect(server.address).await.hello(&later, json!([])).await;
}

#[tokio::test]
async fn a_revoked_guest_is_not_renewed() {
    let server = start(|_| {}).await;
    let (_, guest) = post(server.address, "/v1/guest", None, &json!({"nickname": "Ada"})).await;
    let id = guest["user"]["id"].as_str().unwrap();
    server.server.revoke(Account::Own, UserKind::Guest, id, None).await.unwrap();
    let old = guest["token"].as_str();
    let (status, body) = post(server.address, "/v1/guest", old, &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "not as if it were new");
}

#[tokio::test]
async fn a_dialog_is_taken_back_from_live_subscribers_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let address = server.address();
    post(address, "/v1/dialogs", Some(&token("bob", json!({}))), &json!({"id": "secret"})).await;
    let old = issued("ada", 60, &["secret"]);
    let subs = || json!([{"ch": "dialog:secret"}]);
    let mut ada = Client::connect(address).await;
    ada.hello(&old, subs()).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
    server.revoke(Account::Own, UserKind::User, "ada", Some("secret")).await.unwrap();
    let lost = ada.next().await;
    assert_eq!(
        (&lost["t"], &lost["code"], &lost["retryable"]),
        (&json!("sub_err"), &json!("forbidden"), &json!(false))
    );
    server.drain().await;
    let server = Server::start(config(&folder)).await.unwrap();
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&old, subs()).await;
    assert_eq!(ada.next().await["code"], "forbidden");
    let op = json!({"t": "op", "id": id(), "ch": "dialog:secret", "kind": "message", "body": {"text": "x"}});
    assert_eq!(ada.op(op).await["code"], "forbidden");
    let later = token("ada", json!({"iat": now_s() + 1, "dialogs": ["secret"]}));
    let mut ada = Client::connect(server.address()).await;
    ada.hello(&later, subs()).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
}

#[tokio::test]
async fn a_revocation_is_forgotten_once_its_tokens_must_have_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    server.revoke(Account::Own, UserKind::User, "ada", None).await.unwrap();
    server.revoke(Account::Own, UserKind::User, "bob", None).await.unwrap();
    server.drain().await;
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    let days = |days: u64| (now_s() - days * 86_400).cast_signed() * 1000;
    for (user, since) in [("user:ada", days(32)), ("user:bob", days(30))] {
        database
            .execute("UPDATE revocations SET since = ? WHERE user = ?", rusqlite::params![since, user])
            .unwrap();
    }
    drop(database);
    let server = Server::start(config(&folder)).await.unwrap();
    server.trim_now().await.unwrap();
    let ancient = |user| token(user, json!({"iat": now_s() - 40 * 86_400}));
    Client::connect(server.address()).await.hello(&ancient("ada"), json!([])).await;
    let mut bob = Client::connect(server.address()).await;
    bob.say_hello(&ancient("bob"), json!([])).await;
    assert_eq!(bob.refusal().await.0, "unauthorized");
    server.drain().await;
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    let left: String = database.query_row("SELECT user FROM revocations", [], |row| row.get(0)).unwrap();
    assert_eq!(left, "user:bob");
}

#[tokio::test]
async fn only_operators_revoke_and_nonsense_is_refused() {
    let server = start(|_| {}).await;
    let good = json!({"user": {"kind": "user", "id": "ada"}});
    let (status, body) = post(server.address, "/v1/revoke", None, &good).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    let (status, body) = revoke(&server, &token("eve", json!({})), &good).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
    for bad in [
        json!({}),
        json!({"user": "ada"}),
        json!({"user": {"kind": "ai", "id": "ai"}}),
        json!({"user": {"kind": "user", "id": ""}}),
        json!({"user": {"kind": "user", "id": "x".repeat(129)}}),
        json!({"user": {"kind": "user", "id": "ada"}, "dialog": ""}),
        json!({"user": {"kind": "user", "id": "ada"}, "dialog": "a b"}),
        json!({"user": {"kind": "operator", "id": "olga"}, "dialog": "room"}),
    ] {
        let (status, body) = revoke(&server, &operator("olga"), &bad).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")), "{bad}");
    }
}

#[tokio::test]
async fn what_could_not_be_stored_is_told_and_in_force_all_the_same() {
    let server = start(|_| {}).await;
    let mut ada = server.client("ada", json!([])).await;
    server.server.fail_commit(false);
    let body = json!({"user": {"kind": "user", "id": "ada"}});
    let (status, answer) = revoke(&server, &operator("olga"), &body).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("store_unavailable")));
    assert_eq!(ada.refusal().await, ("unauthorized".to_owned(), 4501));
    assert_eq!(revoke(&server, &operator("olga"), &body).await.0, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_written_after_a_revocation_reaches_who_was_just_being_let_in() {
    let server = start(|_| {}).await;
    let address = server.address;
    post(address, "/v1/dialogs", Some(&token("bob", json!({}))), &json!({"id": "secret"})).await;
    let mut bob = server.client("bob", json!([])).await;
    for round in 0..60_u64 {
        // Each round has a user whose token was valid until now.
        let user = format!("ada {round}");
        let old = issued(&user, 60, &["secret"]);
        // The revocation comes at various times between the hello and the first page.
        let readers = tokio::spawn(async move {
            let mut readers = Vec::new();
            for _ in 0..4 {
                let mut ada = Client::connect(address).await;
                ada.say_hello(&old, json!([{"ch": "dialog:secret"}])).await;
                readers.push(ada);
            }
            readers
        });
        tokio::time::sleep(std::time::Duration::from_micros(round * 100)).await;
        let dialog = (round % 2 == 0).then_some("secret");
        server.server.revoke(Account::Own, UserKind::User, &user, dialog).await.unwrap();
        let text = format!("after {round}");
        let op =
            json!({"t": "op", "id": id(), "ch": "dialog:secret", "kind": "message", "body": {"text": text}});
        assert_eq!(bob.op(op).await["t"], "ok");
        for mut ada in readers.await.unwrap() {
            ada.send(json!({"t": "ping", "n": "end"})).await;
            while let Some(frame) = ada.try_next().await {
                assert!(!frame.to_string().contains(&text), "{frame}");
                if frame["t"] == "pong" {
                    break;
                }
            }
        }
    }
}
