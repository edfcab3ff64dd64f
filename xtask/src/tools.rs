//! Finds the tools that a command needs, installs those that can be installed, and reports those
//! that are missing.

use crate::progress::{self, Background};
use crate::stamp::Stamp;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LEAST_NODE: u32 = 20;

/// The repository's top folder.
pub(crate) fn top() -> PathBuf {
    // Cargo sets this for the programs that it runs. A program that is started by hand searches
    // upwards from its own folder.
    let start =
        std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).or_else(|| std::env::current_dir().ok());
    let start = start.unwrap_or_default();
    start.ancestors().find(|folder| folder.join("Cargo.lock").exists()).unwrap_or(&start).to_path_buf()
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(&folder).unwrap_or_else(|_| PathBuf::from(folder)),
        None => top().join("target"),
    }
}

/// Where steps keep their stamps.
pub(crate) fn stamps() -> PathBuf {
    target().join("xtask")
}

/// The npm package's folder.
pub(crate) fn npm() -> PathBuf {
    top().join("npm")
}

/// A cargo command at the repository's top.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(top());
    // Cargo's variables about xtask's own package would make build scripts of other crates run
    // again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// A Node program in the npm package's folder.
pub(crate) fn node(arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.args(arguments).current_dir(npm());
    command
}

/// A program that an npm package brought.
pub(crate) fn npm_program(name: &str) -> Command {
    let mut command = Command::new(npm().join("node_modules/.bin").join(name));
    command.current_dir(npm());
    command
}

/// The output of a program; `None` if it can't be started or fails.
pub(crate) fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The path of a program, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Node and npm, new enough.
pub(crate) fn need_node() -> Result<(), String> {
    let version = output_of("node", &["--version"])
        .ok_or("Node.js is missing: install version 20 or later (https://nodejs.org), then run this again")?;
    let major: u32 =
        version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if major < LEAST_NODE {
        return Err(format!("Node.js {version} is too old: install version {LEAST_NODE} or later"));
    }
    find("npm")
        .map(|_| ())
        .ok_or_else(|| String::from("npm is missing: it comes with Node.js; on Debian, install `npm`"))
}

/// A compilation target, added by rustup if it is not there.
pub(crate) fn need_target(target: &str) -> Result<(), String> {
    let folder = output_of("rustc", &["--print", "target-libdir", "--target", target]);
    if folder.is_some_and(|folder| Path::new(&folder).exists()) {
        return Ok(());
    }
    if find("rustup").is_none() {
        return Err(format!(
            "the Rust target {target} is missing and rustup, which could add it, too: https://rustup.rs"
        ));
    }
    progress::run(
        &format!("rustup target add {target}"),
        Command::new("rustup").args(["target", "add", target]),
    )?;
    Ok(())
}

/// A component of the toolchain, added by rustup if it is not there. `command` is the cargo command
/// that it provides.
pub(crate) fn need_component(component: &str, command: &str) -> Result<(), String> {
    if cargo(&[command, "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    if find("rustup").is_none() {
        return Err(format!("{component} is missing and rustup, which could add it, too: https://rustup.rs"));
    }
    let mut add = Command::new("rustup");
    progress::run(&format!("rustup component add {component}"), add.args(["component", "add", component]))?;
    Ok(())
}

/// Begins to install the npm packages that the lockfile names, if they are not there.
pub(crate) fn start_npm_install() -> Option<Background> {
    let stamp = npm_stamp();
    if stamp.is_current(&[npm().join("node_modules/.bin")]) {
        return None;
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--no-audit", "--no-fund"]).current_dir(npm());
    // The lockfile has no addresses, so that it works with any registry.
    command.env("npm_config_omit_lockfile_registry_resolved", "true");
    Some(Background::start("npm packages", command))
}

/// Waits for [`start_npm_install`].
pub(crate) fn finish_npm_install(installing: Option<Background>) -> Result<(), String> {
    match installing {
        None => Ok(()),
        Some(background) => {
            background.finish()?;
            npm_stamp().keep()
        }
    }
}

fn npm_stamp() -> Stamp {
    // Beside the packages, so that removing them removes it too.
    Stamp::of(npm().join("node_modules/.stamp"), &[npm().join("package-lock.json")], "")
}

/// A Chromium for the browser tests: `CHROMIUM_PATH`, an installed one, or one from the
/// distribution if we may install it.
pub(crate) fn need_chromium() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("CHROMIUM_PATH") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("CHROMIUM_PATH is {}, but there is no such file", path.display()))
        };
    }
    if let Some(path) = installed_chromium() {
        return Ok(path);
    }
    apt_install(&["chromium", "fonts-dejavu-core"])?;
    installed_chromium()
        .ok_or_else(|| String::from("chromium was installed, but can't be found: set CHROMIUM_PATH"))
}

fn installed_chromium() -> Option<PathBuf> {
    ["chromium", "google-chrome-stable", "google-chrome"].into_iter().find_map(find)
}

/// The programs of PostgreSQL, which tests start for themselves, from the distribution if they are
/// not there.
pub(crate) fn need_postgres() -> Result<(), String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let installed =
        versions.map(|version| version.path().join("bin/initdb")).any(|program| program.is_file());
    let on_path =
        || output_of("pg_config", &["--bindir"]).is_some_and(|bin| Path::new(&bin).join("initdb").is_file());
    if installed || on_path() { Ok(()) } else { apt_install(&["postgresql"]) }
}

/// nginx, which tests put before the server, from the distribution if it is not there.
pub(crate) fn need_nginx() -> Result<(), String> {
    let installed = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().any(|path| Path::new(path).is_file());
    if installed { Ok(()) } else { apt_install(&["nginx-light"]) }
}

/// Installs packages of Debian or Ubuntu, if this is one and we are root.
pub(crate) fn apt_install(packages: &[&str]) -> Result<(), String> {
    let names = packages.join(" ");
    let root = output_of("id", &["-u"]).as_deref() == Some("0");
    if find("apt-get").is_none() || !root {
        return Err(format!("missing: {names}; on Debian or Ubuntu: sudo apt-get install {names}"));
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    progress::run("apt-get update", &mut apt(&["update"]))?;
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    progress::run(&format!("apt-get install {names}"), install.args(packages))?;
    Ok(())
}

/// cargo-deny: installed, or built into the target folder, which takes minutes once.
pub(crate) fn need_cargo_deny() -> Result<PathBuf, String> {
    if let Some(path) = find("cargo-deny") {
        return Ok(path);
    }
    let folder = top().join("target/tools");
    let path = folder.join("bin/cargo-deny");
    if path.is_file() {
        return Ok(path);
    }
    let install = |locked: &[&str]| {
        let mut command = cargo(&["install", "cargo-deny", "--root"]);
        command.arg(&folder).args(locked).env("CARGO_TARGET_DIR", folder.join("build"));
        progress::run("building cargo-deny (some minutes, once)", &mut command)
    };
    // The lockfile may name versions that have been yanked.
    if install(&["--locked"]).is_err() {
        install(&[])?;
    }
    Ok(path)
}
