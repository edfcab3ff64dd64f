//! `demo`: the whole product on one machine, from a fresh clone with one command.

use crate::{build, progress, tools};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PORT: u16 = 8080;
/// The variable with the key that signs the demo's tokens. Without a key they would be invalid
/// after a restart of the server, and the operator would be signed out.
const SECRET: &str = "TIDEWIRE_JWT_HS256_SECRET";

/// The endings of the files that SQLite and the server put beside a database.
const ENDINGS: [&str; 6] = ["", "-wal", "-shm", "-life", "-key", "-journal"];
/// A change that the dashboard shows at once.
const TRY: &str = "UPDATE context_rules SET priority = 40, enabled = 1 WHERE name = 'holidays'";

/// Runs the command; only an error returns.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut port = PORT;
    let mut fresh = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--fresh" => fresh = true,
            "--port" => {
                let value = rest.next().ok_or("--port wants a number")?;
                port =
                    value.parse().map_err(|_| format!("--port wants a number up to 65535, not `{value}`"))?;
            }
            other => return Err(crate::unknown(other)),
        }
    }
    // Checked first, because the build may take minutes.
    free(port)?;
    tools::need_node()?;
    println!("Building the demo; the first time takes some minutes, later only seconds.");
    build::web()?;
    let server = build::server()?;
    let folder = tools::top().join(".demo");
    let database = folder.join("tidewire.db");
    let tables = folder.join("tables.db");
    if fresh {
        for (file, ending) in
            [&database, &tables].into_iter().flat_map(|file| ENDINGS.map(|ending| (file, ending)))
        {
            let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
        }
    }
    let has_tables = fill(&tables)?;
    free(port)?;
    println!();
    println!("  {}", progress::good(&format!("http://127.0.0.1:{port}")));
    let origin = format!("http://127.0.0.1:{port}");
    let elsewhere = elsewhere(port, &origin);
    if let Some(address) = &elsewhere {
        println!("  {} has the chat too, as a page of another origin.", progress::good(address));
    }
    println!("  Ctrl-C stops the server; the same command starts it again with everything it knew.");
    println!();
    let dashboard = format!("http://127.0.0.1:{port}/dashboard/");
    if has_tables {
        println!("  {} follows three tables of a database. In another terminal:", progress::good(&dashboard));
        println!("    sqlite3 {} \"{TRY}\"", shown(&tables));
    } else {
        println!("  {dashboard} needs the program sqlite3, which makes its tables: apt install sqlite3");
    }
    println!();
    let mut command = Command::new(server);
    if std::env::var_os(SECRET).is_none() {
        command.env(SECRET, secret(&folder.join("secret"))?);
    }
    command.arg("--demo").arg("--web-root").arg(build::demo_folder()).arg("--database").arg(database);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    if let Some(address) = elsewhere {
        command.args(["--allowed-origin", &address]);
    }
    if has_tables {
        command.arg("--config").arg(examples().join("server.toml"));
        command.arg("--tables-source").arg(format!("sqlite:{}", tables.display()));
    }
    // The server replaces this process, so signals and its exit status need not be passed on.
    Err(format!("the server can't be started: {}", command.exec()))
}

/// Starts the page of another origin on a port of its own, and returns its address. It ends with
/// this process, even after the server has replaced it.
fn elsewhere(port: u16, chat: &str) -> Option<String> {
    let next = port.checked_add(1).filter(|next| free(*next).is_ok())?;
    let script = examples().join("elsewhere/serve.mjs");
    let started = Command::new("node").arg(script).arg(next.to_string()).arg(chat).spawn();
    started.is_ok().then(|| format!("http://127.0.0.1:{next}"))
}

/// Makes the dashboard's tables where they are missing; false if the program for that is not there.
fn fill(database: &Path) -> Result<bool, String> {
    let told = |error: std::io::Error| format!("{}: {error}", database.display());
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder).map_err(told)?;
    }
    let sql = std::fs::File::open(examples().join("tables.sql")).map_err(told)?;
    match Command::new("sqlite3").arg("-bail").arg(database).stdin(sql).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("sqlite3: {error}")),
        Ok(output) if output.status.success() => Ok(true),
        Ok(output) => Err(format!("sqlite3: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn examples() -> PathBuf {
    tools::top().join("examples/demo")
}

/// A path, relative to the current folder if it is below it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn free(port: u16) -> Result<(), String> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|error| {
        format!("port {port} can't be used ({error}): stop what listens there, or choose another: cargo xtask demo --port 8081")
    })
}

/// The demo's own key, made once and readable by this user only.
fn secret(file: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{}: {error}", file.display());
    if let Ok(kept) = std::fs::read_to_string(file) {
        return Ok(kept);
    }
    let mut random = [0u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(told)?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut kept = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(told)?;
    kept.write_all(secret.as_bytes()).map_err(told)?;
    Ok(secret)
}
