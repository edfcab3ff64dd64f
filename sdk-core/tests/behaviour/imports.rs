//! The import rules of ARCHITECTURE.md.

use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

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

/// Fails where a source below `folder` has a line with `needle` that `allowed` does not excuse.
fn forbid(folder: &str, needle: &str, allowed: &[&str]) {
    for (path, text) in sources(&workspace().join(folder)) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let excused = allowed.iter().any(|word| line.contains(word));
            assert!(!line.contains(needle) || excused, "{}: {line}", path.display());
        }
    }
}

fn tree(package: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_core_depends_on_nothing_that_does_io() {
    let tree = tree("tidewire-core");
    assert!(tree.starts_with("tidewire-core"));
    for banned in
        ["tokio", "wasm-bindgen", "web-sys", "js-sys", "getrandom", "rand", "uniffi", "serde", "futures"]
    {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(banned)), "{banned} in:\n{tree}");
    }
}

#[test]
fn the_core_has_no_features_and_no_conditional_code() {
    let manifest = std::fs::read_to_string(workspace().join("sdk-core/Cargo.toml")).expect("a manifest");
    assert!(!manifest.contains("[features]"));
    forbid("sdk-core/src", "cfg(", &["#[cfg(test)]"]);
}

#[test]
fn the_wire_imports_nothing_else_of_the_core() {
    forbid("sdk-core/src/wire", "crate::", &[]);
}

#[test]
fn parts_of_the_core_do_not_reach_around_each_other() {
    for part in ["delivery", "chat", "client"] {
        forbid("sdk-core/src/link", &format!("crate::{part}"), &[]);
    }
    for part in ["delivery", "link", "client"] {
        forbid("sdk-core/src/chat", &format!("crate::{part}"), &[]);
    }
    for part in ["link", "client"] {
        forbid("sdk-core/src/delivery", &format!("crate::{part}"), &[]);
    }
    for part in ["link", "delivery", "chat", "client"] {
        forbid("sdk-core/src/tables", &format!("crate::{part}"), &[]);
    }
}

#[test]
fn the_server_uses_the_wire_and_filters_and_nothing_else_of_the_core() {
    let filters = ["filter", "Type", "Value", "{Type, Value}", "{Type, filter}"];
    let filters = filters.map(|part| format!("tidewire_core::tables::{part}"));
    let allowed: Vec<&str> = filters
        .iter()
        .map(String::as_str)
        .chain(["tidewire_core::wire", "tidewire_core::{Now, Time}"])
        .collect();
    forbid("server-reference/src", "tidewire_core::", &allowed);
    forbid("server-core/src", "tidewire_core::tables", &allowed);
    assert!(
        !tree("tidewire-server").lines().any(|line| line.starts_with("tidewire v")),
        "nor the native client"
    );
}

#[test]
fn the_wasm_package_only_converts() {
    let tree = tree("tidewire-wasm");
    for banned in ["tokio", "serde", "web-sys", "wasm-bindgen-futures"] {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(banned)), "{banned} in:\n{tree}");
    }
}
