//! `cargo xtask bench tables`: what live tables cost, as ratios of two ways of doing the same in
//! one run.

mod beside;
mod capture;
mod database;
mod decoder;
mod figure;
mod latency;
mod matching;
mod place;
// The other benches use more of it.
#[path = "../process.rs"]
#[allow(dead_code)]
mod process;
mod resume;
mod wal;
mod world;

use clap::Parser;
use figure::Figure;
use std::process::ExitCode;

/// An error that ends the bench, and is only printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What live tables cost, as ratios of two ways of doing the same in one run.
#[derive(Parser)]
#[command(override_usage = "cargo xtask bench tables [OPTIONS]")]
struct Args {
    /// Within a minute in all, once the programs are built; the figures are rougher
    #[arg(long)]
    quick: bool,
    /// Print the figures as one JSON object: of each its value, its aim, and whether it holds
    #[arg(long)]
    json: bool,
    /// Only figures whose name contains this
    #[arg(long, value_name = "PART")]
    only: Option<String>,
}

/// Measures some figures. Their names are known before, so that it runs only if one is wanted.
struct Part {
    names: &'static [&'static str],
    measure: fn(quick: bool) -> Result<Vec<Figure>, Failure>,
}

const PARTS: &[Part] = &[
    Part { names: &["match_100k_vs_naive", "match_1m_vs_100k"], measure: matching::measure },
    Part { names: &["quick_beside_slow", "subscribe_at_slow"], measure: beside::measure },
    Part { names: &["resume_bytes"], measure: resume::measure },
    Part { names: &["decoder_vs_pg_recvlogical"], measure: decoder::measure },
    Part { names: &["pg_wal"], measure: wal::measure },
    Part { names: &["callback_vs_fsync", "callback_vs_polling"], measure: latency::measure },
    Part { names: &["sqlite_capture_cpu"], measure: capture::measure },
];

fn main() -> ExitCode {
    let args = Args::parse();
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut figures = Vec::new();
    for part in PARTS.iter().filter(|part| part.names.iter().any(|name| wanted(name))) {
        eprintln!("measuring {}", part.names.join(", "));
        match (part.measure)(args.quick) {
            Ok(found) => figures.extend(found.into_iter().filter(|figure| wanted(figure.name))),
            Err(error) => {
                eprintln!("error: {}: {error}", part.names.join(", "));
                return ExitCode::FAILURE;
            }
        }
    }
    if args.json {
        let all = figures.iter().map(|figure| (figure.name.to_owned(), figure.to_json()));
        println!("{}", serde_json::Value::Object(all.collect()));
    } else {
        figures.iter().for_each(|figure| println!("{figure}"));
    }
    if figures.iter().all(|figure| figure.holds()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
