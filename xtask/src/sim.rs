//! `sim`: the simulator, and the planted bugs that it must find.

use crate::planted::{PANEL, Planted};
use crate::progress::{bad, good};
use crate::{progress, tools};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Number of seeds within which a planted bug must be found: a tenth of those that CI runs.
const BUDGET: &str = "1000";

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if arguments.iter().any(|argument| argument == "--planted") {
        let rest: Vec<&str> =
            arguments.iter().map(String::as_str).filter(|argument| *argument != "--planted").collect();
        return planted(&rest);
    }
    let program = build()?;
    let status = Command::new(program).args(arguments).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

/// Builds the simulator, and returns its path.
pub(crate) fn build() -> Result<PathBuf, String> {
    progress::run(
        "build the simulator",
        &mut tools::cargo(&["build", "--release", "-q", "-p", "tidewire-simulator"]),
    )?;
    Ok(tools::target().join("release").join(format!("tidewire-simulator{}", std::env::consts::EXE_SUFFIX)))
}

/// Plants each bug in a copy of the sources and has the simulator look for it.
fn planted(rest: &[&str]) -> Result<(), String> {
    let (mut json, mut only) = (false, Vec::new());
    let mut left = rest.iter();
    while let Some(argument) = left.next() {
        match *argument {
            "--json" => json = true,
            "--only" => only.push(*left.next().ok_or("--only wants a part of a bug's name")?),
            other => return Err(crate::unknown(other)),
        }
    }
    if json {
        progress::step_aside();
    }
    let garden = Garden::lay()?;
    let chosen: Vec<&Planted> = PANEL
        .iter()
        .filter(|bug| only.is_empty() || only.iter().any(|part| bug.name.contains(part)))
        .collect();
    let mut missed = Vec::new();
    for bug in &chosen {
        let started = Instant::now();
        // One that can't be planted is as good as missed, and no reason not to try the others.
        let how = garden.catches(bug).unwrap_or_else(|why| {
            eprintln!("{why}");
            None
        });
        let seconds = started.elapsed().as_secs_f64();
        match &how {
            Some(how) if !json => println!("{} {} ({seconds:.0} s): {how}", good("caught"), bug.name),
            None if !json => println!("{} {} ({seconds:.0} s)", bad("MISSED"), bug.name),
            _ => {}
        }
        if how.is_none() {
            missed.push(bug.name);
        }
    }
    let caught = chosen.len() - missed.len();
    if json {
        let missed: Vec<String> = missed.iter().map(|name| format!("\"{name}\"")).collect();
        println!("{{\"planted\":{},\"caught\":{caught},\"missed\":[{}]}}", chosen.len(), missed.join(","));
    } else {
        println!("{} planted, {caught} caught", chosen.len());
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; "))) }
}

/// A copy of the sources, in which bugs are planted.
struct Garden {
    top: PathBuf,
}

impl Garden {
    fn lay() -> Result<Garden, String> {
        let top = tools::target().join("planted");
        let from = tools::top();
        for folder in [
            "sdk-core/src",
            "testing/simulator/src",
            "server-core/src",
            "server-sqlite/src",
            "testing/history/src",
            "testing/store/src",
        ] {
            copy(&from.join(folder), &top.join(folder))?;
        }
        for file in [
            "sdk-core/Cargo.toml",
            "testing/simulator/Cargo.toml",
            "server-core/Cargo.toml",
            "server-sqlite/Cargo.toml",
            "testing/history/Cargo.toml",
            "testing/store/Cargo.toml",
            "Cargo.lock",
        ] {
            copy(&from.join(file), &top.join(file))?;
        }
        let text = fs::read_to_string(from.join("Cargo.toml")).map_err(|error| error.to_string())?;
        let (_, rest) =
            text.split_once("[workspace.package]").ok_or("the workspace's manifest has another form")?;
        let members = "[workspace]\nresolver = \"3\"\nmembers = [\"sdk-core\", \"testing/simulator\", \"server-core\", \
                       \"server-sqlite\", \"testing/history\", \"testing/store\"]\n\n";
        // The simulator is built often, and runs briefly.
        let profile = "\n[profile.planted]\ninherits = \"release\"\nopt-level = 1\nincremental = true\ncodegen-units = 16\n\n[profile.planted.package.\"*\"]\nopt-level = 2\n";
        write(&top.join("Cargo.toml"), &format!("{members}[workspace.package]{rest}{profile}"))?;
        let garden = Garden { top };
        // The builds of an aborted run may not link.
        garden.forget_builds();
        // Without a planted bug nothing may be found.
        match garden.look("300", false)?.or(garden.look("300", true)?) {
            None => Ok(garden),
            Some(how) => Err(format!("the simulator finds something although no bug is planted: {how}")),
        }
    }

    /// Deletes the builds of the workspace's own crates, but not of their dependencies.
    fn forget_builds(&self) {
        let built = self.top.join("target/planted");
        let _ = fs::remove_dir_all(built.join("incremental"));
        let Ok(entries) = fs::read_dir(built.join(".fingerprint")) else { return };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with("tidewire") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The simulator's report of this bug; `None` if it does not find it.
    fn catches(&self, bug: &Planted) -> Result<Option<String>, String> {
        let path = self.top.join(bug.file);
        let before = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", bug.file))?;
        if !before.contains(bug.find) {
            return Err(format!(
                "`{}`: {} no longer has the text it changes; mend xtask/src/planted.rs",
                bug.name, bug.file
            ));
        }
        write(&path, &before.replace(bug.find, bug.put))?;
        let found = self.look(BUDGET, bug.tables).map_err(|error| format!("`{}`: {error}", bug.name));
        write(&path, &before)?;
        found
    }

    fn look(&self, seeds: &str, tables: bool) -> Result<Option<String>, String> {
        let folder = self.top.join("target");
        let mut cargo = tools::cargo(&["build", "--profile", "planted", "-q", "-p", "tidewire-simulator"]);
        cargo.current_dir(&self.top).env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", "-Awarnings");
        let built = cargo.output().map_err(|error| error.to_string())?;
        if !built.status.success() {
            return Err(format!("it does not build:\n{}", String::from_utf8_lossy(&built.stderr)));
        }
        let program =
            folder.join("planted").join(format!("tidewire-simulator{}", std::env::consts::EXE_SUFFIX));
        let ran = Command::new(program)
            .args(["--seeds", seeds, "--quick"])
            .args(tables.then_some("--tables"))
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&ran.stdout);
        match ran.status.code() {
            Some(0) => Ok(None),
            // A panic counts as a find too.
            Some(1 | 101) => {
                let line = said
                    .lines()
                    .find(|line| line.contains("broken at") || line.contains("crowd"))
                    .unwrap_or("it panicked");
                Ok(Some(line.to_owned()))
            }
            code => Err(format!("the simulator ended with {code:?}")),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    // A file that is not written again is not built again.
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Copies a file or a folder of texts. Files that are no longer in the folder are deleted from its
/// copy.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    if !from.is_dir() {
        let text = fs::read_to_string(from).map_err(|error| format!("{}: {error}", from.display()))?;
        return write(to, &text);
    }
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries.flatten() {
        copy(&entry.path(), &to.join(entry.file_name()))?;
        names.insert(entry.file_name());
    }
    for entry in fs::read_dir(to).into_iter().flatten().flatten() {
        if names.contains(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
