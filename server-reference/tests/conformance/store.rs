//! A full disk, and database files that are lost or can't be used.

use crate::support::*;
use serde_json::json;
use tidewire_server::{SCHEMA_VERSION, Server};

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_recovers_when_space_returns() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    client.next_of("sub_ok").await;
    assert_eq!(client.say("before").await["offset"], 1);
    server.server.limit_database(Some(2)).await.unwrap();
    let refused = message(&id(), &"x".repeat(16_000));
    let nack = client.op(refused.clone()).await;
    assert_eq!((&nack["code"], &nack["retryable"]), (&json!("storage_full"), &json!(true)));
    assert!(nack["retry_after_ms"].as_u64().is_some());
    let (status, _, body) = get(server.address, "/healthz").await;
    assert!(status == 503 && body.contains("storage_full"), "{body}");
    // Reading still works, and nothing was stored.
    client.send(json!({"t": "next", "ch": "dialog:room", "from": 0})).await;
    assert_eq!(client.next_of("page").await["head"], 1);
    server.server.limit_database(None).await.unwrap();
    let ok = client.op(refused).await;
    assert_eq!((&ok["t"], &ok["offset"]), (&json!("ok"), &json!(2)));
    assert_eq!(get(server.address, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_lost_database_is_reported_as_unhealthy_and_never_replaced() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    assert_eq!(client.say("before").await["t"], "ok");
    let path = server.folder.path().join("tidewire.db");
    let aside = server.folder.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    for end in ["", "-wal", "-shm"] {
        let name = format!("tidewire.db{end}");
        std::fs::rename(server.folder.path().join(&name), aside.join(&name)).unwrap();
    }
    let nack = client.say("lost?").await;
    assert_eq!((&nack["t"], &nack["code"]), (&json!("nack"), &json!("store_unavailable")));
    assert_eq!(get(server.address, "/healthz").await.0, 503);
    assert!(!path.exists(), "an empty database must not take the place of the lost one");
    for end in ["", "-wal", "-shm"] {
        let name = format!("tidewire.db{end}");
        std::fs::rename(aside.join(&name), server.folder.path().join(&name)).unwrap();
    }
    assert_eq!(get(server.address, "/healthz").await.0, 200);
    assert_eq!(client.say("after").await["offset"], 2);
}

#[tokio::test]
async fn a_database_of_a_later_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(config(&folder)).await.unwrap().drain().await;
    let database = rusqlite::Connection::open(folder.path().join("tidewire.db")).unwrap();
    let newer = SCHEMA_VERSION + 1;
    database.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", [newer]).unwrap();
    drop(database);
    let Err(error) = Server::start(config(&folder)).await else { panic!("it started") };
    assert_eq!(error.code(), "database_newer");
    assert!(error.to_string().contains(&newer.to_string()), "{error}");
}

#[tokio::test]
async fn the_epoch_and_the_guests_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut guest = None;
    for _ in 0..2 {
        let server = Server::start(config(&folder)).await.unwrap();
        if guest.is_none() {
            let (_, body) = post(server.address(), "/v1/guest", None, &json!({"nickname": "Ada"})).await;
            guest = body["token"].as_str().map(str::to_owned);
        }
        let mut client = Client::connect(server.address()).await;
        client.hello(guest.as_deref().unwrap(), json!([{"ch": "dialog:room"}])).await;
        seen.push(client.next().await["epoch"].clone());
        server.drain().await;
    }
    assert_eq!(seen[0], seen[1]);
    assert!(!folder.path().join("tidewire.db-wal").exists(), "a drain leaves one file");
}
