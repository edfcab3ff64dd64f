//! Protocol section 7: who owns a dialog, and how it ends.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidewire_server::{Account, Server, UserKind};

async fn delete(address: SocketAddr, id: &str, token: &str) -> u16 {
    let text = format!(
        "DELETE /v1/dialogs/{id} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    request(address, &text).await.0
}

async fn guest(address: SocketAddr, nickname: &str) -> (String, String) {
    let (_, guest) = post(address, "/v1/guest", None, &json!({"nickname": nickname})).await;
    (guest["token"].as_str().unwrap().to_owned(), guest["user"]["id"].as_str().unwrap().to_owned())
}

async fn first_answer(address: SocketAddr, token: &str, subscription: Value) -> Value {
    let mut client = Client::connect(address).await;
    client.hello(token, json!([subscription])).await;
    client.next().await
}

fn in_dialog(id_: &str, text: &str) -> Value {
    json!({"t": "op", "id": id(), "ch": format!("dialog:{id_}"), "kind": "message", "body": {"text": text}})
}

#[tokio::test]
async fn a_guest_chooses_no_id() {
    let server = start(|_| {}).await;
    let (guest, _) = guest(server.address, "Ada").await;
    let ask = async |body: Value| post(server.address, "/v1/dialogs", Some(&guest), &body).await;
    let (status, body) = ask(json!({"id": "order-1"})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
    let (status, body) = ask(json!({"id": "room"})).await;
    assert_eq!((status, &body["id"]), (200, &json!("room")), "one that the configuration opens");
    let (status, body) = ask(json!({})).await;
    let id = body["id"].as_str().unwrap();
    assert!(status == 201 && id.len() >= 32, "{id}");
    let answer = first_answer(server.address, &guest, json!({"ch": format!("dialog:{id}")})).await;
    assert_eq!(answer["t"], "sub_ok");
    // The id is still free for its rightful owner.
    let ada = token("ada", json!({}));
    assert_eq!(post(server.address, "/v1/dialogs", Some(&ada), &json!({"id": "order-1"})).await.0, 201);
}

#[tokio::test]
async fn an_applications_guest_is_none_of_the_servers() {
    let server = start(|_| {}).await;
    let (_, id) = guest(server.address, "Ada").await;
    let mut forged = Client::connect(server.address).await;
    forged.say_hello(&token(&id, json!({"kind": "guest"})), json!([])).await;
    assert_eq!(forged.refusal().await, ("unauthorized".to_owned(), 4501));
    let mut own = Client::connect(server.address).await;
    own.hello(&token("visitor-7", json!({"kind": "guest"})), json!([])).await;
}

#[tokio::test]
async fn guests_are_not_called_what_others_would_take_for_somebody_else() {
    let server = start(|config| config.reserved_names = vec!["Olga".to_owned()]).await;
    for nickname in ["Assistant", " assistant ", "\u{410}ssistant", "0LGA", "System"] {
        let (status, body) = post(server.address, "/v1/guest", None, &json!({"nickname": nickname})).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("reserved_name")), "{nickname}");
    }
    let (guest, _) = guest(server.address, "Ada").await;
    let (status, _) = post(server.address, "/v1/guest", Some(&guest), &json!({"nickname": "Olga"})).await;
    assert_eq!(status, 400, "nor by a renewal");
    // Operators may have reserved names, because the application vouches for them.
    let mut olga = Client::connect(server.address).await;
    let by = operator("olga");
    assert_eq!(olga.hello(&by, json!([])).await["user"]["name"], "olga");
}

#[tokio::test]
async fn a_name_that_was_reserved_later_is_not_shown_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let (old, _) = guest(server.address(), "Olga").await;
    server.drain().await;
    let mut config = config(&folder);
    config.reserved_names = vec!["OLGA".to_owned()];
    let server = Server::start(config).await.unwrap();
    let mut client = Client::connect(server.address()).await;
    assert_eq!(client.hello(&old, json!([])).await["user"]["name"], "Guest");
}

#[tokio::test]
async fn critical_headers_are_refused() {
    let server = start(|_| {}).await;
    let good = token("ada", json!({}));
    let claims = good.split('.').nth(1).unwrap();
    // {"alg":"HS256","typ":"JWT","crit":["x"],"x":1} and {"alg":"HS256","b64":false,"crit":["b64"]}
    for header in [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImNyaXQiOlsieCJdLCJ4IjoxfQ",
        "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19",
    ] {
        let signed = format!("{header}.{claims}");
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
        let mut client = Client::connect(server.address).await;
        client.say_hello(&format!("{signed}.{signature}"), json!([])).await;
        let error = client.next().await;
        assert_eq!(error["code"], "unauthorized");
        assert!(error["message"].as_str().unwrap().contains("crit"), "{error}");
    }
}

#[tokio::test]
async fn ownership_can_be_taken_back_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let address = server.address();
    let eve = token("eve", json!({"iat": now_s() + 2}));
    assert_eq!(post(address, "/v1/dialogs", Some(&eve), &json!({"id": "order-1"})).await.0, 201);
    let mut live = Client::connect(address).await;
    live.hello(&eve, json!([{"ch": "dialog:order-1"}])).await;
    assert_eq!(live.next().await["t"], "sub_ok");
    let body = json!({"user": {"kind": "user", "id": "eve"}, "dialog": "order-1"});
    assert_eq!(post(address, "/v1/revoke", Some(&operator("olga")), &body).await.0, 204);
    assert_eq!(live.next().await["code"], "forbidden", "also a token from after the revocation");
    assert_eq!(live.op(in_dialog("order-1", "x")).await["code"], "forbidden");
    assert_eq!(post(address, "/v1/dialogs", Some(&eve), &json!({"id": "order-1"})).await.0, 403);
    let ada = token("ada", json!({"dialogs": ["order-1"]}));
    let mut reader = Client::connect(address).await;
    reader.hello(&ada, json!([{"ch": "dialog:order-1"}])).await;
    assert_eq!(reader.next().await["t"], "sub_ok");
    assert_eq!(reader.op(in_dialog("order-1", "mine")).await["t"], "ok");
    server.drain().await;
    let server = Server::start(config(&folder)).await.unwrap();
    let eve = token("eve", json!({"iat": now_s() + 3}));
    let answer = first_answer(server.address(), &eve, json!({"ch": "dialog:order-1"})).await;
    assert_eq!(answer["code"], "forbidden", "nor after a restart");
}

#[tokio::test]
async fn a_deleted_dialog_is_gone_for_everybody_and_one_of_its_name_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let address = server.address();
    let (bob, eve) = (token("bob", json!({})), token("eve", json!({})));
    assert_eq!(post(address, "/v1/dialogs", Some(&bob), &json!({"id": "his"})).await.0, 201);
    let mut live = Client::connect(address).await;
    live.hello(&bob, json!([{"ch": "dialog:his"}])).await;
    let epoch = live.next().await["epoch"].clone();
    for text in ["one", "two"] {
        assert_eq!(live.op(in_dialog("his", text)).await["t"], "ok");
    }
    assert_eq!(delete(address, "his", &eve).await, 403);
    assert_eq!(delete(address, "room", &operator("olga")).await, 403, "the configuration's");
    assert_eq!(delete(address, "a%20b", &bob).await, 400);
    assert_eq!(delete(address, "his", &bob).await, 204);
    assert_eq!(live.next_of("sub_err").await["code"], "forbidden");
    assert_eq!(live.op(in_dialog("his", "three")).await["code"], "forbidden");
    let again = first_answer(address, &bob, json!({"ch": "dialog:his"})).await;
    assert_eq!(again["code"], "forbidden");
    // Another user's dialog now: no offset is used twice in an epoch.
    assert_eq!(post(address, "/v1/dialogs", Some(&eve), &json!({"id": "his"})).await.0, 201);
    let mut next = Client::connect(address).await;
    next.hello(&eve, json!([{"ch": "dialog:his"}])).await;
    assert_eq!(next.next().await["events"], json!([]));
    assert_eq!(next.op(in_dialog("his", "hers")).await["offset"], 4);
    let cursor = json!({"ch": "dialog:his", "epoch": epoch, "offset": 2});
    let answer = first_answer(address, &operator("olga"), cursor.clone()).await;
    assert_eq!((&answer["mode"], &answer["reason"]), (&json!("reset"), &json!("trimmed")));
    assert_eq!(answer["events"].as_array().unwrap().len(), 1);
    server.drain().await;
    let server = Server::start(config(&folder)).await.unwrap();
    let answer = first_answer(server.address(), &bob, json!({"ch": "dialog:his"})).await;
    assert_eq!(answer["code"], "forbidden");
}

#[tokio::test]
async fn a_dialog_is_deleted_under_an_answer_and_under_writers() {
    let server = start(|config| {
        config.model =
            tidewire_server::config::ModelConfig::Scripted { pace: std::time::Duration::from_millis(5) };
    })
    .await;
    let bob = token("bob", json!({}));
    for round in 0..10 {
        let name = format!("d{round}");
        assert_eq!(post(server.address, "/v1/dialogs", Some(&bob), &json!({"id": name})).await.0, 201);
        let mut writer = Client::connect(server.address).await;
        writer.hello(&bob, json!([{"ch": format!("dialog:{name}")}])).await;
        for n in 0..20 {
            writer.send(in_dialog(&name, &format!("tell me a long story {n}"))).await;
        }
        let mut acked = 0;
        let deleted = tokio::spawn({
            let (address, bob, name) = (server.address, bob.clone(), name.clone());
            async move { delete(address, &name, &bob).await }
        });
        let mut answered = 0;
        while answered < 20 {
            let frame = writer.next().await;
            match frame["t"].as_str().unwrap() {
                "ok" => (acked, answered) = (acked + 1, answered + 1),
                "nack" => {
                    assert_eq!(frame["code"], "forbidden", "{frame}");
                    answered += 1;
                }
                _ => {}
            }
        }
        assert_eq!(deleted.await.unwrap(), 204);
        assert!(acked <= 20);
    }
    // Nothing of the dialogs is left, and nothing keeps retrying.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let database = server.folder.path().join("tidewire.db");
    server.server.drain().await;
    let database = rusqlite::Connection::open(database).unwrap();
    for table in ["events", "runs", "pieces"] {
        let left: i64 =
            database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let dialogs: i64 = database.query_row("SELECT count(*) FROM dialogs", [], |row| row.get(0)).unwrap();
    assert_eq!(dialogs, 1, "the open one");
}

#[tokio::test]
async fn what_was_never_written_in_is_forgotten_after_a_day_unless_somebody_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let bob = token("bob", json!({}));
    for id in ["unused", "open", "new", "written"] {
        assert_eq!(post(server.address(), "/v1/dialogs", Some(&bob), &json!({"id": id})).await.0, 201);
    }
    let mut writer = Client::connect(server.address()).await;
    writer.hello(&bob, json!([])).await;
    assert_eq!(writer.op(in_dialog("written", "x")).await["t"], "ok");
    server.drain().await;
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    let old = (now_s() - 90_000).cast_signed() * 1000;
    database
        .execute(
            "UPDATE dialogs SET created = ? WHERE channel NOT IN (SELECT id FROM channels WHERE name = 'dialog:new')",
            [old],
        )
        .unwrap();
    drop(database);
    let server = Server::start(config(&folder)).await.unwrap();
    let mut reader = Client::connect(server.address()).await;
    reader.hello(&bob, json!([{"ch": "dialog:open"}])).await;
    assert_eq!(reader.next().await["t"], "sub_ok");
    server.trim_now().await.unwrap();
    assert_eq!(reader.op(in_dialog("open", "still here")).await["t"], "ok");
    for (id, expected) in
        [("unused", "sub_err"), ("new", "sub_ok"), ("written", "sub_ok"), ("room", "sub_ok")]
    {
        let answer = first_answer(server.address(), &bob, json!({"ch": format!("dialog:{id}")})).await;
        assert_eq!(answer["t"], expected, "{id}");
    }
}

#[tokio::test]
async fn a_guest_that_was_sent_away_is_not_taken_for_a_new_one() {
    let server = start(|_| {}).await;
    let (old, id) = guest(server.address, "Ada").await;
    server.server.revoke(Account::Own, UserKind::Guest, &id, None).await.unwrap();
    let (status, body) = post(server.address, "/v1/guest", Some(&old), &json!({"nickname": "Ada"})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
}

#[tokio::test]
async fn an_id_that_a_client_made_for_itself_is_given_away_once_with_all_its_dialogs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder)).await.unwrap();
    let address = server.address();
    let previous = "visitor-0193f1c2-7d21";
    // As the application's backend issued it.
    let old = token(previous, json!({"kind": "guest"}));
    let mut operator_ = Client::connect(address).await;
    operator_.hello(&operator("olga"), json!([])).await;
    let (status, made) = post(address, "/v1/dialogs", Some(&old), &json!({})).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(status, 201);
    assert_eq!(operator_.op(in_dialog(id, "welcome")).await["t"], "ok");
    let ask = async |previous: &str| {
        post(address, "/v1/guest", None, &json!({"nickname": "Ada", "previous": previous})).await
    };
    let (status, ada) = ask(previous).await;
    assert_eq!(status, 200);
    let name = ada["user"]["id"].as_str().unwrap();
    assert!(name.starts_with("guest:") && !name.contains(previous), "the secret is shown to nobody");
    let sub = || json!({"ch": format!("dialog:{id}")});
    let fresh = ada["token"].as_str().unwrap();
    assert_eq!(first_answer(address, fresh, sub()).await["events"].as_array().unwrap().len(), 1);
    assert_eq!(first_answer(address, &old, sub()).await["code"], "forbidden", "the id is worth nothing now");
    // The response may have been lost, so a repetition gets the same guest, never another one.
    assert_eq!(ask(previous).await.1["user"]["id"], ada["user"]["id"]);
    let (status, body) = ask("too short").await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")));
    server.drain().await;
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    database.execute("UPDATE exchanged SET at = at - 600000", []).unwrap();
    let stored = std::fs::read(folder.path().join("tidewire.db")).unwrap();
    drop(database);
    let shown = stored.windows(previous.len()).filter(|window| *window == previous.as_bytes()).count();
    assert_eq!(shown, 0, "nor is it stored");
    let server = Server::start(config(&folder)).await.unwrap();
    let body = json!({"nickname": "Eve", "previous": previous});
    let (status, body) = post(server.address(), "/v1/guest", None, &body).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("conflict")));
    assert_eq!(first_answer(server.address(), fresh, sub()).await["t"], "sub_ok");
}
