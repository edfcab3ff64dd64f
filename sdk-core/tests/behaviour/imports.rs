//! The import rules of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
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

/// The crates in whose sources no files import each other in a circle.
const WITHOUT_CIRCLES: [&str; 10] = [
    "sdk-core/src",
    "sdk-native/src",
    "sdk-wasm/src",
    "server-core/src",
    "server-sqlite/src",
    "server-reference/src",
    "testing/history/src",
    "testing/fault-proxy/src",
    "testing/simulator/src",
    "xtask/src",
];

/// A source's module path: `a/b.rs` and `a/b/mod.rs` are `a::b`, `lib.rs` is empty.
fn module_of(inside: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        inside.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// A source without its tests and its comments.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The paths that a text begins with, each without what is no part of a path: `a::{b, c::d}` gives
/// `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut start, mut found) = (0, 0, Vec::new());
        for (at, sign) in group.char_indices() {
            match sign {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.extend(paths(group[start..at].trim_start()));
                    start = at + 1;
                    if sign == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return found;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let below = text[name.len()..].strip_prefix("::").map_or_else(|| vec![Vec::new()], paths);
    below.into_iter().map(|path| [vec![name.clone()], path].concat()).collect()
}

/// The modules that a source names by `crate::` and `super::`, as far as they are files of the
/// crate. What a folder's own file holds is the folder's: a file may use it, and be declared there.
fn named(text: &str, module: &[String], all: &BTreeMap<Vec<String>, String>) -> BTreeSet<Vec<String>> {
    let code = code_of(text);
    let mut found = BTreeSet::new();
    for (at, word) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        if code[..at].ends_with("super::") || code[..at].ends_with("pub(in ") {
            continue;
        }
        let mut above = if word == "crate::" { Vec::new() } else { module[..module.len() - 1].to_vec() };
        let mut rest = &code[at + word.len()..];
        while let Some(further) = rest.strip_prefix("super::") {
            above.pop();
            rest = further;
        }
        for path in paths(rest) {
            let mut path = [above.clone(), path].concat();
            while !path.is_empty() && !all.contains_key(&path) {
                path.pop();
            }
            if !module.starts_with(&path) {
                found.insert(path);
            }
        }
    }
    found
}

/// The modules of a crate, with their texts.
fn modules(folder: &str) -> BTreeMap<Vec<String>, String> {
    let top = workspace().join(folder);
    sources(&top)
        .into_iter()
        .map(|(path, text)| (module_of(path.strip_prefix(&top).expect("below it")), text))
        .collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for folder in WITHOUT_CIRCLES {
        let all = modules(folder);
        let imports: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = all
            .iter()
            .map(|(module, text)| {
                (module, if module.is_empty() { BTreeSet::new() } else { named(text, module, &all) })
            })
            .collect();
        // Whoever imports nothing that is left is in no circle; what is left at the end is one.
        let mut left = imports.clone();
        while let Some(free) = left
            .iter()
            .find(|(_, of)| !of.iter().any(|one| left.contains_key(one)))
            .map(|(module, _)| *module)
        {
            left.remove(free);
        }
        let circle: Vec<String> = left
            .iter()
            .map(|(module, of)| {
                let of: Vec<String> =
                    of.iter().filter(|one| left.contains_key(one)).map(|one| one.join("::")).collect();
                format!("{} imports {}", module.join("::"), of.join(", "))
            })
            .collect();
        assert!(circle.is_empty(), "{folder}:\n{}", circle.join("\n"));
    }
}

/// The parts of the simulator, from the lowest to the highest. Each imports only those before it.
const SIMULATOR: [&str; 23] = [
    "dice",
    "script",
    "plan",
    "server",
    "client",
    "watch",
    "world",
    "play::network",
    "play::sessions",
    "play::responses",
    "play::application",
    "play::driver",
    "play::processes",
    "play::operations",
    "play::acts",
    "play::tasks",
    "play",
    "liveness",
    "run",
    "shrink",
    "figures",
    "crowd",
    "tables",
];

#[test]
fn no_import_of_the_simulator_runs_upwards() {
    let rank = |module: &[String]| {
        let name = module.join("::");
        let found = SIMULATOR.iter().position(|part| name == *part || name.starts_with(&format!("{part}::")));
        found.unwrap_or_else(|| panic!("`{name}` has no place among the simulator's parts"))
    };
    let all = modules("testing/simulator/src");
    for (module, text) in all.iter().filter(|(module, _)| !module.is_empty()) {
        for other in named(text, module, &all) {
            assert!(rank(&other) <= rank(module), "{} imports {}", module.join("::"), other.join("::"));
        }
    }
}
