//! A standby: that it has what its primary has, can only be read, and is one until it is promoted.

use std::time::{Duration, Instant};
use tidewire_postgres::Cluster;
use tokio_postgres::{Client, NoTls};

async fn connect(cluster: &Cluster) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&cluster.address("postgres"), NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

async fn count(client: &Client) -> i64 {
    client.query_one("select count(*) from kept", &[]).await.expect("counts").get(0)
}

#[tokio::test]
async fn a_standby_follows_and_takes_over() {
    let mut primary = Cluster::start(&[]).expect("starts");
    let writer = connect(&primary).await;
    writer.batch_execute("create table kept (id int); insert into kept values (1)").await.expect("writes");
    let standby = primary.standby().expect("follows");
    let reader = connect(&standby).await;
    assert_eq!(count(&reader).await, 1);
    writer.batch_execute("insert into kept values (2)").await.expect("writes");
    let until = Instant::now() + Duration::from_secs(30);
    while count(&reader).await < 2 {
        assert!(Instant::now() < until, "it does not follow: {}", standby.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(reader.batch_execute("insert into kept values (3)").await.is_err(), "it is no standby");
    primary.kill_hard().expect("dies");
    standby.promote().expect("is promoted");
    reader.batch_execute("insert into kept values (3)").await.expect("writes");
    assert_eq!(count(&reader).await, 3);
    assert!(standby.promote().is_err(), "it is a primary already");
}
