//! `cargo xtask filter-diff`: compares random filters with PostgreSQL.

use clap::Parser;
use std::process::ExitCode;
use tidewire_postgres::{Cluster, difference};

/// Judges random filters over random rows, with a real PostgreSQL beside.
#[derive(Parser)]
#[command(name = "cargo xtask filter-diff")]
struct Options {
    /// How often a filter is judged over a row.
    #[arg(long, default_value_t = 2_000_000)]
    comparisons: u64,
    /// Where the randomness begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let cluster = match Cluster::start(&[]) {
        Ok(cluster) => cluster,
        Err(error) => return failed(&error),
    };
    match difference::run(&cluster.address("postgres"), options.comparisons, options.seed).await {
        Ok(report) => {
            print!("{report}");
            if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
