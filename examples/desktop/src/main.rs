//! A chat in the terminal. What is written while the connection is gone, or when the program is
//! killed, is sent later, once.

mod chat;
mod plain;
mod screen;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidewire::{Client, ClientOptions, OpenError, Storage};

/// Chats in a Tidewire dialog, as a guest.
///
/// Enter sends, Ctrl-C quits, /help lists the commands. Messages that wait are kept in the store
/// and sent after the next start.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Args {
    /// The server's address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "TIDEWIRE_SERVER_URL")]
    server: String,
    /// The dialog to join.
    #[arg(long, value_name = "ID", default_value = "demo")]
    dialog: String,
    /// Who you are; the same name on the same server comes back as the same guest.
    #[arg(long, default_value = "Ada")]
    name: String,
    /// Folder for what must survive [default: one for each server and name below the user's state
    /// folder].
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Read and write line by line, as when the input is no terminal. Ends with the input, once
    /// everything is sent; with status 1 if something still waits then.
    #[arg(long)]
    plain: bool,
    /// How long what waits may take to go out after the end of the input, with --plain.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewire-desktop: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let folder = match &args.store {
        Some(folder) => folder.clone(),
        None => state_folder()?.join(slug(&args.server)).join(slug(&args.name)),
    };
    let options = ClientOptions::guest(&args.server, &args.name).storage(Storage::Folder(folder));
    let client = match Client::open(options).await {
        Err(OpenError::Store(error)) if error.code() == "store_in_use" => {
            return Err("this name is chatting in another window; choose another --name or --store".into());
        }
        opened => opened?,
    };
    let chat = chat::Chat { dialog: client.dialog(&args.dialog)?, status: client.watch_status() };
    client.connect();
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let outcome = if args.plain || !interactive {
        plain::run(chat, Duration::from_secs(args.wait)).await
    } else {
        screen::run(chat).await
    };
    client.close().await;
    Ok(outcome?)
}

/// Where the platform keeps what programs must not forget.
fn state_folder() -> Result<PathBuf, &'static str> {
    let below = |variable: &str, path: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(|base| PathBuf::from(base).join(path))
    };
    below("XDG_STATE_HOME", "tidewire")
        .or_else(|| below("LOCALAPPDATA", "tidewire"))
        .or_else(|| below("HOME", ".local/state/tidewire"))
        .ok_or("there is no home folder; say --store")
}

/// A name for a folder. Different texts may share one, which the guest's file tells apart.
fn slug(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect()
}
