//! The import rules of ARCHITECTURE.md for this crate.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Every Rust source below a folder, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "{} has sources", folder.display());
    found
}

/// Fails where a line with `needle` is that `allowed` does not excuse.
fn forbid(needle: &str, allowed: &[&str]) {
    for (path, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let excused = allowed.iter().any(|word| line.contains(word));
            assert!(!line.contains(needle) || excused, "{}: {line}", path.display());
        }
    }
}

#[test]
fn it_depends_on_nothing_that_schedules_or_draws_randomness() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "tidewire-server-core", "--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("text");
    assert!(tree.starts_with("tidewire-server-core"));
    for banned in ["tokio", "axum", "hyper", "futures-util", "getrandom", "rand", "jsonwebtoken"] {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(banned)), "{banned} in:\n{tree}");
    }
}

#[test]
fn it_reads_no_clock_and_starts_no_thread() {
    for needle in ["Instant", "SystemTime", "thread::", "now_v7", "new_v4", "std::fs", "std::net::Tcp"] {
        forbid(needle, &[]);
    }
}

#[test]
fn it_uses_the_wire_the_tables_and_the_time_of_the_core_and_nothing_else() {
    let allowed = ["core::wire", "core::tables", "core::Now;", "core::Time;", "core::{Now, Time};"];
    forbid("tidewire_core::", &allowed);
}

/// The parts of this crate, from the lowest to the highest. Each imports only those before it.
const LAYERS: [&str; 15] = [
    "lock",
    "metrics",
    "text",
    "limits",
    "rules",
    "store",
    "outgoing",
    "people",
    "requests",
    "dialog",
    "access",
    "connections",
    "tables",
    "engine",
    "session",
];

/// The parts that a line imports or names.
fn imported(line: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        parts.push(name);
    }
    parts
}

#[test]
fn no_import_runs_upwards_and_so_no_two_parts_import_each_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (path, text) in sources(&src) {
        let inside = path.strip_prefix(&src).expect("a source");
        let first = inside.iter().next().and_then(|part| part.to_str()).expect("a name");
        let part = first.trim_end_matches(".rs");
        if part == "lib" {
            continue;
        }
        let own = LAYERS.iter().position(|layer| *layer == part);
        let own = own.unwrap_or_else(|| panic!("{part} is not among the layers; say where it belongs"));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for other in imported(line) {
                let at = LAYERS.iter().position(|layer| *layer == other);
                assert!(at.is_some_and(|at| at <= own), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn it_knows_no_database() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "tidewire-server-core", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("text");
    assert!(tree.starts_with("tidewire-server-core"));
    assert!(!tree.contains("sqlite") && !tree.contains("postgres"), "{tree}");
}
