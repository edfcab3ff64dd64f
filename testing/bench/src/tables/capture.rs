//! Measures what the log of changes costs SQLite's writers: triggers in their own transactions.

use crate::Failure;
use crate::figure::{Aim, Figure, median};
use crate::place;
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Duration;
use tidewire_server_sqlite::tables::{self as sqlite, Log, Watch};

/// Size of a row's text, in bytes.
const BODY: usize = 280;
/// A row is updated this many inserts after its own, and deleted as many later.
const LATER: i64 = 500;

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let (rounds, rows) = if quick { (21, 900) } else { (51, 1_500) };
    let top = tempfile::tempdir_in(place::folder()?)?;
    let one = compared(top.path(), "one", "NORMAL", rounds, rows, 1)?;
    // Fewer rows, because each transaction is a sync, which may take milliseconds.
    let full = compared(top.path(), "full", "FULL", rounds / 2, rows / 10, 1)?;
    let many = compared(top.path(), "many", "NORMAL", rounds, rows * 4, 100)?;
    Ok(vec![Figure {
        name: "sqlite_capture_cpu",
        value: one.ratio,
        aim: Aim::Most(1.7),
        how: format!(
            "CPU of the writer for a transaction of one row of {BODY} bytes, synchronous=NORMAL: {:.1} us, {:.1} us without triggers; with FULL {}; \
             a row of a transaction of 100 rows {}",
            one.with,
            one.without,
            full.told(),
            many.told()
        ),
    }])
}

/// Medians: CPU microseconds a row, and of the ratios of the rounds.
struct Compared {
    with: f64,
    without: f64,
    ratio: f64,
}

impl Compared {
    fn told(&self) -> String {
        format!("{:.1} us, {:.1} us without", self.with, self.without)
    }
}

/// Writes to a table with triggers and to one without them, in turn.
fn compared(
    top: &Path,
    name: &str,
    synchronous: &str,
    rounds: usize,
    rows: i64,
    together: i64,
) -> Result<Compared, Failure> {
    let mut without = Writer::open(&top.join(format!("{name}-without.db")), synchronous)?;
    let mut with = Writer::open(&top.join(format!("{name}-with.db")), synchronous)?;
    sqlite::attach(&mut with.connection, &[Watch { table: "items".to_owned(), columns: None }])?;
    // Until there is something to update and to delete each time.
    without.round(LATER * 6, 100)?;
    with.round(LATER * 6, 100)?;
    let (mut times, mut changes) = ((Vec::new(), Vec::new(), Vec::new()), Log::of(&with.connection)?.head);
    for _ in 0..rounds {
        let (one, other) = (without.round(rows, together)?, with.round(rows, together)?);
        let head = Log::of(&with.connection)?.head;
        // Trims as the server does, so that the log has its usual length.
        sqlite::trim(&with.connection, head, 10_000, 100_000)?;
        // Each change must be a row of the log.
        if head != changes + rows.unsigned_abs() {
            return Err(format!("{} changes of {rows} rows were logged", head - changes).into());
        }
        changes = head;
        times.0.push(other / rows as f64);
        times.1.push(one / rows as f64);
        times.2.push(other / one);
    }
    Ok(Compared { with: median(times.0)?, without: median(times.1)?, ratio: median(times.2)? })
}

struct Writer {
    connection: Connection,
    /// The next row.
    next: i64,
    body: String,
}

impl Writer {
    fn open(path: &Path, synchronous: &str) -> Result<Writer, Failure> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, state INTEGER NOT NULL, body TEXT)",
        )?;
        Ok(Writer { connection, next: 0, body: "x".repeat(BODY) })
    }

    /// Writes this many rows, a third each by inserts, updates and deletes, and returns the CPU
    /// microseconds of them all.
    fn round(&mut self, rows: i64, together: i64) -> Result<f64, Failure> {
        let begun = cpu();
        let mut written = 0;
        while written < rows {
            // A statement alone is a transaction.
            if together > 1 {
                self.connection.execute_batch("BEGIN IMMEDIATE")?;
            }
            for _ in 0..together {
                self.write()?;
            }
            if together > 1 {
                self.connection.execute_batch("COMMIT")?;
            }
            written += together;
        }
        Ok((cpu() - begun).as_secs_f64() * 1e6)
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        let (id, connection) = (self.next / 3, &self.connection);
        let kind = self.next % 3;
        self.next += 1;
        match kind {
            0 => connection
                .prepare_cached("INSERT INTO items VALUES (?, ?, 0, ?)")?
                .execute((id, "ada", &self.body)),
            1 => connection
                .prepare_cached("UPDATE items SET state = state + 1, body = ? WHERE id = ?")?
                .execute((&self.body, id - LATER)),
            _ => connection.prepare_cached("DELETE FROM items WHERE id = ?")?.execute([id - 2 * LATER]),
        }?;
        Ok(())
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
