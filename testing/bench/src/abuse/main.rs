//! `cargo xtask bench abuse`: what a hostile address costs the others. The real server runs at its
//! default limits. Each attack comes from a process of its own while honest clients from other
//! addresses write, and others arrive.

mod attacks;
mod honest;
#[path = "../process.rs"]
#[allow(dead_code)]
mod process;
mod seen;
mod tables;
mod wire;

use attacks::Attack;
use clap::Parser;
use honest::Honest;
use process::{Process, Server};
use seen::Seen;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::process::Command;

/// An error that ends the bench, and is only printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much the server may grow under an attack, in bytes.
const MOST_GROWN: u64 = 8 << 20;
/// How many times higher than on a quiet server the 99th percentile may be.
const MOST_SLOWER: f64 = 2.0;
/// A lower 99th percentile on a quiet server counts as this, in ms, because it depends more on the
/// machine than on the server.
const LEAST_QUIET_MS: f64 = 5.0;
/// The default limits of an address. They don't apply to loopback addresses, so they must be set
/// here.
const SETTINGS: &str = "max_ip_connections = 20\nmax_ip_handshakes = 10\n";

/// One hostile address against the server's default limits, and what the others notice of it.
#[derive(Parser)]
#[command(override_usage = "cargo xtask bench abuse [OPTIONS]")]
struct Args {
    /// How long each attack lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// As --seconds 3: less than two minutes in all, once the programs are built
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Only the attacks with this in their name
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
    /// Print the figures as one JSON object a line
    #[arg(long)]
    json: bool,
    /// The server's program
    #[arg(long, hide = true)]
    server: Option<PathBuf>,
    /// Where databases are made
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
    /// Be the attacker, against this server
    #[arg(long, hide = true, requires = "against")]
    attack: Option<String>,
    /// See above
    #[arg(long, hide = true)]
    against: Option<SocketAddr>,
}

/// The outcome of an attack.
struct Outcome {
    /// How much more the server's memory grew than in the same time without an attack, in bytes.
    grown: u64,
    seen: Seen,
    quiet_ms: f64,
    under_ms: f64,
    refused: u32,
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.quick {
        args.seconds = 3;
    }
    // One thread, because a real attacker would not use the server's own machine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Failure::from).and_then(|runtime| match (&args.attack, args.against) {
        (Some(name), Some(address)) => runtime.block_on(attack(name, address, &args)).map(|()| true),
        _ => runtime.block_on(battery(&args)),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The attacker's process. It prints what it saw as one line.
async fn attack(name: &str, address: SocketAddr, args: &Args) -> Result<(), Failure> {
    let attack = Attack::named(name).ok_or("no such attack")?;
    let seen = attacks::run(attack, address, Duration::from_secs(args.seconds.into())).await?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

/// Runs the chosen attacks one after the other; false if one cost more than it may.
async fn battery(args: &Args) -> Result<bool, Failure> {
    let mut faults = Vec::new();
    if !args.json {
        println!(
            "{:<28}{:>12}{:>26}{:>12}{:>12}{:>12}{:>10}",
            "attack", "grown by", "ended by", "after", "p99 quiet", "p99 under", "refused"
        );
    }
    for attack in Attack::ALL.into_iter().filter(|attack| attack.name().contains(&args.only)) {
        let outcome = measure(args, attack).await.map_err(|error| format!("{}: {error}", attack.name()))?;
        let Outcome { grown, seen, quiet_ms, under_ms, refused } = &outcome;
        if args.json {
            println!(
                "{}",
                json!({"attack": attack.name(), "grown": grown, "ended": seen.ended, "after_ms": seen.after_ms,
                    "quiet_p99_ms": quiet_ms, "under_p99_ms": under_ms, "refused": refused, "tries": seen.tries})
            );
        } else {
            let after = seen.after_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
            println!(
                "{:<28}{:>8.1} MiB{:>26}{after:>12}{quiet_ms:>9.1} ms{under_ms:>9.1} ms{refused:>10}",
                attack.name(),
                *grown as f64 / f64::from(1 << 20),
                seen.ended,
            );
        }
        faults.extend(outcome.faults(attack.name()));
    }
    faults.iter().for_each(|fault| eprintln!("error: {fault}"));
    Ok(faults.is_empty())
}

impl Outcome {
    fn faults(&self, name: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if self.grown > MOST_GROWN {
            faults
                .push(format!("{name} made the server grow by {} bytes, more than {MOST_GROWN}", self.grown));
        }
        let most = self.quiet_ms.max(LEAST_QUIET_MS) * MOST_SLOWER;
        if self.under_ms > most {
            faults.push(format!("{name}: p99 was {:.1} ms, more than {most:.1}", self.under_ms));
        }
        if self.refused > 0 {
            faults.push(format!("{name}: {} honest clients were refused", self.refused));
        }
        faults
    }
}

async fn measure(args: &Args, attack: Attack) -> Result<Outcome, Failure> {
    let program = args.server.clone().ok_or("run it by cargo xtask bench abuse")?;
    let folder = args.folder.clone().ok_or("run it by cargo xtask bench abuse")?;
    let about_tables = attack.is_about_tables();
    let settings = if about_tables { [SETTINGS, tables::SETTINGS].concat() } else { SETTINGS.to_owned() };
    let server = Server::start_beside(&program, &folder, 1, &settings, |folder| match about_tables {
        true => tables::prepare(folder, attack == Attack::TableScans, attack == Attack::TableRows),
        false => Ok(()),
    })
    .await?;
    let time = Duration::from_secs(args.seconds.into());
    attacks::prepare(attack, server.address).await?;
    let mut honest = Honest::connect(server.address, about_tables).await?;
    if attack == Attack::TableFilters {
        honest.application_writes(server.beside("app.db"));
    }
    // Fills caches first, which grow without an attack too.
    honest.write(Duration::from_secs(1)).await?;
    let before = start_measuring(&server)?;
    let quiet = honest.write(time).await?;
    let grown_quiet = grown_since(&server, before)?;
    let idle = start_measuring(&server)?;
    let mut attacker = Process::start(
        Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .args(["--attack", attack.name(), "--against", &server.address.to_string()])
            .args(["--seconds", &args.seconds.to_string()]),
    )?;
    let under = honest.write(time).await?;
    let grown = grown_since(&server, idle)?.saturating_sub(grown_quiet);
    let seen = serde_json::from_str(&attacker.line_after("").await?)?;
    let refused = quiet.refused + under.refused;
    Ok(Outcome { grown, seen, quiet_ms: quiet.p99_ms(), under_ms: under.p99_ms(), refused })
}

/// Resets the peak of the server's memory, and returns what it uses now, in bytes.
fn start_measuring(server: &Server) -> Result<u64, Failure> {
    server.process.forget_most()?;
    Ok(server.process.memory()?.now)
}

/// How far the peak since then was above `before`, in bytes.
fn grown_since(server: &Server, before: u64) -> Result<u64, Failure> {
    Ok(server.process.memory()?.most.saturating_sub(before))
}
