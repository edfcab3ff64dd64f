//! The stream and the reader against a real PostgreSQL, set up as the plan says.

mod gap;
mod setup;
mod source;
mod stream;
mod unseen;

use super::{Event, Reader, Released, Settings, Shape, Stream, WatchedTable, plan};
use std::time::Duration;
use tidewire_postgres::Cluster;
use tidewire_server_core::tables::{Cell, Change, Commit, Row};
use tokio_postgres::{Client, NoTls};

/// Time-out of every wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL with a table `item`, and the settings to watch it.
struct Rig {
    cluster: Cluster,
    admin: Client,
    settings: Settings,
}

impl Rig {
    async fn new(settings: &[(&str, &str)]) -> Rig {
        let cluster = Cluster::start(settings).unwrap();
        let admin = connect(&cluster, "postgres").await;
        let table = "create table item (id int primary key, state text not null, n int, body text)";
        admin.batch_execute(table).await.unwrap();
        admin.batch_execute("create table other (id serial primary key, body text)").await.unwrap();
        let item = WatchedTable {
            namespace: "public".into(),
            name: "item".into(),
            columns: None,
            filtered: vec!["state".into()],
        };
        let settings = Settings {
            address: cluster.address("postgres"),
            ca: None,
            publication: "tidewire".into(),
            slot: "tidewire".into(),
            tables: vec![item],
            commit_bytes: 1 << 20,
        };
        Rig { cluster, admin, settings }
    }

    /// A database that was set up by its plan.
    async fn ready(settings: &[(&str, &str)]) -> Rig {
        let mut rig = Rig::new(settings).await;
        rig.carry_out_plan().await;
        rig.settings.address = rig.cluster.address("tidewire");
        rig
    }

    /// Runs the plan, statement by statement, as `psql` would.
    async fn carry_out_plan(&self) {
        let planned = plan(&self.settings, "tidewire").await.unwrap();
        for statement in planned.split(";\n") {
            self.run(statement).await;
        }
    }

    async fn run(&self, sql: &str) {
        if let Err(error) = self.admin.batch_execute(sql).await {
            panic!("{sql}: {error:?}");
        }
    }

    fn stream(&self) -> (Stream, Released) {
        Stream::new(self.settings.clone()).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::new(&self.settings, 4).unwrap()
    }
}

async fn connect(cluster: &Cluster, user: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&cluster.address(user), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn next(stream: &mut Stream) -> Event {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event in time")
}

/// Waits until the stream connects, also after failures; its epoch and shapes.
async fn up(stream: &mut Stream) -> (String, Vec<Shape>) {
    let mut failures = Vec::new();
    let connected = async {
        loop {
            match stream.next().await {
                Event::Up { epoch, shapes, .. } => return (epoch, shapes),
                Event::Down { error, .. } => failures.push(error.to_string()),
                Event::Idle { .. } => {}
                other => panic!("{other:?} instead of a connection"),
            }
        }
    };
    match tokio::time::timeout(PATIENCE, connected).await {
        Ok(connected) => connected,
        Err(_) => panic!("not connected in time: {failures:?}"),
    }
}

async fn commit(stream: &mut Stream) -> Commit {
    loop {
        match next(stream).await {
            Event::Commit(commit) => return commit,
            Event::Idle { .. } => {}
            other => panic!("{other:?} instead of a commit"),
        }
    }
}

fn cells(row: Option<&Row>) -> String {
    let said = |cell: &Cell| match cell {
        Cell::Null => String::from("null"),
        Cell::Unchanged => String::from("?"),
        Cell::Text(text) if text.len() > 20 => format!("{} bytes", text.len()),
        Cell::Text(text) | Cell::Foreign(text) => text.to_string(),
    };
    row.map_or(String::from("-"), |row| row.iter().map(said).collect::<Vec<_>>().join(" "))
}

/// A commit's changes as texts.
fn told(commit: &Commit) -> Vec<String> {
    let change = |change: &Change| match change {
        Change::Row { old, new, .. } => format!("{} > {}", cells(old.as_ref()), cells(new.as_ref())),
        Change::Lost { reason, .. } => (*reason).to_owned(),
    };
    commit.changes.iter().map(change).collect()
}
