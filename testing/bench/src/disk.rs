//! Measures the disk alone: the time of a sync, and of SQLite with a commit for each row.

use crate::figures::Part;
use crate::{TEXT_BYTES, WARM_UP};
use rusqlite::Connection;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is written before each sync: a page of SQLite's size.
const PAGE: [u8; 4096] = [7; 4096];
/// The number of pages, which are overwritten again and again, as in SQLite's write-ahead log.
const PAGES: u64 = 1_024;

/// Measures overwriting a page of a file and syncing it.
pub(crate) fn syncs(folder: &Path, time: Duration) -> std::io::Result<Part> {
    let file = File::create(folder.join("sync"))?;
    for page in 0..PAGES {
        file.write_all_at(&PAGE, page * PAGE.len() as u64)?;
    }
    file.sync_all()?;
    let mut pages = (0..PAGES).cycle();
    let waits = one_by_one(time, || {
        file.write_all_at(&PAGE, pages.next().unwrap_or_default() * PAGE.len() as u64)?;
        file.sync_data()
    })?;
    Ok(alone(waits, time))
}

/// Measures SQLite in the server's journal mode with a commit, and so a sync, for each row.
pub(crate) fn rows(folder: &Path, time: Duration) -> rusqlite::Result<Part> {
    let connection = Connection::open(folder.join("rows.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS event (offset INTEGER PRIMARY KEY, id TEXT UNIQUE, body TEXT)",
    )?;
    let mut insert = connection.prepare("INSERT INTO event (id, body) VALUES (?1, ?2)")?;
    let text = "x".repeat(TEXT_BYTES);
    let waits = one_by_one(time, || insert.execute((uuid::Uuid::now_v7().to_string(), &text)).map(drop))?;
    Ok(alone(waits, time))
}

fn alone(waits: Vec<Duration>, time: Duration) -> Part {
    let writes = waits.len() as u64;
    Part { waits, commits: writes, acked: writes, time }
}

/// The duration of each write within `time`, after a warm-up.
fn one_by_one<E>(time: Duration, mut write: impl FnMut() -> Result<(), E>) -> Result<Vec<Duration>, E> {
    let from = Instant::now() + WARM_UP;
    let mut waits = Vec::new();
    loop {
        let begun = Instant::now();
        write()?;
        let ended = Instant::now();
        if ended > from + time {
            return Ok(waits);
        }
        if ended >= from {
            waits.push(ended - begun);
        }
    }
}
