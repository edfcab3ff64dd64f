//! The binary: reads the settings, serves, and drains on SIGTERM or Ctrl-C.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tidewire_server::cli::{self, ChannelsFile, Command};
use tidewire_server::{Config, Server, StartError};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Time-out of a drain, after which the process exits.
const DRAIN: Duration = Duration::from_millis(4_800);

fn main() -> ExitCode {
    let (config, log, channels) = match cli::read(std::env::args_os()) {
        Ok(Command::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Serve { config, log, channels }) => (*config, log, channels),
        Ok(Command::PlanTables { config, role }) => return plan(&config, &role),
        Ok(Command::UnwatchTables { config }) => return unwatch(&config),
        Ok(_) => return ExitCode::SUCCESS,
        Err(error) => return failed(error.code(), &error.to_string()),
    };
    let Ok(filter) = EnvFilter::try_new(&log) else {
        return failed("bad_value", "log must be error, warn, info, debug, trace or a filter");
    };
    // Libraries that carry frames and requests log them at their finest levels, with tokens and
    // texts.
    let filter =
        filter.and(filter_fn(|of| of.target().starts_with("tidewire") || *of.level() <= Level::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(filter);
    tracing_subscriber::registry().with(lines).init();
    raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("runtime", &error.to_string()),
    };
    runtime.block_on(serve(config, channels))
}

/// Each connection is an open file, and shells set a low limit for them.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, files) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

/// Prints the SQL that an administrator has to run.
fn plan(config: &Config, role: &str) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("runtime", &error.to_string()),
    };
    match runtime.block_on(tidewire_server::tables::plan(&config.tables, role)) {
        Ok(sql) => {
            print!("{sql}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(error.code(), &error.to_string()),
    }
}

/// Removes what live tables have created in the database.
fn unwatch(config: &Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("runtime", &error.to_string()),
    };
    match runtime.block_on(tidewire_server::tables::unwatch(&config.tables, &config.database)) {
        Ok(done) => {
            print!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(error.code(), &error.to_string()),
    }
}

async fn serve(config: Config, channels: Option<ChannelsFile>) -> ExitCode {
    // Before the server starts, so that a signal right after its start drains too.
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return failed("signals", "signals can't be handled");
    };
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => return start_failed(&error),
    };
    if server.config().demo {
        tracing::warn!("the demo is on: anybody on this machine gets any token; never use it for real data");
    }
    println!("{}listening on http://{}", cli::summary(server.config()), server.address());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        never = follow(&server, channels) => match never {},
    }
    tokio::select! {
        () = server.drain() => ExitCode::SUCCESS,
        () = tokio::time::sleep(DRAIN) => {
            tracing::error!("the drain took too long");
            std::process::exit(0);
        }
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
}

/// Puts the rules of channels in force each time that their file has changed.
async fn follow(server: &Server, channels: Option<ChannelsFile>) -> Infallible {
    let Some(mut channels) = channels else { return std::future::pending().await };
    loop {
        match channels.changed().await.and_then(|rules| server.set_channels(rules)) {
            Ok(()) => tracing::info!("the rules of channels were read again"),
            Err(error) => {
                tracing::error!(code = error.code(), %error, "the rules of channels stay as they were");
            }
        }
    }
}

fn start_failed(error: &StartError) -> ExitCode {
    failed(error.code(), &error.to_string())
}

fn failed(code: &str, message: &str) -> ExitCode {
    eprintln!("error[{code}]: {message}");
    ExitCode::from(2)
}
