//! Attacks on live tables: long scans, filters that are expensive to match, snapshots that are too
//! large, and filters that no index finds.

use super::seen::{FROM, Seen, end};
use crate::Failure;
use crate::wire::Client;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The tables in the server's settings.
pub(crate) const SETTINGS: &str = "[tables]\nsource = \"sqlite:app.db\"\n\
    [tables.watch.small]\naccess = { user = \"*\" }\n\
    [tables.watch.long]\naccess = { user = \"*\" }\n\
    [tables.watch.wide]\naccess = { user = \"*\" }\n";

/// Number of rows of 2 KB that a scan reads, and of rows of 50 KB, too many for one snapshot.
const LONG: u32 = 60_000;
const WIDE: u32 = 15_000;
/// Number of subscriptions of a connection.
const FILTERS: usize = 100;

/// Makes the application's database, before the server starts. Tables that the attack does not need
/// stay empty.
pub(crate) fn prepare(folder: &Path, long: bool, wide: bool) -> Result<(), Failure> {
    let app = Connection::open(folder.join("app.db"))?;
    app.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TABLE small (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO small VALUES (1, 'one');
         CREATE TABLE long (id INTEGER PRIMARY KEY, note TEXT);
         CREATE TABLE wide (id INTEGER PRIMARY KEY, note TEXT);",
    )?;
    for (table, rows, bytes) in
        [("long", u32::from(long) * LONG, 2_000), ("wide", u32::from(wide) * WIDE, 50_000)]
    {
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO {table} SELECT i, printf('%.*c', {bytes}, 'x') FROM n WHERE i <= ?1"
        );
        app.execute(&fill, [rows])?;
    }
    Ok(())
}

/// Scans of many long rows, a hundred at a time, with patterns that match late or never.
pub(crate) async fn scans(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    let pattern = format!("note=ilike.{}", "*x*y".repeat(40));
    asking(address, until, "eve", move |n| sub(n, "long", &format!("{pattern}&id=gt.{}", n % 7))).await
}

/// Filters of fifteen patterns each, for a table that is written to all the time.
pub(crate) async fn filters(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    let term = |n: usize, k: usize| format!("note.ilike.*{}x{k}y{n}*", "a*".repeat(8));
    asking(address, until, "eve", move |n| {
        let terms: Vec<String> = (0..15).map(|k| term(n, k)).collect();
        sub(n, "small", &format!("or=({})", terms.join(",")))
    })
    .await
}

/// Subscriptions to nearly all rows of a table, which are too many bytes.
pub(crate) async fn wide_rows(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    asking(address, until, "eve", |n| sub(n, "wide", &format!("id=gt.{}", n % 3))).await
}

/// Filters that compare no column with a value for equality, by three users.
pub(crate) async fn unindexed(address: SocketAddr, until: Instant) -> Result<Seen, Failure> {
    let mut tasks = JoinSet::new();
    for user in ["eve", "mallory", "trudy"] {
        tasks.spawn(asking(address, until, user, |n| sub(n, "small", &format!("id=neq.{}", n + 1_000))));
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        let seen = seen??;
        all = Seen { tries: all.tries + seen.tries, ..seen };
    }
    Ok(all)
}

fn sub(n: usize, table: &str, filter: &str) -> Value {
    json!({"t": "tbl.sub", "sid": format!("s{}", n % FILTERS), "table": table, "filter": filter})
}

/// Subscribes again and again without waiting for answers; new subscriptions replace old ones.
async fn asking(
    address: SocketAddr,
    until: Instant,
    user: &'static str,
    mut ask: impl FnMut(usize) -> Value,
) -> Result<Seen, Failure> {
    let (begun, mut seen) = (Instant::now(), Seen::default());
    let mut asked = 0;
    while Instant::now() < until {
        let Ok(mut client) = Client::welcome(address, FROM, user, json!([])).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while Instant::now() < until {
            // Fails if the server has closed the connection.
            if client.send(&ask(asked)).await.is_err() {
                break;
            }
            asked += 1;
            seen.tries += 1;
            let patience =
                if asked % FILTERS == 0 { Duration::from_millis(500) } else { Duration::from_millis(1) };
            match timeout(patience, client.next()).await {
                Ok(Ok(Some(frame))) if frame["t"] == "tbl.err" || frame["t"] == "error" => {
                    end(&mut seen, frame["code"].as_str().unwrap_or_default(), begun);
                }
                Ok(Ok(Some(_))) | Err(_) => {}
                Ok(Ok(None) | Err(_)) => break,
            }
        }
        if let Some(code) = client.close {
            end(&mut seen, &code.to_string(), begun);
        }
    }
    Ok(seen)
}

/// Writes three long rows at a time, as the application. Blocks.
pub(crate) fn write_long_rows(app: &Path, until: Instant) -> Result<(), Failure> {
    let app = Connection::open(app)?;
    app.busy_timeout(Duration::from_secs(10))?;
    let note = "ab".repeat(8_000);
    while Instant::now() < until {
        app.execute("DELETE FROM small WHERE id > 1", [])?;
        for id in 2..5 {
            app.execute("INSERT INTO small VALUES (?1, ?2)", (id, &note))?;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
