//! `bench`: measures the real programs from the outside.

use crate::{build, progress, tools};
use std::path::PathBuf;
use std::process::Command;

/// The benches, and what each says.
const BENCHES: &[(&str, &str)] = &[
    ("commit", "group commit of the server against one write at a time, and the memory of server and client"),
    ("abuse", "one hostile address: memory, what ends it, and what honest clients notice"),
    (
        "client",
        "what a received message costs the core in WebAssembly and a whole client, beside other libraries",
    ),
    ("people", "who is in a channel: what a crowd and a team are told, and what it costs the server"),
    ("tables", "live tables: matching, resuming, sources, as ratios"),
];

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let Some((name, rest)) = arguments.split_first() else {
        BENCHES.iter().for_each(|(name, what)| println!("{name:<10}{what}"));
        return Ok(());
    };
    if !BENCHES.iter().any(|(bench, _)| bench == name) {
        return Err(format!("there is no bench `{name}`; `cargo xtask bench` lists them"));
    }
    if rest.iter().any(|argument| argument == "--json") {
        progress::step_aside();
    }
    match name.as_str() {
        "people" => people(rest),
        "tables" => tables(rest),
        "abuse" => abuse(rest),
        "client" => client(rest),
        _ => commit(rest),
    }
}

fn tables(rest: &[String]) -> Result<(), String> {
    tools::need_postgres()?;
    let mut build = tools::cargo(&["build", "--release"]);
    progress::run("build the programs", build.args(["-p", "tidewire-bench", "-p", "tidewire-server"]))?;
    let mut command = Command::new(program("tidewire-bench-tables"));
    let status = command.args(rest).status().map_err(|error| format!("tidewire-bench-tables: {error}"))?;
    // It has said what is wrong.
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

fn people(rest: &[String]) -> Result<(), String> {
    let mut build = tools::cargo(&["build", "--release"]);
    build.args(["-p", "tidewire-bench", "--bin", "tidewire-bench-people"]);
    progress::run("build the program", &mut build)?;
    let mut command = Command::new(program("tidewire-bench-people"));
    let status = command.args(rest).status().map_err(|error| format!("tidewire-bench-people: {error}"))?;
    // It has said what is wrong.
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

fn client(rest: &[String]) -> Result<(), String> {
    build::web()?;
    let mut command = tools::node(&["bench/receive.mjs"]);
    let status = command.args(rest).status().map_err(|error| format!("node: {error}"))?;
    // It has said what is wrong.
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

fn commit(rest: &[String]) -> Result<(), String> {
    let packages = ["-p", "tidewire-server", "-p", "tidewire-bench", "-p", "tidewire-peer"];
    let mut build = tools::cargo(&["build", "--release"]);
    progress::run("build the programs", build.args(packages))?;
    measure(with_files("tidewire-bench", rest).arg("--peer").arg(program("tidewire-peer")))
}

fn abuse(rest: &[String]) -> Result<(), String> {
    let mut build = tools::cargo(&["build", "--release"]);
    progress::run("build the programs", build.args(["-p", "tidewire-server", "-p", "tidewire-bench"]))?;
    measure(&mut with_files("tidewire-bench-abuse", rest))
}

/// A bench that opens more files than a shell allows by itself.
fn with_files(name: &str, rest: &[String]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 20000 2>/dev/null || ulimit -S -n $(ulimit -H -n); exec \"$@\"", "sh"]);
    command.arg(program(name)).args(rest).arg("--server").arg(program("tidewire-server"));
    command
}

fn measure(command: &mut Command) -> Result<(), String> {
    // Beside the build, which is on a disk. An aborted run may have left files there.
    let folder = tools::target().join("bench");
    let _ = std::fs::remove_dir_all(&folder);
    let status = command.arg("--folder").arg(folder).status().map_err(|error| format!("sh: {error}"))?;
    // It has said what is wrong.
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

fn program(name: &str) -> PathBuf {
    tools::target().join("release").join(name)
}
