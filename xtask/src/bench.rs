//! `bench`: measures the real programs from the outside.

use crate::{progress, tools};
use std::path::PathBuf;
use std::process::Command;

/// The benches, and what each says.
const BENCHES: &[(&str, &str)] = &[
    ("commit", "group commit of the server against one write at a time, and the memory of server and client"),
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
        "tables" => tables(rest),
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

fn commit(rest: &[String]) -> Result<(), String> {
    let packages = ["-p", "tidewire-server", "-p", "tidewire-bench", "-p", "tidewire-peer"];
    let mut build = tools::cargo(&["build", "--release"]);
    progress::run("build the programs", build.args(packages))?;
    let mut command = Command::new("sh");
    // A thousand connections are more open files than a shell allows by itself.
    command.args(["-c", "ulimit -S -n 20000 2>/dev/null || ulimit -S -n $(ulimit -H -n); exec \"$@\"", "sh"]);
    command.arg(program("tidewire-bench")).args(rest);
    command.arg("--server").arg(program("tidewire-server"));
    command.arg("--peer").arg(program("tidewire-peer"));
    // Beside what is built, for that is on a disk. What a run that was stopped midway left of it is of no use.
    let folder = tools::target().join("bench");
    let _ = std::fs::remove_dir_all(&folder);
    command.arg("--folder").arg(folder);
    let status = command.status().map_err(|error| format!("sh: {error}"))?;
    // It has said what is wrong.
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

fn program(name: &str) -> PathBuf {
    tools::target().join("release").join(name)
}
