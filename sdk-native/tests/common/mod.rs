//! What the tests share: a scripted server, the real server's process, and waiting.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod build;
pub mod fake;
pub mod follow;
pub mod peer;
pub mod server;
pub mod told;

use std::time::{Duration, Instant};

use serde_json::json;
use server::Server;
use tidewire::token::from_fn;
use tidewire::{Client, ClientOptions, Config, Dialog, Rows, State, Status, Storage};

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Settings that retry at once, so that tests don't wait.
pub fn eager() -> Config {
    Config { backoff_base_ms: 20, backoff_cap_ms: 200, connect_timeout_ms: 5_000, ..Config::default() }
}

/// A user who may enter `guild:7`, connecting to the server.
pub async fn member(server: &Server, name: &str) -> Client {
    member_at(&server.url(), server, name, eager()).await
}

/// As [`member`], by way of another address.
pub async fn member_at(url: &str, server: &Server, name: &str, config: Config) -> Client {
    let client = member_with(url, server, name, config, Storage::Memory).await;
    client.connect();
    client
}

/// As [`member_at`], not yet connecting.
pub async fn member_with(url: &str, server: &Server, name: &str, config: Config, storage: Storage) -> Client {
    let token = server.token_with(name, &json!({"guilds": ["7"]}));
    let provider = from_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let options = ClientOptions::new(url, provider).config(config).storage(storage);
    Client::open(options).await.expect("opens")
}

/// Waits until the status is as wanted.
pub async fn status_where(client: &Client, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = client.watch_status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
    match found {
        Ok(status) => status.expect("the client lives").clone(),
        Err(_) => panic!("waited in vain for {what}; the status is {:?}", client.status()),
    }
}

pub async fn online(client: &Client) {
    status_where(client, "online", |status| status.state == State::Online).await;
}

/// Waits until the rows are as wanted.
pub async fn rows_where(dialog: &Dialog, what: &str, wanted: impl Fn(&Rows) -> bool) -> Rows {
    let mut rows = dialog.watch();
    let found = tokio::time::timeout(PATIENCE, rows.wait_for(wanted)).await;
    match found {
        Ok(rows) => rows.expect("the client lives").clone(),
        Err(_) => panic!("waited in vain for {what}; the rows are {:?}", dialog.rows()),
    }
}

/// Waits for something to become true.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a future, but not for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
