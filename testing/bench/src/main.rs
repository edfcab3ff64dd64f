//! `cargo xtask bench commit`: the effect of group commit, and the memory that is needed. The real
//! server runs on fresh databases, with many clients and many ops in flight, and with one op at a
//! time; then with idle connections, and with hostile peers.

mod client;
mod disk;
mod figures;
mod hostile;
mod native;
// The other benches use more of it.
#[allow(dead_code)]
mod process;

use clap::Parser;
use figures::{Figures, KEYS, Load, Memory, Part, Rate};
use process::Server;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Bytes of a message's text.
const TEXT_BYTES: usize = 100;
/// Time at the beginning of a round in which nothing is counted.
const WARM_UP: Duration = Duration::from_millis(250);
/// Number of rounds, in which all ways of writing take turns.
const ROUNDS: u32 = 4;
/// Pause before memory is measured.
const REST: Duration = Duration::from_secs(1);

/// An error that ends the bench, and is only printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The server's group commit against one write at a time on the same disk, and the memory of server
/// and client.
#[derive(Parser)]
#[command(override_usage = "cargo xtask bench commit [OPTIONS]", after_help = KEYS)]
struct Args {
    /// How many clients write, each with a user and a dialog of its own
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
    /// How many ops each has in flight
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    inflight: u32,
    /// How long each way of writing is measured, in four turns
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How many idle connections memory is measured with, and how many sockets send half a request
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    connections: u32,
    /// As --seconds 2: less than a minute in all, once the programs are built
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
    /// The server's program
    #[arg(long, hide = true)]
    server: PathBuf,
    /// The native client's program
    #[arg(long, hide = true)]
    peer: PathBuf,
    /// Where databases are made; on a disk, for a file system in memory syncs nothing
    #[arg(long, hide = true)]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.quick {
        args.seconds = 2;
    }
    let figures = match measure(&args).await {
        Ok(figures) => figures,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let Args { clients, inflight, seconds, connections, .. } = args;
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    if args.json {
        let settings = json!({"clients": clients, "inflight": inflight, "seconds": seconds,
            "connections": connections, "text_bytes": TEXT_BYTES, "cores": cores});
        println!("{}", figures.in_json(settings));
    } else {
        let many = format!("server, {clients} clients x {inflight} in flight");
        print!("{}", figures.in_text(&many, connections));
    }
    let faults = figures.faults();
    faults.iter().for_each(|fault| eprintln!("error: {fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(args: &Args) -> Result<Figures, Failure> {
    std::fs::create_dir_all(&args.folder)?;
    let writing = writing(args).await?;
    say(&format!("{} idle connections", args.connections));
    let (connected, each) = connections(args).await?;
    say("hostile peers, some 20 s");
    let time = Duration::from_secs(args.seconds.into());
    let hostile = hostile::all(&args.server, &args.folder, each, args.connections, time).await?;
    say("native clients");
    let client = native::memory(&args.peer, &args.server, &args.folder).await?;
    let Writing { fsync, sqlite, single, group, idle, loaded } = writing;
    let memory = Memory { idle, loaded, connected, each };
    Ok(Figures { fsync, sqlite, single, group, memory, hostile, client })
}

/// The figures of writing, with the peak of a server's memory before and after it.
struct Writing {
    fsync: Rate,
    sqlite: Rate,
    single: Load,
    group: Load,
    idle: u64,
    loaded: u64,
}

/// Measures all ways of writing in turns, because the speed of a shared disk changes over time.
async fn writing(args: &Args) -> Result<Writing, Failure> {
    let &Args { clients, inflight, seconds, .. } = args;
    let time = Duration::from_secs(seconds.into()) / ROUNDS;
    let folder = tempfile::tempdir_in(&args.folder)?;
    let one = Server::start(&args.server, &args.folder, 1, &unlimited(1)).await?;
    let many = Server::start(&args.server, &args.folder, clients, &unlimited(inflight)).await?;
    tokio::time::sleep(REST).await;
    let idle = many.process.memory()?.most;
    let [mut fsync, mut sqlite, mut single, mut group] = [(); 4].map(|()| Part::default());
    for round in 1..=ROUNDS {
        say(&format!("writing, round {round} of {ROUNDS}, 4 x {:.1} s", (time + WARM_UP).as_secs_f64()));
        let path = folder.path().to_owned();
        let alone = tokio::task::spawn_blocking(move || {
            Ok::<_, Failure>((disk::syncs(&path, time)?, disk::rows(&path, time)?))
        });
        let (syncs, rows) = alone.await??;
        fsync.add(syncs);
        sqlite.add(rows);
        single.add(client::load(&one, 1, 1, time).await?);
        group.add(client::load(&many, clients, inflight, time).await?);
    }
    Ok(Writing {
        fsync: fsync.rate(),
        sqlite: sqlite.rate(),
        single: Load::of(single, one.events()?),
        group: Load::of(group, many.events()?),
        idle,
        loaded: many.process.memory()?.most,
    })
}

/// Settings with an op budget that no client exceeds.
fn unlimited(inflight: u32) -> String {
    format!(
        "[limits]\ninflight = {}\ninflight_bytes = 16777216\nuser = {{ ops = 1000000, per_ms = 1000, burst = 1000000 }}\n",
        inflight.max(32)
    )
}

/// The peak of a server's memory with idle connections, and what each of them added, in bytes.
async fn connections(args: &Args) -> Result<(u64, u64), Failure> {
    let server = Server::start(&args.server, &args.folder, args.connections, "").await?;
    tokio::time::sleep(REST).await;
    let before = server.process.memory()?.now;
    let waiting = client::connect(&server, args.connections).await?;
    tokio::time::sleep(REST).await;
    let after = server.process.memory()?;
    drop(waiting);
    Ok((after.most, after.now.saturating_sub(before) / u64::from(args.connections)))
}

/// Prints progress to the error stream, apart from the figures.
fn say(what: &str) {
    eprintln!(".. {what}");
}
