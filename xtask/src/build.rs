//! `build`: core → WebAssembly → JavaScript glue → smaller module → npm package and demo page.

use crate::progress::{self, done};
use crate::stamp::Stamp;
use crate::tools;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Options for wasm-opt, with the features that all supported browsers have. `--all-features` would
/// emit code that no browser accepts.
const WASM_OPT: [&str; 13] = [
    "-Oz",
    // Without inlining the module is larger before compression and smaller after it.
    "--one-caller-inline-max-function-size=0",
    "--skip-pass=local-cse",
    "--converge",
    // The stack comes first in memory, and its last kilobyte is never reached.
    "--low-memory-unused",
    "--strip-producers",
    "--strip-target-features",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// The module's stack, bytes: deep enough for the JSON reader's greatest depth many times over.
const STACK: &str = "-Clink-arg=-zstack-size=262144";

/// A module, and the crate that it is built from.
struct Module {
    name: &'static str,
    package: &'static str,
}

/// What a page loads: the chat alone, or the chat with live tables.
const MODULES: [Module; 2] = [
    Module { name: "core", package: "tidewire-wasm-chat" },
    Module { name: "tables", package: "tidewire-wasm-tables" },
];

/// Where the demo page is built.
pub(crate) fn demo_folder() -> PathBuf {
    tools::top().join(".demo/web")
}

/// The npm package and the demo page.
pub(crate) fn web() -> Result<(), String> {
    tools::need_node()?;
    let installing = tools::start_npm_install();
    let compiled = compile();
    // Waits for npm even if the compiler failed, because it must not outlive this program.
    tools::finish_npm_install(installing)?;
    if let Some(stamp) = compiled? {
        let shrunk = thread::scope(|scope| {
            let threads = MODULES.each_ref().map(|module| scope.spawn(|| shrink(module)));
            threads.map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
        });
        for result in shrunk {
            result?;
        }
        stamp.keep()?;
    }
    bundle()
}

/// Builds the tests of this machine, and all programs that they start.
pub(crate) fn workspace() -> Result<(), String> {
    let mut command = cargo("build");
    progress::run("programs and tests", command.arg("--all-targets"))?;
    Ok(())
}

/// The server's program for the demo.
pub(crate) fn server() -> Result<PathBuf, String> {
    progress::run("server", cargo("build").args(["--bin", "tidewire-server"]))?;
    Ok(program("tidewire-server"))
}

/// The path of a program of this workspace after its build.
pub(crate) fn program(name: &str) -> PathBuf {
    tools::target().join("debug").join(name)
}

/// A cargo command for the whole workspace. Each crate is built with the features that all members
/// together need, so that there is one build of it, whichever crates are tested.
pub(crate) fn cargo(command: &str) -> Command {
    tools::cargo(&[command, "--workspace", "--features", "tidewire/bindgen"])
}

/// The core's tests in WebAssembly, or their build alone if `--no-run` is added.
pub(crate) fn core_wasm_tests() -> Command {
    let mut command = tools::cargo(&["test", "--package", "tidewire-core", "--target", "wasm32-wasip1"]);
    command.args(["--no-fail-fast", "--lib", "--tests"]);
    let runner = tools::top().join("xtask/wasi-runner.mjs");
    command.env("CARGO_TARGET_WASM32_WASIP1_RUNNER", format!("node --no-warnings {}", runner.display()));
    command
}

fn wasm_folder() -> PathBuf {
    tools::npm().join("wasm")
}

/// Compiles the modules and makes their glue, if their sources changed. They are not optimised yet.
fn compile() -> Result<Option<Stamp>, String> {
    let top = tools::top();
    let inputs =
        ["Cargo.toml", "Cargo.lock", "sdk-core/Cargo.toml", "sdk-core/src", "sdk-wasm", "xtask/bindgen"]
            .map(|name| top.join(name));
    let rustc = tools::output_of("rustc", &["--version"]).unwrap_or_default();
    let stamp = Stamp::of(tools::stamps().join("wasm"), &inputs, &format!("{rustc} {WASM_OPT:?} {STACK}"));
    let outputs = MODULES
        .each_ref()
        .map(|module| ["js", "wasm"].map(|ending| wasm_folder().join(format!("{}.{ending}", module.name))));
    if stamp.is_current(outputs.as_flattened()) {
        done("WebAssembly modules", "(unchanged)");
        return Ok(None);
    }
    tools::need_target(WASM_TARGET)?;
    progress::run("wasm-bindgen, the program", cargo("build").args(["--bin", "xtask-bindgen"]))?;
    let mut command = tools::cargo(&["build", "--profile", "wasm", "--target", WASM_TARGET]);
    command.args(MODULES.iter().flat_map(|module| ["--package", module.package]));
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", STACK);
    progress::run("WebAssembly modules", &mut command)?;
    for module in &MODULES {
        let mut bindgen = Command::new(program("xtask-bindgen"));
        let compiled = format!("{WASM_TARGET}/wasm/{}.wasm", module.package.replace('-', "_"));
        bindgen.arg(tools::target().join(compiled)).arg(wasm_folder()).arg(module.name);
        progress::run(&format!("JavaScript glue of {}", module.name), &mut bindgen)?;
    }
    Ok(Some(stamp))
}

fn shrink(module: &Module) -> Result<(), String> {
    let written = wasm_folder().join(format!("{}_bg.wasm", module.name));
    let mut command = tools::npm_program("wasm-opt");
    command.args(WASM_OPT).arg(&written).arg("-o").arg(wasm_folder().join(format!("{}.wasm", module.name)));
    progress::run(&format!("wasm-opt of {}", module.name), &mut command)?;
    std::fs::remove_file(&written).map_err(|error| format!("{}: {error}", written.display()))
}

fn bundle() -> Result<(), String> {
    let npm = tools::npm();
    let demo = demo_folder();
    let inputs =
        ["src", "wasm", "build.mjs", "site.mjs", "package-lock.json", "tsconfig.json", "tsconfig.types.json"]
            .map(|name| npm.join(name));
    let inputs: Vec<PathBuf> = inputs.into_iter().chain([tools::top().join("examples/demo")]).collect();
    let stamp = Stamp::of(tools::stamps().join("bundle"), &inputs, "");
    let dist = npm.join("dist");
    let outputs = ["index.js", "tables.js", "react.js", "widget.js", "types/index.d.ts"]
        .map(|name| dist.join(name))
        .into_iter();
    let outputs: Vec<PathBuf> = outputs.chain([demo.join("sw.js")]).collect();
    if stamp.is_current(&outputs) {
        done("npm package and demo page", "(unchanged)");
        return Ok(());
    }
    progress::run("npm package", &mut tools::node(&["build.mjs"]))?;
    progress::run("demo page", tools::node(&["site.mjs"]).arg(&demo))?;
    progress::run("type declarations", tools::npm_program("tsc").args(["--project", "tsconfig.types.json"]))?;
    stamp.keep()
}
