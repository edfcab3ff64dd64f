//! Measures how soon a client is notified of a commit, with a real server, a real client, and a
//! writer that knows neither.
//!
//! The time begins when the writer's commit returns. Both databases are measured, and a figure is
//! that of the slower one.

use crate::Failure;
use crate::figure::{Aim, Figure, median};
use crate::place;
use crate::process::{PATIENCE, SECRET, Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};
use tidewire::token::{TokenError, from_fn};
use tidewire::{Client, ClientOptions, Table, TableQuery, TableStatus, TableUpdate};
use tidewire_postgres::Cluster;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

/// Interval of commits, and of the polling that is compared. Neither is a multiple of the other, so
/// commits fall at all times between two polls.
const APART: Duration = Duration::from_micros(15_370);
const POLL: Duration = Duration::from_millis(100);
/// What is appended before the sync that a commit is compared with.
const PAGE: [u8; 4_096] = [7; 4_096];
const BODY: usize = 100;

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let commits = if quick { 100 } else { 300 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let all = [sqlite(&runtime, commits)?, postgres(&runtime, commits)?];
    let worst = |of: fn(&Times) -> f64| all.iter().map(of).fold(f64::MIN, f64::max);
    let told: Vec<String> = all.iter().map(Times::told).collect();
    let polled = all.iter().map(|one| format!("{} {:.1} ms", one.database, one.polled));
    Ok(vec![
        Figure {
            name: "callback_vs_fsync",
            value: worst(|times| times.called / times.synced),
            aim: Aim::Most(0.2),
            how: format!("{commits} durable commits each, medians: {}", told.join("; ")),
        },
        Figure {
            name: "callback_vs_polling",
            value: worst(|times| times.called / times.polled),
            aim: Aim::Most(0.02),
            how: format!(
                "the same commits seen by a SELECT each {} ms after {}",
                POLL.as_millis(),
                polled.collect::<Vec<_>>().join(", ")
            ),
        },
    ])
}

/// Medians, in ms.
struct Times {
    database: &'static str,
    /// From the commit's beginning to its end.
    committed: f64,
    /// From the commit's end to the callback; negative if that came first.
    called: f64,
    /// From the commit's beginning to the callback.
    whole: f64,
    /// From the commit's end to the first poll that sees it.
    polled: f64,
    /// Of an append and a sync.
    synced: f64,
}

impl Times {
    fn told(&self) -> String {
        format!(
            "{} callback {:.2} ms after the commit returned, {:.2} ms after it began (the commit {:.2} ms, 4 KiB and fsync {:.2} ms)",
            self.database, self.called, self.whole, self.committed, self.synced
        )
    }
}

fn sqlite(runtime: &Runtime, commits: i64) -> Result<Times, Failure> {
    let folder = tempfile::tempdir_in(place::folder()?)?;
    let path = folder.path().join("app.db");
    let open = || -> Result<Connection, Failure> {
        let connection = Connection::open(&path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    };
    let (writer, poller) = (open()?, open()?);
    writer.pragma_update(None, "journal_mode", "WAL")?;
    writer.execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")?;
    let mut insert = writer.prepare("INSERT INTO items VALUES (?, ?)")?;
    let source = format!("sqlite:{}", path.display());
    let body = "x".repeat(BODY);
    let select = move |after: i64| -> Result<Vec<i64>, Failure> {
        let mut statement = poller.prepare_cached("SELECT id, body FROM items WHERE id > ?")?;
        let ids = statement.query_map([after], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(ids)
    };
    let write = |id: i64| -> Result<(), Failure> {
        insert.execute((id, &body))?;
        Ok(())
    };
    follow(runtime, "SQLite", &source, commits, folder.path(), write, select)
}

fn postgres(runtime: &Runtime, commits: i64) -> Result<Times, Failure> {
    let cluster = Cluster::start(&[("fsync", "on")])?;
    let admin = Postgres::connect(&cluster)?;
    admin.run("CREATE TABLE items (id bigint PRIMARY KEY, body text NOT NULL)")?;
    let address = |user: &str| format!("postgres://{user}@127.0.0.1:{}/postgres", cluster.port());
    admin.run(&plan(&address("postgres"))?)?;
    // The cluster is beside it, in a folder of its own.
    let folder = tempfile::tempdir()?;
    let poller = Postgres::connect(&cluster)?;
    let body = "x".repeat(BODY);
    let insert = admin.prepare("INSERT INTO items VALUES ($1, $2)")?;
    let look = poller.prepare("SELECT id, body FROM items WHERE id > $1")?;
    let write = |id: i64| -> Result<(), Failure> {
        admin.runtime.block_on(admin.client.execute(&insert, &[&id, &body]))?;
        Ok(())
    };
    let select = move |after: i64| -> Result<Vec<i64>, Failure> {
        let rows = poller.runtime.block_on(poller.client.query(&look, &[&after]))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    follow(runtime, "PostgreSQL", &address("tidewire"), commits, folder.path(), write, select)
}

/// A connection that is driven by its user's thread, so that no other thread has to be woken for an
/// answer.
struct Postgres {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Postgres {
    fn connect(cluster: &Cluster) -> Result<Postgres, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, connection) =
            runtime.block_on(tokio_postgres::connect(&cluster.address("postgres"), NoTls))?;
        runtime.spawn(connection);
        Ok(Postgres { runtime, client })
    }

    /// Statements that can't share a transaction, one after the other.
    fn run(&self, sql: &str) -> Result<(), Failure> {
        for statement in sql.split(";\n") {
            self.runtime.block_on(self.client.batch_execute(statement))?;
        }
        Ok(())
    }

    fn prepare(&self, sql: &str) -> Result<tokio_postgres::Statement, Failure> {
        Ok(self.runtime.block_on(self.client.prepare(sql))?)
    }
}

/// What the server says that an administrator has to run.
fn plan(address: &str) -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("server.toml");
    std::fs::write(&settings, WATCH)?;
    let mut command = std::process::Command::new(place::server()?);
    command.args(["tables", "plan", "--tables-source", address, "--config"]).arg(&settings);
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

const WATCH: &str = "[tables.watch.items]\naccess = { user = \"*\" }\n";

/// Commits, and measures when the commit is noticed.
fn follow(
    runtime: &Runtime,
    database: &'static str,
    source: &str,
    commits: i64,
    folder: &Path,
    mut write: impl FnMut(i64) -> Result<(), Failure>,
    select: impl FnMut(i64) -> Result<Vec<i64>, Failure> + Send,
) -> Result<Times, Failure> {
    let settings = format!("[tables]\nsource = \"{source}\"\n{WATCH}");
    let server = runtime.block_on(Server::start(&place::server()?, &place::folder()?, 0, &settings))?;
    let called = runtime.block_on(listen(&server))?;
    let mut file = File::create(folder.join("synced"))?;
    std::thread::scope(|scope| {
        let poller = scope.spawn(|| poll(commits, select));
        let (mut begun, mut ended, mut synced) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut next = Instant::now() + APART;
        for id in 1..=commits {
            sleep_until(next);
            begun.insert(id, Instant::now());
            write(id)?;
            ended.insert(id, Instant::now());
            // In the middle of the pause, so that the disk is in the same state as for a commit.
            sleep_until(next + APART / 2);
            let at = Instant::now();
            file.write_all(&PAGE)?;
            file.sync_all()?;
            synced.push(at.elapsed().as_secs_f64() * 1e3);
            next += APART;
        }
        let mut calls = BTreeMap::new();
        for _ in 1..=commits {
            let (id, at) = called.recv_timeout(PATIENCE).map_err(|_| "a change did not come")?;
            calls.insert(id, at);
        }
        let looks = poller.join().map_err(|_| "whoever polls failed")??;
        Ok(Times {
            database,
            committed: between(&begun, &ended)?,
            called: between(&ended, &calls)?,
            whole: between(&begun, &calls)?,
            polled: between(&ended, &looks)?,
            synced: median(synced)?,
        })
    })
}

/// Subscribes; the result gives the ids of changed rows and the time of their callback.
async fn listen(server: &Server) -> Result<Receiver<(i64, Instant)>, Failure> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = json!({"sub": "bench", "name": "Bench", "iss": "tidewire", "aud": "tidewire", "iat": now_s, "exp": now_s + 3_600});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?;
    let provider = from_fn(move |_| std::future::ready(Ok::<_, TokenError>(token.clone())));
    let client = Client::open(ClientOptions::new(format!("http://{}", server.address), provider)).await?;
    client.connect();
    let mut table = client.table(&TableQuery { table: "items".to_owned(), ..TableQuery::default() })?;
    let live = async {
        while table.status() != TableStatus::Live {
            if let TableStatus::Failed { .. } = table.status() {
                return Err(format!("{:?}", table.status()).into());
            }
            table.next().await.ok_or("the client ended")?;
        }
        Ok::<(), Failure>(())
    };
    tokio::time::timeout(PATIENCE, live).await??;
    let (sender, receiver) = channel();
    tokio::spawn(async move {
        // The client is closed with its last handle.
        let _client = client;
        while let Some(at) = changed(&mut table).await {
            if at.into_iter().any(|one| sender.send(one).is_err()) {
                break;
            }
        }
    });
    Ok(receiver)
}

/// The ids of the rows that the next update tells of, with when it came.
async fn changed(table: &mut Table) -> Option<Vec<(i64, Instant)>> {
    let update = table.next().await?;
    let at = Instant::now();
    let TableUpdate::Changes { changes, .. } = update else { return Some(Vec::new()) };
    let id = |row: &str| serde_json::from_str::<Value>(row).ok()?["id"].as_str()?.parse().ok();
    Some(changes.iter().filter_map(|change| Some((id(change.new.as_deref()?)?, at))).collect())
}

/// Polls for new rows.
fn poll(
    commits: i64,
    mut select: impl FnMut(i64) -> Result<Vec<i64>, Failure>,
) -> Result<BTreeMap<i64, Instant>, Failure> {
    let (mut seen, mut last) = (BTreeMap::new(), 0);
    let mut next = Instant::now();
    let until = next + PATIENCE + APART * u32::try_from(commits)?;
    while last < commits {
        if next > until {
            return Err("whoever polls does not see all".into());
        }
        next += POLL;
        sleep_until(next);
        let ids = select(last)?;
        let at = Instant::now();
        last = ids.iter().copied().fold(last, i64::max);
        seen.extend(ids.into_iter().map(|id| (id, at)));
    }
    Ok(seen)
}

/// The median time from one to the other, in ms.
fn between(one: &BTreeMap<i64, Instant>, other: &BTreeMap<i64, Instant>) -> Result<f64, Failure> {
    let mut times = Vec::new();
    for (id, from) in one {
        let to = other.get(id).ok_or_else(|| format!("row {id} was not told"))?;
        let after = to.saturating_duration_since(*from).as_secs_f64();
        let before = from.saturating_duration_since(*to).as_secs_f64();
        times.push((after - before) * 1e3);
    }
    median(times)
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}
