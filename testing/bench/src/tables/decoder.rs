//! Measures reading a replication stream as commits of live tables, against PostgreSQL's own
//! client, whose output is discarded.

use crate::Failure;
use crate::database::Database;
use crate::figure::{Aim, Figure};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tidewire_server::tables::postgres::{Event, Settings, Stream, WatchedTable};

/// Rows in a transaction.
const TOGETHER: u64 = 100;
/// Bytes of a row's text.
const BODY: usize = 320;
/// The fields of `proc_pid_stat(5)` with the CPU time of a process, and of its children that have
/// ended. Fields are counted from 0 after the name.
const SELF: usize = 11;
const CHILDREN: usize = 13;
/// A tick of `proc_pid_stat(5)` in microseconds, the same on all common machines.
const TICK_US: f64 = 10_000.0;
/// Time-out for reading a stream.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let (rows, rounds) = if quick { (80_000, 5) } else { (200_000, 9) };
    tokio::runtime::Runtime::new()?.block_on(compare(rows, rounds))
}

/// The time of reading all rows once.
struct Read {
    /// Since the beginning of the stream, so without the connection and its checks.
    seconds: f64,
    /// CPU time of the reader since its start, without the database's.
    cpu_us: f64,
}

impl Read {
    /// A reading that ends now.
    fn of(begun: Instant, field: usize, before: u64) -> Result<Read, Failure> {
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Read { seconds, cpu_us: (ticks(field)? - before) as f64 * TICK_US })
    }
}

async fn compare(rows: u64, rounds: usize) -> Result<Vec<Figure>, Failure> {
    let database = Database::start(&[("max_replication_slots", "40")]).await?;
    database
        .run("create table items (id bigint primary key, owner bigint not null, body text not null)")
        .await?;
    database.run("create publication bench for table items").await?;
    database.ask("select lsn::text from pg_create_logical_replication_slot('all', 'pgoutput')").await?;
    database
        .run(&format!(
            "do $$ begin
                for i in 0..{} loop
                    insert into items select i * {TOGETHER} + n, n, rpad(md5(n::text), {BODY}, md5(i::text)) from generate_series(1, {TOGETHER}) n;
                    commit;
                end loop;
            end $$",
            rows / TOGETHER - 1
        ))
        .await?;
    let end = database.ask("select pg_current_wal_insert_lsn()::text").await?;
    // A change behind the rows shows that all of them were read.
    database.run("create table behind ()").await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    // The first round reads the log into memory, and checks that their client reads everything.
    for round in 0..=rounds {
        // They take turns in going first.
        if round % 2 == 1 {
            ours.push(commits(&database, round, rows).await?);
        }
        let written = if round == 0 { Stdio::piped() } else { Stdio::null() };
        let (read, bytes) = recvlogical(&database, round, &end, written).await?;
        if round == 0 && bytes < usize::try_from(rows)? * BODY {
            return Err(format!("pg_recvlogical wrote {bytes} bytes").into());
        }
        theirs.push(read);
        if round % 2 == 0 {
            ours.push(commits(&database, round, rows).await?);
        }
    }
    let (theirs, ours) = (theirs.split_off(1), ours.split_off(1));
    // Ratios of successive readings, during which the machine is in a similar state.
    let ratio = median(theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.seconds / ours.seconds));
    let count = rows as f64;
    let told = |reads: &[Read]| {
        let speed = count / median(reads.iter().map(|read| read.seconds));
        let cpu = median(reads.iter().map(|read| read.cpu_us)) / count;
        format!("{speed:.0} rows a second at {cpu:.2} us of CPU a row")
    };
    Ok(vec![Figure {
        name: "decoder_vs_pg_recvlogical",
        value: ratio,
        aim: Aim::Least(0.9),
        how: format!(
            "medians of {rounds} rounds of {rows} rows, {TOGETHER} a transaction, from when the stream begins: {} as commits, {} by pg_recvlogical into /dev/null",
            told(&ours),
            told(&theirs)
        ),
    }])
}

/// Reads everything with PostgreSQL's client, and returns the number of bytes if they are kept.
async fn recvlogical(
    database: &Database,
    round: usize,
    end: &str,
    written: Stdio,
) -> Result<(Read, usize), Failure> {
    let slot = format!("theirs_{round}");
    copy_slot(database, &slot).await?;
    let mut command = database.cluster.command("pg_recvlogical");
    command
        .args(["--host=127.0.0.1", "--username=postgres", "--dbname=postgres", "--no-loop", "--start"])
        .arg(format!("--port={}", database.cluster.port()))
        .args([
            "--file=-",
            "--fsync-interval=0",
            "--option=proto_version=1",
            "--option=publication_names=bench",
        ])
        .args([format!("--slot={slot}"), format!("--endpos={end}"), "--verbose".to_owned()])
        .stdout(written)
        .stderr(Stdio::piped());
    let ticks = ticks(CHILDREN)?;
    let mut child = command.spawn()?;
    let mut said = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
    let initiated = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("streaming initiated")));
    if initiated.is_none() {
        return Err("pg_recvlogical has not begun".into());
    }
    let begun = Instant::now();
    let output = child.wait_with_output()?;
    let read = Read::of(begun, CHILDREN, ticks)?;
    if !output.status.success() {
        return Err(format!("pg_recvlogical: {}", output.status).into());
    }
    Ok((read, output.stdout.len()))
}

/// Reads everything as the server does.
async fn commits(database: &Database, round: usize, rows: u64) -> Result<Read, Failure> {
    // The stream uses a slot whose name begins with this.
    let slot = format!("ours_{round}");
    copy_slot(database, &format!("{slot}_0")).await?;
    let settings = Settings {
        address: database.cluster.address("postgres"),
        ca: None,
        publication: "bench".to_owned(),
        slot,
        tables: vec![WatchedTable {
            namespace: "public".to_owned(),
            name: "items".to_owned(),
            columns: None,
            filtered: Vec::new(),
        }],
        commit_bytes: 1 << 20,
    };
    let ticks = ticks(SELF)?;
    let (mut stream, _released) = Stream::new(settings)?;
    // On a task of its own, as in the server.
    let reading = tokio::spawn(async move {
        let (mut found, mut begun) = (0, Instant::now());
        while found < rows {
            match stream.next().await {
                Event::Up { .. } => begun = Instant::now(),
                Event::Commit(commit) => found += commit.changes.len() as u64,
                Event::Down { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
        Ok::<(u64, Read), Failure>((found, Read::of(begun, SELF, ticks)?))
    });
    let (found, read) = tokio::time::timeout(PATIENCE, reading).await???;
    if found != rows {
        return Err(format!("{found} changes of {rows} rows").into());
    }
    let until = Instant::now() + PATIENCE;
    while database.ask("select count(*)::text from pg_stat_replication").await? != "0" {
        if Instant::now() > until {
            return Err("the stream's connection does not end".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(read)
}

/// Makes a slot at the position of the first one, before all rows.
async fn copy_slot(database: &Database, name: &str) -> Result<(), Failure> {
    database.ask(&format!("select lsn::text from pg_copy_logical_replication_slot('all', '{name}')")).await?;
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time in user mode and in the kernel, in ticks.
fn ticks(field: usize) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let mut sum = 0;
    for field in fields.split_whitespace().skip(field).take(2) {
        sum += field.parse::<u64>()?;
    }
    Ok(sum)
}
