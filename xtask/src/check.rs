//! `check`: all checks that don't run the product.

use crate::progress::{self, seconds};
use crate::{build, tools};
use std::process::Command;

/// Runs the command.
pub(crate) fn run() -> Result<(), String> {
    tools::need_node()?;
    tools::need_component("rustfmt", "fmt")?;
    tools::need_component("clippy", "clippy")?;
    tools::need_target("wasm32-unknown-unknown")?;
    tools::finish_npm_install(tools::start_npm_install())?;
    let deny = tools::need_cargo_deny()?;

    let mut clippy = build::cargo("clippy");
    clippy.args(["--all-targets", "--quiet", "--", "-Dwarnings"]);
    let mut doc = build::cargo("doc");
    doc.args(["--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-Dwarnings");
    let mut bans = Command::new(deny);
    bans.args(["--all-features", "check", "bans", "licenses", "sources"]).current_dir(tools::top());
    let mut steps = [
        ("format", tools::cargo(&["fmt", "--all", "--check"])),
        ("clippy", clippy),
        ("clippy for WebAssembly", wasm_clippy()),
        ("documentation", doc),
        ("licences, bans and sources of crates", bans),
        ("types", tools::npm_program("tsc")),
        ("Biome", biome()),
    ];
    let mut failed = 0;
    for (title, command) in &mut steps {
        let finished = progress::watch(title, command)?;
        if finished.success {
            progress::done(title, &format!("({})", seconds(finished.took)));
        } else {
            failed += 1;
            println!("{}\n{}", finished.tail(), progress::bad(&format!("{title} failed")));
        }
    }
    println!("\n{} passed, {failed} failed", steps.len() - failed);
    if failed > 0 { std::process::exit(1) } else { Ok(()) }
}

fn wasm_clippy() -> Command {
    tools::cargo(&[
        "clippy",
        "--package",
        "tidewire-wasm-chat",
        "--package",
        "tidewire-wasm-tables",
        "--target",
        "wasm32-unknown-unknown",
        "--quiet",
        "--",
        "-Dwarnings",
    ])
}

fn biome() -> Command {
    let mut command = tools::npm_program("biome");
    command.args(["check", "--error-on-warnings", ".", "../examples/demo"]);
    command
}
