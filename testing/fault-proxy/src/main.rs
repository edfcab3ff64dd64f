//! `tidewire-fault-proxy --target HOST:PORT`: the proxy for tests in other languages, controlled
//! over its standard input.

use clap::{Parser, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;
use tidewire_fault_proxy::{Faults, HttpMode, Proxy};
use tokio::io::{AsyncBufReadExt, BufReader};

/// A TCP proxy that does to connections what bad networks do.
///
/// The first line it prints is its address. Then it takes one JSON command per line of its standard
/// input and answers each with one line; it ends with its input.
///
///   {"do":"set","faults":{"up":{"delay_ms":50,"jitter_ms":20,"bytes_per_s":1000,"truncate_after":99,"duplicate_one_in":10,
///     "black_hole":false},"down":{…},"refuse":false,"http":"off"}}    what goes wrong from now on; what is left out does not
///   {"do":"cut"}         ends all connections with a FIN
///   {"do":"reset"}       ends all connections with a RST
///   {"do":"counters"}    answered by the counters
///
/// An answer is {"ok":true}, the counters, or {"error":"…"}. `http` is off, kill-upgrade,
/// close-upgrade, kill-early or buffer.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Args {
    /// The server's address, HOST:PORT.
    #[arg(long)]
    target: String,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// What is wrong from the beginning, as the JSON of `faults`.
    #[arg(long, default_value = "{}")]
    faults: String,
    /// How HTTP is treated from the beginning; goes before `http` of --faults.
    #[arg(long)]
    http: Option<Mode>,
    /// What decides about everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Off,
    KillUpgrade,
    CloseUpgrade,
    KillEarly,
    Buffer,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Set { faults: Faults },
    Cut,
    Reset,
    Counters,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tidewire-fault-proxy: {message}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<(), String> {
    let mut faults: Faults =
        serde_json::from_str(&args.faults).map_err(|error| format!("--faults: {error}"))?;
    if let Some(mode) = args.http {
        faults.http = match mode {
            Mode::Off => HttpMode::Off,
            Mode::KillUpgrade => HttpMode::KillUpgrade,
            Mode::CloseUpgrade => HttpMode::CloseUpgrade,
            Mode::KillEarly => HttpMode::KillEarly,
            Mode::Buffer => HttpMode::Buffer,
        };
    }
    let proxy = Proxy::start_on(&args.listen, &args.target, args.seed)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", args.listen))?;
    proxy.set(faults);
    println!("{}", proxy.address());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
        if !line.trim().is_empty() {
            println!("{}", obey(&proxy, &line));
        }
    }
    Ok(())
}

fn obey(proxy: &Proxy, line: &str) -> Value {
    match serde_json::from_str(line) {
        Ok(Command::Set { faults }) => proxy.set(faults),
        Ok(Command::Cut) => proxy.cut_all(),
        Ok(Command::Reset) => proxy.reset_all(),
        Ok(Command::Counters) => return json!(proxy.counters()),
        Err(error) => return json!({"error": error.to_string()}),
    }
    json!({"ok": true})
}
