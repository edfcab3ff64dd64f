//! The cluster itself: that it starts, survives a kill with its data, and leaves nothing behind.

use std::net::TcpStream;
use tidewire_postgres::Cluster;
use tokio_postgres::{Client, NoTls};

async fn connect(cluster: &Cluster) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&cluster.address("postgres"), NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

async fn asked(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.expect(query).get(0)
}

#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    let mut cluster = Cluster::start(&[("max_slot_wal_keep_size", "64MB")]).expect("starts");
    let client = connect(&cluster).await;
    assert_eq!(asked(&client, "show wal_level").await, "logical");
    assert_eq!(asked(&client, "show max_slot_wal_keep_size").await, "64MB");
    assert_eq!(asked(&client, "show server_encoding").await, "UTF8");
    client.batch_execute("create table kept (id int); insert into kept values (7)").await.expect("writes");
    cluster.kill_hard().expect("dies");
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection outlived the server");
    cluster.start_again().expect("starts again");
    assert_eq!(asked(&connect(&cluster).await, "select id::text from kept").await, "7");
    assert!(cluster.log().contains("not properly shut down"), "it was not killed: {}", cluster.log());
}

#[tokio::test]
async fn a_panic_ends_it_too() {
    let started = std::thread::spawn(|| {
        let cluster = Cluster::start(&[]).expect("starts");
        std::panic::panic_any(cluster.port());
    });
    let port = *started.join().expect_err("it panicked").downcast::<u16>().expect("a port");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the server outlived its owner");
}
