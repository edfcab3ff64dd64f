//! `build`: core → WebAssembly → JavaScript glue → smaller module → npm package and demo page.

use crate::progress::{self, done};
use crate::stamp::Stamp;
use crate::tools;
use std::path::PathBuf;

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// What the engines of all supported browsers know. Never `--all-features`: that emits what no
/// browser accepts.
const WASM_OPT: [&str; 13] = [
    "-Oz",
    // Larger before compression, smaller after it: brotli likes functions that stay apart.
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
    title: &'static str,
    package: &'static str,
}

/// What a page loads: the chat alone, or the chat with live tables.
const MODULES: [Module; 2] = [
    Module { name: "core", title: "WebAssembly module", package: "tidewire-wasm-chat" },
    Module { name: "tables", title: "WebAssembly module with live tables", package: "tidewire-wasm-tables" },
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
    // Whatever went wrong with the compiler, the other program must not outlive us.
    tools::finish_npm_install(installing)?;
    if let Some(stamp) = compiled? {
        for module in &MODULES {
            shrink(module)?;
        }
        stamp.keep()?;
    }
    bundle()
}

/// The server's program for demo and tests.
pub(crate) fn server() -> Result<PathBuf, String> {
    program("server", "tidewire-server")
}

/// The proxy that makes networks bad, for tests.
pub(crate) fn fault_proxy() -> Result<PathBuf, String> {
    program("fault proxy", "tidewire-fault-proxy")
}

/// What says whether a history keeps the promises, for tests.
pub(crate) fn history_checker() -> Result<PathBuf, String> {
    program("history checker", "tidewire-history")
}

fn program(title: &str, package: &str) -> Result<PathBuf, String> {
    progress::run(title, &mut tools::cargo(&["build", "--package", package]))?;
    Ok(tools::target().join("debug").join(package))
}

fn wasm_folder() -> PathBuf {
    tools::npm().join("wasm")
}

/// Compiles the modules and makes their glue, if their sources changed; they still have to shrink.
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
    progress::run("wasm-bindgen, the program", &mut tools::cargo(&["build", "--package", "xtask-bindgen"]))?;
    for module in &MODULES {
        let mut command = tools::cargo(&["build", "--package", module.package]);
        command.args(["--profile", "wasm", "--target", WASM_TARGET]);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", STACK);
        let mut bindgen = std::process::Command::new(tools::target().join("debug/xtask-bindgen"));
        let compiled = format!("{WASM_TARGET}/wasm/{}.wasm", module.package.replace('-', "_"));
        bindgen.arg(tools::target().join(compiled)).arg(wasm_folder()).arg(module.name);
        progress::run(module.title, &mut command)?;
        progress::run("JavaScript glue", &mut bindgen)?;
    }
    Ok(Some(stamp))
}

fn shrink(module: &Module) -> Result<(), String> {
    let written = wasm_folder().join(format!("{}_bg.wasm", module.name));
    let mut command = tools::npm_program("wasm-opt");
    command.args(WASM_OPT).arg(&written).arg("-o").arg(wasm_folder().join(format!("{}.wasm", module.name)));
    progress::run("wasm-opt", &mut command)?;
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
    let outputs =
        ["index.js", "tables.js", "widget.js", "types/index.d.ts"].map(|name| dist.join(name)).into_iter();
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
